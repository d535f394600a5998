//! `concurrency`: which runs start one after the other.

use crate::ast::Concurrency;
use crate::diagnostic::Report;
use crate::keys;
use crate::plan::Mode;
use crate::yaml::Entry;

pub(crate) const MODES: &[(&str, Mode)] = &[
    ("queue", Mode::Queue),
    ("newest-only", Mode::NewestOnly),
    ("cancel-running", Mode::CancelRunning),
];

/// Reads `concurrency`; a name alone is a group whose runs queue.
pub(super) fn concurrency(report: &mut Report<'_>, entry: &Entry) -> Option<Concurrency> {
    let node = &entry.value;
    if node.value.scalar().is_some() {
        let group = report.name(node, "the group's name")?.value;
        return Some(Concurrency { group: Some(group), mode: Mode::default() });
    }
    let fields = report.fields(node, entry.key.span, &keys::CONCURRENCY)?;
    let group = fields.node("group").map(|node| report.name(node, "the group's name"));
    let mode = fields.node("mode").map(|node| report.choice(node, "`mode`", MODES));
    Some(Concurrency {
        group: group.flatten().map(|group| group.value),
        mode: mode.flatten().unwrap_or_default(),
    })
}
