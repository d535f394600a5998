//! What inventories of both forms have in common: hosts with their variables, and what texts mean.

use std::collections::BTreeSet;

use pipelines::diagnostic::{Code, quoted};
use pipelines::source::Position;
use pipelines::yaml::{Node, Value};

use super::{Ansible, Findings, Place, Unfit, Var, Vars, range};

/// What every vaulted text begins with.
pub(super) const VAULT: &str = "$ANSIBLE_VAULT;";

/// Adds the hosts that a pattern names.
pub(super) fn add_hosts(
    pattern: &str,
    group: &str,
    place: &Place,
    mut vars: Vars,
    ansible: &mut Ansible,
    findings: &mut Findings,
) {
    match range::hosts(pattern) {
        Ok((hosts, port)) => {
            if let Some(port) = port {
                let port = Var { value: Ok(port.to_string()), place: place.clone() };
                vars.entry("ansible_port".to_owned()).or_insert(port);
            }
            for host in hosts {
                ansible.add_host(&host, group, place, &vars);
            }
        }
        Err(error) => {
            let message = format!("{} names no hosts: {error}", quoted(pattern));
            findings.error(Code::AnsibleUnreadable, place, message, "correct it");
        }
    }
}

/// A text, if it says all by itself.
pub(super) fn text(text: String) -> Result<String, Unfit> {
    if text.trim_start().starts_with(VAULT) {
        return Err(Unfit::Vaulted);
    }
    if text.contains("{{") || text.contains("{%") {
        return Err(Unfit::Template);
    }
    Ok(text)
}

/// The value of a variable in YAML; `tagged` are the places of values with a tag.
pub(super) fn of_node(node: &Node, tagged: &BTreeSet<Position>) -> Result<String, Unfit> {
    let value = match &node.value {
        Value::Null => Err(Unfit::Empty),
        Value::List(_) | Value::Map(_) => Err(Unfit::Nested),
        other => text(other.scalar().unwrap_or_default().to_owned()),
    };
    match value {
        Ok(_) if tagged.contains(&node.span.start) => Err(Unfit::Tagged),
        value => value,
    }
}
