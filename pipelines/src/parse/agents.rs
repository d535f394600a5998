//! `agent` of a job: on which agents of a partition it runs.

use crate::ast::Agents;
use crate::diagnostic::{Code, Report, quoted};
use crate::label;
use crate::yaml::{Node, Value};

/// Words beside labels.
pub(crate) const AGENTS: &[(&str, ())] = &[("each", ())];

const HELP: &str = "write `agent: each` to run once on each agent of the partition, or labels that \
                    one must have: `agent: { site: north }`";

const LABELS_HELP: &str = "write labels that the agent must have: `agent: { site: north }`; values of 63 characters at most";

/// Reads `agent`.
pub(super) fn agents(report: &mut Report<'_>, node: &Node) -> Option<Agents> {
    match &node.value {
        Value::Map(_) => Some(Agents::With(label::read(report, node, "`agent`", LABELS_HELP))),
        Value::Str(text) if AGENTS.iter().any(|(word, ())| word == text) => {
            Some(Agents::Each(node.span))
        }
        Value::Str(text) => {
            let message = format!("`agent` cannot be {}", quoted(text));
            report.error(Code::UnknownChoice, node.span, message, HELP);
            None
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => {
            report.wrong_type(node, "`agent`", "`each` or a mapping", HELP)
        }
    }
}
