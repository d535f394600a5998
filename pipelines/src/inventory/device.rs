//! One device of an inventory.

use std::net::IpAddr;

use super::{Device, LABELS_HELP, host_key, variables};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::label;
use crate::name::DeviceName;
use crate::user;
use crate::yaml::{Entry, Node};

const DEFAULT_PORT: u16 = 22;

const ADDRESS_HELP: &str = "write an IP address or a host name, without port and user";

/// Reads a device and its name.
pub(super) fn device(report: &mut Report<'_>, entry: &Entry) -> Option<(DeviceName, Device)> {
    let Entry { key, value } = entry;
    let name = report.name_of(&key.text, key.span, "the device's name");
    let of = format!("the device {}", quoted(&key.text));
    let fields = report.fields(value, key.span, &keys::DEVICE)?;
    let mut required = |key, help| report.required(&fields, key, &of, help);
    let written = required("address", ADDRESS_HELP);
    let login = required("user", "add `user:` with the user to log in as");

    let address = written.and_then(|entry| address(report, &entry.value));
    let user = login.and_then(|entry| user::read(report, &entry.value));
    let host_keys = host_keys(report, &fields, &of);
    let port = match fields.node("port") {
        Some(node) => port(report, node),
        None => Some(DEFAULT_PORT),
    };
    let role = fields.node("role").and_then(|node| report.name(node, "the role's name"));
    let group = fields.node("group").and_then(|node| report.name(node, "the group's name"));
    let labels =
        fields.node("labels").map(|node| label::read(report, node, "`labels`", LABELS_HELP));
    let variables = fields.node("variables").map(|node| variables::read(report, node));
    let device = Device {
        address: address?,
        port: port?,
        user: user?,
        host_keys: host_keys?,
        role: role.map(|role| role.value),
        group: group.map(|group| group.value),
        labels: labels.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
    };
    Some((name?.value, device))
}

fn address(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "`address`", ADDRESS_HELP)?;
    if is_host(text) {
        return Some(text.to_owned());
    }
    let message = format!("{} is neither an IP address nor a host name", quoted(text));
    report.error(Code::InvalidAddress, node.span, message, ADDRESS_HELP);
    None
}

/// Whether it is an IP address or a host name.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host_name(text)
}

/// By RFC 1123, section 2.1; what looks like an IPv4 address is none.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let edges = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && label.chars().all(inner) && edges
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.chars().all(|c| c.is_ascii_digit());
    text.len() <= 253 && !is_numeric && text.split('.').all(is_label)
}

fn port(report: &mut Report<'_>, node: &Node) -> Option<u16> {
    let help = "write a number from 1 to 65535, or leave it out for 22";
    let read = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err("it is not a TCP port"),
        Ok(port) => Ok(port),
    };
    Some(report.scalar(node, "`port`", Code::InvalidNumber, help, read)?.value)
}

/// The one key of `host_key`, or those of `host_keys`.
fn host_keys(report: &mut Report<'_>, fields: &Fields<'_>, of: &str) -> Option<Vec<String>> {
    match (fields.entry("host_key"), fields.entry("host_keys")) {
        (Some(_), Some(more)) => {
            let message = format!("{of} has both `host_key` and `host_keys`");
            let help = "move the one key into the list of `host_keys`";
            report.error(Code::HostKeyAndKeys, more.key.span, message, help);
            None
        }
        (None, Some(entry)) => several_keys(report, &entry.value),
        // It was misspelt, and that was reported.
        (None, None) if fields.has_refused(&["host_keys"]) => None,
        (Some(_), None) | (None, None) => {
            let entry = report.required(fields, "host_key", of, host_key::HELP)?;
            Some(vec![pinned_key(report, &entry.value, "`host_key`")?])
        }
    }
}

fn several_keys(report: &mut Report<'_>, node: &Node) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    for item in report.list(node, "`host_keys`", host_key::LIST_HELP)? {
        let Some(key) = pinned_key(report, item, "a key of `host_keys`") else { continue };
        if keys.contains(&key) {
            let message = "`host_keys` names this key twice";
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        } else {
            keys.push(key);
        }
    }
    Some(keys).filter(|keys| !keys.is_empty())
}

fn pinned_key(report: &mut Report<'_>, node: &Node, what: &str) -> Option<String> {
    let text = report.text(node, what, host_key::HELP)?;
    match host_key::parse(text) {
        Ok(key) => Some(key),
        Err(error) => {
            let message = format!("this host key cannot be used: {error}");
            report.error(Code::InvalidHostKey, node.span, message, host_key::HELP);
            None
        }
    }
}
