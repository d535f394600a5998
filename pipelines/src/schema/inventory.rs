//! The schema of an inventory.

use serde_json::{Value, json};

use super::{about, any_of, by_name, list, mapping, name, scalar, text};
use crate::inventory::KINDS;
use crate::inventory::window::DAYS;
use crate::keys;

/// An inventory's file.
pub(super) fn file() -> Value {
    mapping(&keys::INVENTORY, &["partition", "devices"], |key| {
        Some(match key {
            "partition" => about("The partition.", name())?,
            "labels" => about("What `select` of pipelines reads.", by_name(scalar()))?,
            "variables" => about("In the environment of all scripts there.", by_name(scalar()))?,
            "timezone" => about("Such as `Europe/Berlin`.", text())?,
            "windows" => about("Times of maintenance, by name.", by_name(list(window())))?,
            "agents" => about("Management servers, by their agents' names.", by_name(agent()))?,
            "devices" => about("By name.", by_name(device()))?,
            _ => return None,
        })
    })
}

fn window() -> Value {
    mapping(&keys::WINDOW, &["from", "to"], |key| {
        Some(match key {
            "days" => about("Each day, if missing.", list(super::one_of(DAYS)))?,
            "from" | "to" => about("Such as `02:30`.", text())?,
            _ => return None,
        })
    })
}

fn agent() -> Value {
    let mapping = mapping(&keys::INVENTORY_AGENT, &[], |key| {
        Some(match key {
            "device" => about("The device that it runs on.", name())?,
            "labels" => about("What it should have.", by_name(scalar()))?,
            _ => return None,
        })
    });
    super::or_nothing(mapping)
}

fn device() -> Value {
    mapping(&keys::DEVICE, &["address", "user"], |key| {
        Some(match key {
            "address" => about("IP address or host name.", text())?,
            "port" => about(
                "22, if missing.",
                json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
            )?,
            "user" => about("User to log in as.", text())?,
            "host_key" => about("The pinned key.", text())?,
            "host_keys" => about("Pinned keys, of which it shows one.", list(text()))?,
            "host_ca" => about("Keys of authorities.", any_of(&[text(), list(text())]))?,
            "rsa" => about("RSA keys are good enough.", super::yes_or_no())?,
            "kind" => about("What its lines are for.", super::one_of(KINDS))?,
            "jump" => about("Through which it is reached.", any_of(&[name(), list(name())]))?,
            "role" => about("Such as `leaf`.", name())?,
            "group" => about("Devices of which one may be away.", name())?,
            "labels" | "variables" => by_name(any_of(&[scalar()])),
            _ => return None,
        })
    })
}
