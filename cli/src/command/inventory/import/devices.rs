//! Hosts as devices, and the text of the inventory.

use std::collections::{BTreeMap, BTreeSet};

use pipelines::diagnostic::{Code, quoted};
use pipelines::inventory::ansible::groups::{MEMBER, OWN};
use pipelines::inventory::ansible::text::{push, scalar};
use pipelines::name::RoleName;

use super::left_out::{ADDRESS, PORT, USER, is_connection, tell, usable};
use super::{Options, RoleGroup, names};
use crate::command::inventory::ansible::{Ansible, Host, Vars};
use crate::command::inventory::findings::Findings;
use crate::command::inventory::known_hosts::KnownHosts;
use crate::exit::Failure;

/// A device as it is written.
struct Device {
    address: String,
    port: u16,
    user: String,
    host_keys: Vec<String>,
    host_ca: Vec<String>,
    role: Option<RoleName>,
    labels: BTreeSet<String>,
    variables: BTreeMap<String, String>,
}

/// The text of the inventory; good only if no error is found.
///
/// # Errors
/// An option names a group or host that there is not.
pub(super) fn inventory(
    options: &Options,
    ansible: &Ansible,
    known: &KnownHosts,
    findings: &mut Findings,
) -> Result<String, Failure> {
    check_options(options, ansible)?;
    let hosts: BTreeMap<&str, Vars> = ansible
        .hosts
        .iter()
        .filter(|(name, host)| is_device(name, host, options, ansible, findings))
        .map(|(name, _)| (name.as_str(), ansible.vars_of(name)))
        .collect();
    tell(ansible, findings);
    rename_groups(options, ansible, &hosts, findings);
    let shared = shared(ansible, hosts.values());
    let mut devices = BTreeMap::new();
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for (host, vars) in &hosts {
        let place = &ansible.hosts[*host].place;
        let name = names::name(host);
        if name != *host {
            let message = format!("the host {} is called {} here", quoted(host), quoted(&name));
            let help = "names of devices hold a-z, 0-9 and `-`";
            findings.warning(Code::AnsibleRenamed, place, message, help);
        }
        if let Some(other) = names.insert(name.clone(), host) {
            let message = format!(
                "{} and {} would both be called {}",
                quoted(host),
                quoted(other),
                quoted(&name)
            );
            findings.error(
                Code::AnsibleNoDevice,
                place,
                message,
                "rename one of the two, or `--skip` it",
            );
        }
        if let Some(device) = device(host, vars, &shared, options, ansible, known, findings) {
            devices.insert(name, device);
        }
    }
    Ok(document(options, &shared, &devices))
}

fn check_options(options: &Options, ansible: &Ansible) -> Result<(), Failure> {
    for RoleGroup { group, .. } in &options.role_group {
        if !ansible.groups.contains_key(group) {
            return Err(Failure::usage(format!("--role-group: there is no group '{group}'")));
        }
    }
    for name in &options.skip {
        if !ansible.groups.contains_key(name) && !ansible.hosts.contains_key(name) {
            return Err(Failure::usage(format!("--skip: there is no host or group '{name}'")));
        }
    }
    Ok(())
}

fn is_device(
    name: &str,
    host: &Host,
    options: &Options,
    ansible: &Ansible,
    findings: &mut Findings,
) -> bool {
    let groups = ansible.groups_of(name);
    if options.skip.iter().any(|skip| skip == name || groups.contains(skip.as_str())) {
        return false;
    }
    let vars = ansible.vars_of(name);
    let connection = vars.get("ansible_connection").and_then(|var| var.value.as_ref().ok());
    if connection.is_some_and(|connection| connection == "local") {
        let message = format!("the host {} is left out: it is not reached by SSH", quoted(name));
        let help =
            "what runs on the management server itself is a job with `process` or `container`";
        findings.warning(Code::AnsibleLeftOut, &host.place, message, help);
        return false;
    }
    true
}

/// Groups become labels: tells where one is called otherwise, and where two would be one.
fn rename_groups(
    options: &Options,
    ansible: &Ansible,
    hosts: &BTreeMap<&str, Vars>,
    findings: &mut Findings,
) {
    let with_hosts: BTreeSet<_> = hosts.keys().flat_map(|host| ansible.groups_of(host)).collect();
    let mut labels: BTreeMap<String, &str> = BTreeMap::new();
    for (group, place) in ansible.groups.iter().map(|(name, group)| (name.as_str(), &group.place)) {
        if OWN.contains(&group) || options.role_group.iter().any(|role| role.group == group) {
            continue;
        }
        if !with_hosts.contains(group) {
            let message = format!("the group {} is left out: it has no hosts here", quoted(group));
            let help = "nothing need be done; groups become labels of their hosts";
            findings.warning(Code::AnsibleLeftOut, place, message, help);
            continue;
        }
        let label = names::name(group);
        if !names::returns(group) {
            let message =
                format!("the group {} becomes the label {}", quoted(group), quoted(&label));
            let help = format!("an export calls it {}", quoted(&label.replace('-', "_")));
            findings.warning(Code::AnsibleRenamed, place, message, help);
        }
        if let Some(other) = labels.insert(label.clone(), group) {
            let message = format!(
                "the groups {} and {} would both be the label {}",
                quoted(group),
                quoted(other),
                quoted(&label)
            );
            findings.error(Code::AnsibleNoDevice, place, message, "rename one of the two");
        }
    }
}

/// Variables of all hosts, as far as a text in one place is right for each of them.
fn shared<'v>(
    ansible: &Ansible,
    hosts: impl Iterator<Item = &'v Vars> + Clone,
) -> BTreeMap<String, String> {
    let mut shared = BTreeMap::new();
    for (name, var) in ansible.shared() {
        let is_text = |vars: &Vars| vars.get(&name).is_some_and(|var| usable(&name, var).is_ok());
        if let Ok(text) = usable(&name, &var)
            && !is_connection(&name)
            && hosts.clone().all(is_text)
        {
            shared.insert(name.clone(), text.to_owned());
        }
    }
    shared
}

fn device(
    host: &str,
    vars: &Vars,
    shared: &BTreeMap<String, String>,
    options: &Options,
    ansible: &Ansible,
    known: &KnownHosts,
    findings: &mut Findings,
) -> Option<Device> {
    let address = connection(host, vars, &ADDRESS, ansible, findings);
    let user = connection(host, vars, &USER, ansible, findings);
    let port = connection(host, vars, &PORT, ansible, findings);
    let place = &ansible.hosts[host].place;
    let port = match port?.as_deref().map(|text| text.parse::<u16>().ok().filter(|port| *port > 0))
    {
        Some(Some(port)) => Some(port),
        None => Some(22),
        Some(None) => {
            let message = format!("the host {} has no usable port", quoted(host));
            let help = "set `ansible_port` to a number from 1 to 65535";
            findings.error(Code::AnsibleNoDevice, place, message, help);
            None
        }
    };
    let user = user?.or_else(|| options.user.clone());
    if user.is_none() {
        let message = format!("nothing says which user logs in to the host {}", quoted(host));
        let help = "set `ansible_user`, or name one for all such hosts by `--user`";
        findings.error(Code::AnsibleNoDevice, place, message, help);
    }
    let role = role(host, options, ansible, findings);
    let address = address?.unwrap_or_else(|| host.to_owned());
    let pinned = host_keys(host, &address, port?, known, ansible, findings);
    let is_role = |group: &str| options.role_group.iter().any(|role| role.group == group);
    let labels = ansible.groups_of(host).into_iter().filter(|group| !is_role(group));
    let variables = vars.iter().filter_map(|(name, var)| {
        let text = usable(name, var).ok().filter(|_| !is_connection(name))?;
        (shared.get(name).map(String::as_str) != Some(text))
            .then(|| (name.clone(), text.to_owned()))
    });
    let (host_keys, host_ca) = pinned?;
    Some(Device {
        address,
        port: port?,
        user: user?,
        host_keys,
        host_ca,
        role: role?,
        labels: labels.map(names::name).collect(),
        variables: variables.collect(),
    })
}

/// What the variables say of how to reach a host, if they do; none if that cannot be used.
fn connection(
    host: &str,
    vars: &Vars,
    names: &[&str; 2],
    ansible: &Ansible,
    findings: &mut Findings,
) -> Option<Option<String>> {
    let Some((name, var)) = names.iter().rev().find_map(|name| Some((name, vars.get(*name)?)))
    else {
        return Some(None);
    };
    match &var.value {
        Ok(text) => Some(Some(text.clone())),
        Err(unfit) => {
            let message = format!(
                "{} of the host {} cannot be used: it is {unfit}",
                quoted(name),
                quoted(host)
            );
            let help = "write it out, or leave the host out by `--skip`";
            let place = if var.place.source.text().is_empty() {
                &ansible.hosts[host].place
            } else {
                &var.place
            };
            findings.error(Code::AnsibleNoDevice, place, message, help);
            None
        }
    }
}

/// The one role that a host's groups give it.
fn role(
    host: &str,
    options: &Options,
    ansible: &Ansible,
    findings: &mut Findings,
) -> Option<Option<RoleName>> {
    let groups = ansible.groups_of(host);
    let given = options.role_group.iter().filter(|role| groups.contains(role.group.as_str()));
    let mut roles: BTreeSet<&RoleName> = given.map(|role| &role.role).collect();
    let role = roles.pop_first().cloned();
    if let (Some(one), Some(other)) = (&role, roles.first()) {
        let message = format!("the host {} would have the roles {one} and {other}", quoted(host));
        let help = "name groups by `--role-group` that share no hosts";
        findings.error(Code::AnsibleNoDevice, &ansible.hosts[host].place, message, help);
        return None;
    }
    Some(role)
}

/// The keys that are known of a host, and those of authorities that vouch for it.
fn host_keys(
    host: &str,
    address: &str,
    port: u16,
    known: &KnownHosts,
    ansible: &Ansible,
    findings: &mut Findings,
) -> Option<(Vec<String>, Vec<String>)> {
    let known_of = |name| (known.keys(name, port), known.authorities(name, port));
    let is_empty = |(keys, authorities): &(Vec<String>, Vec<String>)| {
        keys.is_empty() && authorities.is_empty()
    };
    let mut pinned = known_of(address);
    if is_empty(&pinned) {
        pinned = known_of(host);
    }
    if is_empty(&pinned) {
        let message = format!(
            "no host key of {} is known, so nobody could tell that it is the right device",
            quoted(host)
        );
        let at = if port == 22 { String::new() } else { format!("-p {port} ") };
        let help = format!(
            "run `ssh-keyscan {at}{address} >> known_hosts`, compare what `ssh-keygen -lf known_hosts` says with \
             the fingerprints that the device itself shows on its console, and give that file by `--known-hosts`"
        );
        findings.error(Code::AnsibleNoHostKey, &ansible.hosts[host].place, message, help);
        return None;
    }
    Some(pinned)
}

fn document(
    options: &Options,
    shared: &BTreeMap<String, String>,
    devices: &BTreeMap<String, Device>,
) -> String {
    let mut out = format!("partition: {}\n", scalar(options.partition.as_str()));
    mapping("variables", shared, 0, &mut out);
    out.push_str(if devices.is_empty() { "devices: {}\n" } else { "devices:\n" });
    for (name, device) in devices {
        push(&mut out, format_args!("  {}:\n", scalar(name)));
        push(&mut out, format_args!("    address: {}\n", scalar(&device.address)));
        if device.port != 22 {
            push(&mut out, format_args!("    port: {}\n", device.port));
        }
        push(&mut out, format_args!("    user: {}\n", scalar(&device.user)));
        match device.host_keys.as_slice() {
            [key] => push(&mut out, format_args!("    host_key: {}\n", scalar(key))),
            keys => list("host_keys", keys, &mut out),
        }
        list("host_ca", &device.host_ca, &mut out);
        if let Some(role) = &device.role {
            push(&mut out, format_args!("    role: {}\n", scalar(role.as_str())));
        }
        let labels = device.labels.iter().map(|label| (label.clone(), MEMBER.to_owned()));
        mapping("labels", &labels.collect(), 4, &mut out);
        mapping("variables", &device.variables, 4, &mut out);
    }
    out
}

/// Of a device.
fn list(key: &str, values: &[String], out: &mut String) {
    if !values.is_empty() {
        push(out, format_args!("    {key}:\n"));
    }
    for value in values {
        push(out, format_args!("      - {}\n", scalar(value)));
    }
}

fn mapping(key: &str, entries: &BTreeMap<String, String>, indent: usize, out: &mut String) {
    if entries.is_empty() {
        return;
    }
    push(out, format_args!("{:indent$}{key}:\n", ""));
    for (name, value) in entries {
        push(out, format_args!("{:indent$}  {}: {}\n", "", scalar(name), scalar(value)));
    }
}
