//! One device of an inventory.

use std::net::IpAddr;

use super::{Device, LABELS_HELP, host_key, jump, variables};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::label;
use crate::name::DeviceName;
use crate::plan::Kind;
use crate::source::Spanned;
use crate::user;
use crate::yaml::{Entry, Node, Value};

const DEFAULT_PORT: u16 = 22;

const ADDRESS_HELP: &str = "write an IP address or a host name, without port and user";

pub(crate) const KINDS: &[(&str, Kind)] = &[("shell", Kind::Shell), ("cli", Kind::Cli)];

/// Reads a device, its name before it, and its `jump` with places behind it.
pub(super) fn device(
    report: &mut Report<'_>,
    entry: &Entry,
) -> Option<(DeviceName, Device, Vec<Spanned<DeviceName>>)> {
    let Entry { key, value } = entry;
    let name = report.name_of(&key.text, key.span, "the device's name");
    let of = format!("the device {}", quoted(&key.text));
    let fields = report.fields(value, key.span, &keys::DEVICE)?;
    let mut required = |key, help| report.required(&fields, key, &of, help);
    let written = required("address", ADDRESS_HELP);
    let login = required("user", "add `user:` with the user to log in as");

    let address = written.and_then(|entry| address(report, &entry.value));
    let user = login.and_then(|entry| user::read(report, &entry.value, "`user`"));
    let host_ca = fields.node("host_ca").map(|node| authorities(report, node));
    let host_keys = host_keys(report, &fields, &of);
    let rsa = fields.node("rsa").and_then(|node| yes_or_no(report, node));
    let kind = fields.node("kind").and_then(|node| report.choice(node, "`kind`", KINDS));
    let jump = fields.node("jump").map(|node| jump::read(report, node)).unwrap_or_default();
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
        host_ca: host_ca.unwrap_or_default(),
        rsa: rsa.unwrap_or(false),
        kind: kind.unwrap_or_default(),
        jump: jump.iter().map(|jump| jump.value.clone()).collect(),
        role: role.map(|role| role.value),
        group: group.map(|group| group.value),
        labels: labels.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
    };
    Some((name?.value, device, jump))
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
        (None, Some(entry)) => {
            let keys = several_keys(report, &entry.value, "host_keys");
            Some(keys).filter(|keys| !keys.is_empty())
        }
        // It was misspelt, and that was reported.
        (None, None) if fields.has_refused(&["host_keys"]) => None,
        (None, None) if fields.entry("host_ca").is_some() => Some(Vec::new()),
        (Some(_), None) | (None, None) => {
            let entry = report.required(fields, "host_key", of, host_key::HELP)?;
            Some(vec![pinned_key(report, &entry.value, "`host_key`")?])
        }
    }
}

/// The keys of `host_ca`, which may be one alone.
fn authorities(report: &mut Report<'_>, node: &Node) -> Vec<String> {
    match &node.value {
        Value::List(_) => several_keys(report, node, "host_ca"),
        _ => pinned_key(report, node, "`host_ca`").into_iter().collect(),
    }
}

fn several_keys(report: &mut Report<'_>, node: &Node, named: &str) -> Vec<String> {
    let (what, of) = (format!("`{named}`"), format!("a key of `{named}`"));
    let mut keys = Vec::new();
    for item in report.list(node, &what, host_key::LIST_HELP).unwrap_or_default() {
        let Some(key) = pinned_key(report, item, &of) else { continue };
        if keys.contains(&key) {
            let message = format!("{what} names this key twice");
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        } else {
            keys.push(key);
        }
    }
    keys
}

fn yes_or_no(report: &mut Report<'_>, node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(written) => Some(written.value),
        _ => report.wrong_type(node, "`rsa`", "`true` or `false`", "write `true` or `false`"),
    }
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
