//! `garrison inventory export`: one of our inventories as one of Ansible.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pipelines::inventory::{self, Device, Inventory};
use pipelines::name::DeviceName;
use pipelines::plan::Hop;
use pipelines::source::File;
use serde_json::{Map, Value, json};

use super::{groups, known_hosts};
use crate::exit::{Exit, Failure};

/// What to print.
#[derive(Debug, Args)]
pub struct Options {
    /// Says what a dynamic inventory says: all groups, hosts and variables, as JSON.
    #[arg(long, conflicts_with_all = ["host", "file"])]
    list: bool,
    /// Says what a dynamic inventory says of one host: its variables, as JSON.
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    host: Option<DeviceName>,
    /// Makes OpenSSH's known hosts of it, with the pinned keys of each device.
    #[arg(long, conflicts_with_all = ["list", "host"])]
    known_hosts: bool,
    /// Writes it to this file, instead of standard output.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The partition's inventory.
    inventory: PathBuf,
}

/// Prints the inventory.
pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let inventory = read(&options.inventory)?;
    match (&options.host, &options.file) {
        (Some(name), _) => {
            let device = inventory.devices.get(name).ok_or_else(|| {
                let file = options.inventory.display();
                Failure::usage(format!("{file} has no device '{name}'"))
            })?;
            print(&json_text(&Value::Object(host_vars(&inventory, name, device))))?;
        }
        (None, None) if options.list => print(&json_text(&list(&inventory)))?,
        (None, None) => print(&text(options, &inventory))?,
        (None, Some(path)) => write(path, &text(options, &inventory))
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(Exit::Success)
}

/// The file as a whole.
fn text(options: &Options, inventory: &Inventory) -> String {
    match options.known_hosts {
        true => known_hosts::of(inventory),
        false => document(inventory),
    }
}

fn read(path: &Path) -> Result<Inventory, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let file = File { name: path.to_string_lossy().into_owned(), bytes };
    inventory::read_unbound(&file)
        .map_err(|found| Failure::usage(format!("{} cannot be used:\n{found}", path.display())))
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Replaces the file as a whole: who reads it meanwhile has the old or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// What a dynamic inventory answers to `--list`.
fn list(inventory: &Inventory) -> Value {
    let groups = groups::groups(inventory);
    let grouped: BTreeSet<_> = groups.values().flatten().copied().collect();
    let ungrouped: Vec<_> =
        inventory.devices.keys().filter(|name| !grouped.contains(name)).collect();
    let hosts = inventory.devices.iter();
    let hosts = hosts.map(|(name, device)| {
        (name.to_string(), Value::Object(host_vars(inventory, name, device)))
    });
    let mut children: Vec<_> = groups.keys().cloned().collect();
    children.push("ungrouped".to_owned());
    let mut all = Map::from_iter([
        ("_meta".to_owned(), json!({ "hostvars": hosts.collect::<Map<_, _>>() })),
        ("all".to_owned(), json!({ "children": children, "vars": shared_vars(inventory) })),
        ("ungrouped".to_owned(), json!({ "hosts": ungrouped })),
    ]);
    all.extend(groups.into_iter().map(|(name, hosts)| (name, json!({ "hosts": hosts }))));
    Value::Object(all)
}

/// The same as a static inventory.
fn document(inventory: &Inventory) -> String {
    let hosts = inventory.devices.iter();
    let hosts = hosts.map(|(name, device)| {
        (name.to_string(), Value::Object(host_vars(inventory, name, device)))
    });
    let group = |hosts: BTreeSet<&DeviceName>| {
        let hosts = hosts.into_iter().map(|name| (name.to_string(), Value::Null));
        json!({ "hosts": hosts.collect::<Map<_, _>>() })
    };
    let groups = groups::groups(inventory).into_iter();
    let children: Map<_, _> = groups.map(|(name, hosts)| (name, group(hosts))).collect();
    let all = json!({
        "vars": shared_vars(inventory),
        "hosts": hosts.collect::<Map<_, _>>(),
        "children": children,
    });
    let mut out =
        format!("# The partition {}, by garrison inventory export.\nall:", inventory.partition);
    super::text::value(&prune(all), 0, &mut out);
    out
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

/// Variables of one host.
fn host_vars(inventory: &Inventory, name: &DeviceName, device: &Device) -> Map<String, Value> {
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
        let arguments = format!("-o ProxyJump={}", jumps.join(","));
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

fn variables(variables: &inventory::Variables) -> Map<String, Value> {
    variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}
