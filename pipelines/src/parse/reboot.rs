//! `reboot`: what happens to a device behind the script.

use super::job;
use crate::ast::Reboot;
use crate::diagnostic::{Code, Report};
use crate::keys;
use crate::plan::HostKey;
use crate::quantity;
use crate::yaml::Entry;

/// How long a device may be away if nothing else is said, in seconds.
const WAIT_S: u32 = 15 * 60;

pub(crate) const HOST_KEY: &[(&str, HostKey)] =
    &[("pinned", HostKey::Pinned), ("renew", HostKey::Renew)];

/// Reads a job's `reboot`.
pub(super) fn reboot(report: &mut Report<'_>, entry: &Entry) -> Option<Reboot> {
    let span = entry.key.span;
    let fields = report.fields_or_none(&entry.value, span, &keys::REBOOT)?;
    let wait_s = fields.node("wait").and_then(|node| {
        let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
        Some(report.scalar(node, "`wait`", code, help, quantity::duration)?.value)
    });
    let host_key =
        fields.node("host_key").and_then(|node| report.choice(node, "`host_key`", HOST_KEY));
    Some(Reboot {
        span,
        wait_s: wait_s.unwrap_or(WAIT_S),
        host_key: host_key.unwrap_or_default(),
        run: fields.node("run").and_then(|node| job::command(report, node)),
    })
}
