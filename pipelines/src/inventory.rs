//! A partition's inventory: the devices that its agents reach, and how.

mod device;
mod host_key;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostics, Report, quoted};
use crate::keys;
use crate::name::{DeviceName, PartitionName};
use crate::source::{File, Span};
use crate::yaml::{self, Document, Node};

/// What is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The partition.
    pub partition: PartitionName,
    /// Its devices.
    pub devices: BTreeMap<DeviceName, Device>,
}

/// How to reach a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Host name or IP address.
    pub address: String,
    /// TCP port of its SSH server.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The pinned host key in OpenSSH's form without a comment, such as `ssh-ed25519 AAAA…`.
    pub host_key: String,
}

const PARTITION_HELP: &str = "name the partition that the inventory is for: `partition: fra-equ01`";

const DEVICES_HELP: &str = "write a mapping from each device's name to how it is reached";

/// Reads the inventory file that is bound to `partition`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(file: &File, partition: &PartitionName) -> Result<Inventory, Diagnostics> {
    let mut found = Diagnostics::default();
    match read_into(file, partition, &mut found) {
        Some(inventory) if found.is_empty() => Ok(inventory),
        _ => Err(found.sorted()),
    }
}

/// As [`read`], with what is wrong added to `found`; an inventory only when nothing is.
pub(crate) fn read_into(
    file: &File,
    partition: &PartitionName,
    found: &mut Diagnostics,
) -> Option<Inventory> {
    let mut own = Diagnostics::default();
    let inventory = yaml::read(file, &mut own).and_then(|document| {
        let mut report = Report::new(&document.source, &mut own);
        inventory(&document, partition, &mut report)
    });
    let is_good = own.is_empty();
    own.iter().cloned().for_each(|diagnostic| found.push(diagnostic));
    inventory.filter(|_| is_good)
}

fn inventory(
    document: &Document,
    bound_to: &PartitionName,
    report: &mut Report<'_>,
) -> Option<Inventory> {
    let fields = report.fields(&document.root, Span::START, &keys::INVENTORY)?;
    let named = report.required(&fields, "partition", "the inventory", PARTITION_HELP);
    if let Some(entry) = named {
        check_partition(report, &entry.value, bound_to);
    }
    let devices = report.required(&fields, "devices", "the inventory", DEVICES_HELP);
    let devices = report.entries(&devices?.value, "`devices`", DEVICES_HELP)?;
    let devices = devices.iter().filter_map(|entry| device::device(report, entry)).collect();
    Some(Inventory { partition: bound_to.clone(), devices })
}

fn check_partition(report: &mut Report<'_>, node: &Node, bound_to: &PartitionName) {
    let Some(name) = report.name::<PartitionName>(node, "the partition's name") else { return };
    if name.value != *bound_to {
        let message = format!(
            "this inventory is of {}, but it is bound to {}",
            quoted(name.value.as_str()),
            quoted(bound_to.as_str())
        );
        let help = "correct the name, or the coordinator's binding of the partition to this file";
        report.error(Code::WrongPartition, node.span, message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn an_inventory_is_read_with_its_defaults() {
        let text = format!(
            "partition: fra-equ01\ndevices:\n  leaf01:\n    address: 10.0.0.11\n    user: admin\n    \
             host_key: {KEY} root@leaf01\n"
        );
        let file = File { name: "inventory.yaml".into(), bytes: text.into_bytes() };
        let inventory = read(&file, &"fra-equ01".parse().unwrap()).unwrap();
        let leaf = Device {
            address: "10.0.0.11".into(),
            port: 22,
            user: "admin".into(),
            host_key: KEY.into(),
        };
        assert_eq!(inventory.devices, BTreeMap::from([("leaf01".parse().unwrap(), leaf)]));
    }

    #[test]
    fn another_partitions_inventory_is_refused() {
        let bytes = b"partition: muc-lab01\ndevices: {}\n".to_vec();
        let file = File { name: "inventory.yaml".into(), bytes };
        let found = read(&file, &"fra-equ01".parse().unwrap()).unwrap_err();
        assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::WrongPartition]);
    }
}
