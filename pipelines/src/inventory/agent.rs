//! What an inventory says of management servers.

use std::collections::BTreeMap;

use super::{Agent, LABELS_HELP};
use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::label;
use crate::name::{AgentName, DeviceName};
use crate::suggest;
use crate::yaml::{Entry, Node};

const HELP: &str = "write a mapping from each agent's name to its server: `agents: { mgmt01: { device: mgmt01 } }`";

/// Reads `agents`; `devices` are the entries of the inventory's `devices`, if it has any to speak of.
pub(super) fn read(
    report: &mut Report<'_>,
    node: &Node,
    devices: Option<&[Entry]>,
) -> BTreeMap<AgentName, Agent> {
    let entries = report.entries(node, "`agents`", HELP).unwrap_or_default();
    entries.iter().filter_map(|entry| agent(report, entry, devices)).collect()
}

fn agent(
    report: &mut Report<'_>,
    Entry { key, value }: &Entry,
    devices: Option<&[Entry]>,
) -> Option<(AgentName, Agent)> {
    let name = report.name_of(&key.text, key.span, "the agent's name");
    let fields = report.fields_or_none(value, key.span, &keys::INVENTORY_AGENT)?;
    let device = fields.node("device").and_then(|node| device(report, node, devices));
    let labels =
        fields.node("labels").map(|node| label::read(report, node, "`labels`", LABELS_HELP));
    Some((name?.value, Agent { device, labels: labels.unwrap_or_default() }))
}

fn device(report: &mut Report<'_>, node: &Node, devices: Option<&[Entry]>) -> Option<DeviceName> {
    let name = report.name::<DeviceName>(node, "the device's name")?.value;
    let known = devices?.iter().map(|entry| entry.key.text.as_str());
    if !known.clone().any(|known| known == name.as_str()) {
        let message = format!("the inventory has no device {}", quoted(name.as_str()));
        let help = suggest::advice(name.as_str(), known, "add it to `devices`; those there are");
        report.error(Code::UnknownDevice, node.span, message, help);
    }
    Some(name)
}
