//! One device of an inventory.

use std::net::IpAddr;

use super::{Device, host_key};
use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
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
    let pinned = required("host_key", host_key::HELP);

    let address = written.and_then(|entry| address(report, &entry.value));
    let user = login.and_then(|entry| user::read(report, &entry.value));
    let host_key = pinned.and_then(|entry| pinned_key(report, &entry.value));
    let port = match fields.node("port") {
        Some(node) => port(report, node),
        None => Some(DEFAULT_PORT),
    };
    Some((name?.value, Device { address: address?, port: port?, user: user?, host_key: host_key? }))
}

fn address(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "`address`", ADDRESS_HELP)?;
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        return Some(text.to_owned());
    }
    let message = format!("{} is neither an IP address nor a host name", quoted(text));
    report.error(Code::InvalidAddress, node.span, message, ADDRESS_HELP);
    None
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

fn pinned_key(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "`host_key`", host_key::HELP)?;
    match host_key::parse(text) {
        Ok(key) => Some(key),
        Err(error) => {
            let message = format!("this host key cannot be used: {error}");
            report.error(Code::InvalidHostKey, node.span, message, host_key::HELP);
            None
        }
    }
}
