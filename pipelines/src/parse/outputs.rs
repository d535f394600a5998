//! `outputs`: the names of what a job leaves for those that need it.

use super::inputs;
use crate::ast::Outputs;
use crate::diagnostic::{Code, Report, quoted};
use crate::source::Spanned;
use crate::yaml::{Entry, Node};

const HELP: &str = "list names, such as `outputs: [version, image]`";

/// Reads a job's `outputs`.
pub(super) fn outputs(report: &mut Report<'_>, entry: &Entry) -> Outputs {
    let items = report.list(&entry.value, "`outputs`", HELP).unwrap_or_default();
    let names = items.iter().filter_map(|item| name(report, item)).collect();
    Outputs { span: entry.key.span, names }
}

fn name(report: &mut Report<'_>, node: &Node) -> Option<Spanned<String>> {
    let text = report.text(node, "the name of an output", HELP)?;
    if let Err(reason) = inputs::name(text) {
        let message = format!("{} cannot name an output: {reason}", quoted(text));
        report.error(Code::InvalidName, node.span, message, inputs::NAME_HELP);
        return None;
    }
    Some(Spanned::new(text.to_owned(), node.span))
}
