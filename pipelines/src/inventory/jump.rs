//! `jump`: the hosts through which a device is reached.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::name::DeviceName;
use crate::source::Spanned;
use crate::suggest;
use crate::yaml::{Entry, Node, Value};

use super::Device;

const HELP: &str =
    "name a device, or list them from the nearest on: `jump: mgmt01` or `jump: [mgmt01, spine01]`";

/// What each device says of the way to it, with places.
pub(super) type Written = BTreeMap<DeviceName, Vec<Spanned<DeviceName>>>;

/// Reads `jump` of a device.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> Vec<Spanned<DeviceName>> {
    let items = match &node.value {
        Value::List(_) => report.list(node, "`jump`", HELP).unwrap_or_default(),
        _ => std::slice::from_ref(node),
    };
    items.iter().filter_map(|item| report.name(item, "the device's name")).collect()
}

/// Reports devices that do not exist, and ways that lead back or are too long.
pub(super) fn check(
    report: &mut Report<'_>,
    written: &Written,
    entries: &[Entry],
    devices: &BTreeMap<DeviceName, Device>,
) {
    let known = || entries.iter().map(|entry| entry.key.text.as_str());
    for (name, jumps) in written {
        let unknown = jumps.iter().find(|jump| !known().any(|it| it == jump.value.as_str()));
        if let Some(Spanned { value, span }) = unknown {
            let message = format!("the inventory has no device {}", quoted(value.as_str()));
            let help = suggest::advice(value.as_str(), known(), "those there are");
            report.error(Code::UnknownDevice, *span, message, help);
            continue;
        }
        let (Some(first), Some(device)) = (jumps.first(), devices.get(name)) else { continue };
        let way = match way(name, device, devices) {
            Ok(way) => way,
            Err(again) => {
                let of = quoted(name.as_str());
                let message = match again == name {
                    true => format!("the device {of} would be reached through itself"),
                    false => {
                        format!("{} stands twice on the way to {of}", quoted(again.as_str()))
                    }
                };
                let help = "leave `jump` out at the device that the agent reaches by itself";
                report.error(Code::JumpsInCircle, first.span, message, help);
                continue;
            }
        };
        if way.len() > limits::JUMPS {
            let (count, most) = (way.len(), limits::JUMPS);
            let of = quoted(name.as_str());
            let message =
                format!("the device {of} is reached through {count} others; at most {most} fit");
            let help = "name the last of them alone, if the agent reaches it by itself";
            report.error(Code::JumpsInCircle, first.span, message, help);
        }
    }
}

/// The devices on the way to `device`, which has this name, the nearest to the agent first: its own
/// `jump`, and before them those on the way to the first of these. One that does not exist ends it.
///
/// # Errors
/// The device that stands on it twice.
pub(super) fn way<'d>(
    name: &'d DeviceName,
    device: &'d Device,
    devices: &'d BTreeMap<DeviceName, Device>,
) -> Result<Vec<&'d DeviceName>, &'d DeviceName> {
    let (mut way, mut seen) = (Vec::new(), vec![name]);
    let mut next = Some(device);
    while let Some(device) = next {
        for jump in device.jump.iter().rev() {
            if seen.contains(&jump) {
                return Err(jump);
            }
            seen.push(jump);
            way.push(jump);
        }
        next = device.jump.first().and_then(|first| devices.get(first));
    }
    way.reverse();
    Ok(way)
}
