//! `resources`: how much of the host a job may take.

use crate::ast::Resources;
use crate::diagnostic::{Code, Report};
use crate::keys;
use crate::quantity;
use crate::source::Spanned;
use crate::yaml::{Entry, Node};

/// Reads a job's `resources`.
pub(super) fn resources(report: &mut Report<'_>, entry: &Entry) -> Option<Spanned<Resources>> {
    let fields = report.fields(&entry.value, entry.key.span, &keys::RESOURCES)?;
    let resources = Resources {
        memory: fields.node("memory").and_then(|node| memory(report, node)),
        millicpus: fields.node("cpus").and_then(|node| cpus(report, node)),
    };
    Some(Spanned::new(resources, entry.key.span))
}

fn memory(report: &mut Report<'_>, node: &Node) -> Option<u64> {
    let (code, help) = (Code::InvalidSize, quantity::SIZE_HELP);
    Some(report.scalar(node, "`memory`", code, help, quantity::memory)?.value)
}

fn cpus(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let (code, help) = (Code::InvalidNumber, quantity::CPUS_HELP);
    Some(report.scalar(node, "`cpus`", code, help, quantity::millicpus)?.value)
}
