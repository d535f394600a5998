//! Groups of Ansible: what our devices have in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Device, Inventory};
use crate::name::DeviceName;

/// Value of a label that says no more than that something has it: its group is called like the label.
pub const MEMBER: &str = "true";

/// Groups that Ansible makes by itself.
pub const OWN: [&str; 2] = ["all", "ungrouped"];

/// The devices of each role, redundancy group and label, by the name of their Ansible group.
pub(super) fn groups(inventory: &Inventory) -> BTreeMap<String, BTreeSet<&DeviceName>> {
    let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, device) in &inventory.devices {
        for group in of_device(device) {
            groups.entry(group).or_default().insert(name);
        }
    }
    groups
}

fn of_device(device: &Device) -> impl Iterator<Item = String> {
    let role = device.role.iter().map(|role| role.to_string());
    let group = device.group.iter().map(|group| group.to_string());
    let labels = device.labels.iter().map(|(name, value)| match value.as_str() {
        MEMBER => name.to_string(),
        value => format!("{name}_{value}"),
    });
    role.chain(group).chain(labels).filter_map(|name| legal(&name))
}

/// A name as a group can have it: letters, digits and `_`, which also stands for `-`.
fn legal(name: &str) -> Option<String> {
    let name = name.replace('-', "_");
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_legal = starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_legal && !OWN.contains(&name.as_str())).then_some(name)
}
