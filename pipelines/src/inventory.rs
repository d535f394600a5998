//! A partition's inventory: what is known of the site, its devices, and how its agents reach them.

mod agent;
pub mod ansible;
mod device;
pub mod host_key;
mod jump;
pub mod variables;
pub mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostics, Report, quoted};
use crate::keys;
use crate::label;
use crate::name::{
    AgentName, DeviceName, LabelName, PartitionName, RedundancyGroupName, RoleName, WindowName,
};
use crate::plan::{Hop, Kind};
use crate::source::{File, Span};
use crate::yaml::{self, Document, Entry};
use crate::zone;
use window::Window;

pub(crate) use device::{KINDS, is_host};

/// Labels, by name.
pub type Labels = BTreeMap<LabelName, String>;

/// Variables of jobs, by name.
pub type Variables = BTreeMap<String, String>;

/// What is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The partition.
    pub partition: PartitionName,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Variables of all jobs that run in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
    /// Its time zone, by its name in the IANA database, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Its maintenance windows, in its time zone; each is open in any of its times.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<WindowName, Vec<Window>>,
    /// What is known of its management servers, by the agent that runs there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<AgentName, Agent>,
    /// Its devices.
    pub devices: BTreeMap<DeviceName, Device>,
}

/// What is known of a management server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Agent {
    /// The device that it is, if it is in the inventory as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// What a device is, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Host name or IP address.
    pub address: String,
    /// TCP port of its SSH server.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The pinned host keys in OpenSSH's form without a comment, such as `ssh-ed25519 AAAA…`; the device
    /// may show any of them. One at least, or one of `host_ca`.
    pub host_keys: Vec<String>,
    /// Keys of authorities, in the same form, whose host certificates the device may show instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ca: Vec<String>,
    /// Whether RSA keys are good enough there, on both sides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rsa: bool,
    /// What understands the lines of jobs there.
    #[serde(default, skip_serializing_if = "Kind::is_shell")]
    pub kind: Kind,
    /// The devices through which it is reached, the nearest first; the first of them by its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jump: Vec<DeviceName>,
    /// What it is for, such as `leaf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Its redundancy group: devices of which one may be away, and not two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<RedundancyGroupName>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Variables of all jobs that run on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
}

impl Inventory {
    /// The devices through which one of this inventory is reached, the nearest to the agent first.
    pub fn jumps(&self, name: &DeviceName) -> Vec<Hop> {
        let Some((name, device)) = self.devices.get_key_value(name) else { return Vec::new() };
        // A way that leads back was reported.
        let way = jump::way(name, device, &self.devices).unwrap_or_default();
        let hop = |name: &DeviceName| {
            let device = self.devices.get(name)?;
            Some(Hop {
                device: name.clone(),
                address: device.address.clone(),
                port: device.port,
                user: device.user.clone(),
                host_keys: device.host_keys.clone(),
                host_ca: device.host_ca.clone(),
                rsa: device.rsa,
            })
        };
        way.into_iter().filter_map(hop).collect()
    }
}

const PARTITION_HELP: &str = "name the partition that the inventory is for: `partition: fra-equ01`";

const DEVICES_HELP: &str = "write a mapping from each device's name to how it is reached";

const LABELS_HELP: &str =
    "write labels such as `labels: { env: prod }`; values of 63 characters at most";

/// Reads the inventory file that is bound to `partition`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(file: &File, partition: &PartitionName) -> Result<Inventory, Diagnostics> {
    let mut found = Diagnostics::default();
    let inventory = read_into(file, partition, &mut found);
    inventory.ok_or_else(|| found.sorted())
}

/// Reads an inventory file that is bound to nothing: it is of the partition that it names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_unbound(file: &File) -> Result<Inventory, Diagnostics> {
    let mut found = Diagnostics::default();
    let inventory = read_bound(file, None, &mut found);
    inventory.ok_or_else(|| found.sorted())
}

/// As [`read`], with what is wrong added to `found`; an inventory only when nothing is.
pub(crate) fn read_into(
    file: &File,
    partition: &PartitionName,
    found: &mut Diagnostics,
) -> Option<Inventory> {
    read_bound(file, Some(partition), found)
}

fn read_bound(
    file: &File,
    bound_to: Option<&PartitionName>,
    found: &mut Diagnostics,
) -> Option<Inventory> {
    let mut own = Diagnostics::default();
    let inventory = yaml::read(file, &mut own).and_then(|document| {
        let mut report = Report::new(&document.source, &mut own);
        inventory(&document, bound_to, &mut report)
    });
    let is_good = own.is_empty();
    own.iter().cloned().for_each(|diagnostic| found.push(diagnostic));
    inventory.filter(|_| is_good)
}

fn inventory(
    document: &Document,
    bound_to: Option<&PartitionName>,
    report: &mut Report<'_>,
) -> Option<Inventory> {
    let fields = report.fields(&document.root, Span::START, &keys::INVENTORY)?;
    let named = report.required(&fields, "partition", "the inventory", PARTITION_HELP);
    let partition = named.and_then(|entry| partition(report, entry, bound_to));
    let labels =
        fields.node("labels").map(|node| label::read(report, node, "`labels`", LABELS_HELP));
    let variables = fields.node("variables").map(|node| variables::read(report, node));
    let timezone = fields.node("timezone").and_then(|node| zone::read(report, node));
    let windows = fields.entry("windows").map(|entry| window::read(report, &fields, entry));
    let entry = report.required(&fields, "devices", "the inventory", DEVICES_HELP);
    let listed = entry.and_then(|entry| report.entries(&entry.value, "`devices`", DEVICES_HELP));
    let agents = fields.node("agents").map(|node| agent::read(report, node, listed));
    let (mut devices, mut jumps) = (BTreeMap::new(), jump::Written::new());
    for entry in listed? {
        let Some((name, device, through)) = device::device(report, entry) else { continue };
        jumps.insert(name.clone(), through);
        devices.insert(name, device);
    }
    jump::check(report, &jumps, listed?, &devices);
    Some(Inventory {
        partition: partition?,
        labels: labels.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
        timezone,
        windows: windows.unwrap_or_default(),
        agents: agents.unwrap_or_default(),
        devices,
    })
}

/// The partition that the file is of; reported where it is bound to another.
fn partition(
    report: &mut Report<'_>,
    Entry { value: node, .. }: &Entry,
    bound_to: Option<&PartitionName>,
) -> Option<PartitionName> {
    let name = report.name::<PartitionName>(node, "the partition's name")?;
    match bound_to {
        Some(bound_to) if name.value != *bound_to => {
            let message = format!(
                "this inventory is of {}, but it is bound to {}",
                quoted(name.value.as_str()),
                quoted(bound_to.as_str())
            );
            let help =
                "correct the name, or the coordinator's binding of the partition to this file";
            report.error(Code::WrongPartition, node.span, message, help);
            None
        }
        Some(_) | None => Some(name.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn file(text: impl Into<Vec<u8>>) -> File {
        File { name: "inventory.yaml".into(), bytes: text.into() }
    }

    #[test]
    fn an_inventory_is_read_with_its_defaults() {
        let file = file(format!(
            "partition: fra-equ01\ndevices:\n  leaf01:\n    address: 10.0.0.11\n    user: admin\n    \
             host_key: {KEY} root@leaf01\n"
        ));
        let inventory = read(&file, &"fra-equ01".parse().unwrap()).unwrap();
        let leaf = Device {
            address: "10.0.0.11".into(),
            port: 22,
            user: "admin".into(),
            host_keys: vec![KEY.into()],
            host_ca: Vec::new(),
            rsa: false,
            kind: Kind::Shell,
            jump: Vec::new(),
            role: None,
            group: None,
            labels: Labels::new(),
            variables: Variables::new(),
        };
        assert_eq!(inventory.devices, BTreeMap::from([("leaf01".parse().unwrap(), leaf)]));
        assert_eq!(read_unbound(&file), Ok(inventory));
    }

    #[test]
    fn another_partitions_inventory_is_refused() {
        let file = file("partition: muc-lab01\ndevices: {}\n");
        let found = read(&file, &"fra-equ01".parse().unwrap()).unwrap_err();
        assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::WrongPartition]);
        assert_eq!(read_unbound(&file).unwrap().partition.as_str(), "muc-lab01");
    }
}
