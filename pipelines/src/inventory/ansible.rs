//! An inventory as Ansible reads one, and its host keys as OpenSSH does.

pub mod groups;
pub mod text;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Device, Inventory, Variables};
use crate::name::DeviceName;
use crate::plan::Hop;

/// By which files Ansible's `ssh` knows host keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeys {
    /// Those of whoever runs it.
    OfTheUser,
    /// Those that the file in `$GARRISON_SSH_CONFIG` names, for the hosts on the way too: unlike an
    /// option, `ssh` passes its configuration on to the one that it reaches a jump host by.
    OfTheJob,
}

/// What Ansible puts behind `ssh`: a file whose path each job knows by a variable.
const CONFIG: &str = "-F {{ lookup('env', 'GARRISON_SSH_CONFIG') | quote }}";

/// What a dynamic inventory answers to `--list`.
pub fn list(inventory: &Inventory) -> Value {
    let groups = groups::groups(inventory);
    let grouped: BTreeSet<_> = groups.values().flatten().copied().collect();
    let ungrouped: Vec<_> =
        inventory.devices.keys().filter(|name| !grouped.contains(name)).collect();
    let mut children: Vec<_> = groups.keys().cloned().collect();
    children.push("ungrouped".to_owned());
    let (keys, vars) = (HostKeys::OfTheUser, shared_vars(inventory));
    let mut all = Map::from_iter([
        ("_meta".to_owned(), json!({ "hostvars": hosts(inventory, keys) })),
        ("all".to_owned(), json!({ "children": children, "vars": vars })),
        ("ungrouped".to_owned(), json!({ "hosts": ungrouped })),
    ]);
    all.extend(groups.into_iter().map(|(name, hosts)| (name, json!({ "hosts": hosts }))));
    Value::Object(all)
}

/// The same as a static inventory, in YAML.
pub fn document(inventory: &Inventory, keys: HostKeys) -> String {
    let group = |hosts: BTreeSet<&DeviceName>| {
        let hosts = hosts.into_iter().map(|name| (name.to_string(), Value::Null));
        json!({ "hosts": hosts.collect::<Map<_, _>>() })
    };
    let groups = groups::groups(inventory).into_iter();
    let children: Map<_, _> = groups.map(|(name, hosts)| (name, group(hosts))).collect();
    let mut vars = shared_vars(inventory);
    if keys == HostKeys::OfTheJob {
        vars.insert("ansible_ssh_common_args".into(), json!(CONFIG));
    }
    let all = json!({
        "vars": vars,
        "hosts": hosts(inventory, keys),
        "children": children,
    });
    let mut out =
        format!("# The partition {}, by garrison inventory export.\nall:", inventory.partition);
    text::value(&prune(all), 0, &mut out);
    out
}

/// A file of known hosts that pins what the inventory does: each device by its name and its address; see
/// SSH_KNOWN_HOSTS FILE FORMAT in sshd(8).
pub fn known_hosts(inventory: &Inventory) -> String {
    let mut text = String::new();
    for (name, device) in &inventory.devices {
        let at = |host: &str| match device.port {
            22 => host.to_lowercase(),
            port => format!("[{}]:{port}", host.to_lowercase()),
        };
        let hosts = match device.address == name.as_str() {
            true => at(name.as_str()),
            false => format!("{},{}", at(name.as_str()), at(&device.address)),
        };
        let keys = device.host_keys.iter().map(|key| format!("{hosts} {key}\n"));
        let authorities = device.host_ca.iter();
        let authorities = authorities.map(|key| format!("@cert-authority {hosts} {key}\n"));
        text.extend(keys.chain(authorities));
    }
    text
}

/// Without the keys of empty mappings.
fn prune(mut all: Value) -> Value {
    let map = all.as_object_mut().expect("it is made as a mapping");
    map.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
    all
}

/// Variables of all hosts.
fn shared_vars(inventory: &Inventory) -> Map<String, Value> {
    let mut vars = variables(&inventory.variables);
    vars.insert("garrison_partition".into(), json!(inventory.partition));
    if !inventory.labels.is_empty() {
        vars.insert("garrison_partition_labels".into(), json!(inventory.labels));
    }
    if let Some(timezone) = &inventory.timezone {
        vars.insert("garrison_timezone".into(), json!(timezone));
    }
    vars
}

/// All hosts, each with its variables.
fn hosts(inventory: &Inventory, keys: HostKeys) -> Map<String, Value> {
    let devices = inventory.devices.iter();
    let hosts = devices.map(|(name, device)| {
        (name.to_string(), Value::Object(host_vars(inventory, name, device, keys)))
    });
    hosts.collect()
}

/// Variables of one host.
pub fn host_vars(
    inventory: &Inventory,
    name: &DeviceName,
    device: &Device,
    keys: HostKeys,
) -> Map<String, Value> {
    let mut vars = variables(&device.variables);
    vars.insert("ansible_host".into(), json!(device.address));
    vars.insert("ansible_port".into(), json!(device.port));
    vars.insert("ansible_user".into(), json!(device.user));
    vars.insert("garrison_host_keys".into(), json!(device.host_keys));
    if !device.host_ca.is_empty() {
        vars.insert("garrison_host_ca".into(), json!(device.host_ca));
    }
    let jumps: Vec<_> = inventory.jumps(name).iter().map(proxy).collect();
    if !jumps.is_empty() {
        let way = format!("-o ProxyJump={}", jumps.join(","));
        let arguments = match keys {
            HostKeys::OfTheUser => way,
            HostKeys::OfTheJob => format!("{CONFIG} {way}"),
        };
        vars.insert("ansible_ssh_common_args".into(), json!(arguments));
    }
    if let Some(role) = &device.role {
        vars.insert("garrison_role".into(), json!(role));
    }
    if let Some(group) = &device.group {
        vars.insert("garrison_group".into(), json!(group));
    }
    if !device.labels.is_empty() {
        vars.insert("garrison_labels".into(), json!(device.labels));
    }
    vars
}

/// A host on the way as ProxyJump in ssh_config(5) names it.
fn proxy(hop: &Hop) -> String {
    let Hop { user, address, port, .. } = hop;
    match address.contains(':') {
        true => format!("{user}@[{address}]:{port}"),
        false => format!("{user}@{address}:{port}"),
    }
}

fn variables(variables: &Variables) -> Map<String, Value> {
    variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}
