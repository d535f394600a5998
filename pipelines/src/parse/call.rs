//! `pipeline` of a job: another pipeline whose jobs stand in its place.

use crate::ast::{Call, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::include::{self, Include};
use crate::keys;
use crate::source::Spanned;
use crate::yaml::{Entry, Value};

const HELP: &str = "name the other pipeline's file: `pipeline: .garrison/base.yaml`, or \
                    `pipeline: { file: .garrison/base.yaml, inputs: { os: 4.3.0 } }`";

/// What may stand beside `pipeline`, or is told otherwise: that a job does two things.
const BESIDE: &[&str] =
    &["pipeline", "needs", "when", "partitions", "container", "ssh", "process", "render"];

/// Reads `pipeline` of a job.
pub(crate) fn call(report: &mut Report<'_>, entry: &Entry) -> Option<Call> {
    let node = &entry.value;
    if let Value::Str(_) = node.value {
        let include = Include { pinned: None, file: include::file(report, node)? };
        return Some(Call { file: Spanned::new(include, node.span), inputs: Vec::new() });
    }
    report.entries(node, "`pipeline`", HELP)?;
    let fields = report.fields(node, entry.key.span, &keys::CALL)?;
    let inputs = fields.node("inputs").map(|node| inputs(report, node)).unwrap_or_default();
    let file = include::place(report, &fields, "`pipeline`", None)?;
    let span = fields.node("file").map_or(node.span, |node| node.span);
    Some(Call { file: Spanned::new(file, span), inputs })
}

fn inputs(report: &mut Report<'_>, node: &crate::yaml::Node) -> Vec<(Spanned<String>, Text)> {
    super::schedule::inputs(report, node, "`inputs` of `pipeline`")
}

/// Reports keys of a job that mean nothing where another pipeline stands in its place.
pub(super) fn alone(report: &mut Report<'_>, fields: &Fields<'_>, of: &str) {
    for entry in fields.others(BESIDE) {
        let message = format!(
            "{of} is another pipeline, beside which {} means nothing",
            quoted(&entry.key.text)
        );
        let help = "write it to the jobs of that pipeline, or hand a value over as an input";
        report.error(Code::InvalidCall, entry.key.span, message, help);
    }
}
