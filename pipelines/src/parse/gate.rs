//! `gate`: a job that waits for people.

use super::task::{GATE, WITH_SCRIPT, WITHOUT_SCRIPT};
use crate::ast::{Asks, Gate, Task, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::gate::Triggerer;
use crate::keys;
use crate::limits;
use crate::role::Role;
use crate::source::{Span, Spanned};
use crate::template::is_template;
use crate::yaml::{Entry, Node};

const COUNT_HELP: &str = "write a whole number from 1 to 10";

const MESSAGE_HELP: &str = "write what people should know before they answer, such as `\"{{ plan.summary }}\"`; at most 8 KiB";

const ACKNOWLEDGE_HELP: &str =
    "write what was done, as one line of at most 200 bytes, such as `loaded on console fw01`";

/// How long a gate waits that does not say, in seconds.
const TIMEOUT_S: u32 = 24 * 60 * 60;

/// Keys that a job may have beside `gate`.
const BESIDE: &[&str] = &["extends", "needs", "when", "partitions"];

pub(crate) const ROLES: &[(&str, Role)] =
    &[("view", Role::View), ("edit", Role::Edit), ("admin", Role::Admin)];

pub(crate) const TRIGGERERS: &[(&str, Triggerer)] =
    &[("refused", Triggerer::Refused), ("allowed", Triggerer::Allowed)];

/// Reads a job's `gate`.
pub(super) fn gate(report: &mut Report<'_>, entry: &Entry) -> Option<Task> {
    let fields = report.fields_or_none(&entry.value, entry.key.span, &keys::GATE)?;
    let role = fields.node("role").and_then(|node| report.choice(node, "`role`", ROLES));
    let timeout_s = fields.node("timeout").and_then(|node| super::timeout(report, node));
    let message = fields.node("message").and_then(|node| message(report, node));
    let count = fields.node("count").and_then(|node| count(report, node));
    let triggerer =
        fields.node("triggerer").and_then(|node| report.choice(node, "`triggerer`", TRIGGERERS));
    let waives = fields.node("waives").and_then(|node| super::yes_or_no(report, node, "`waives`"));
    let asks = match fields.node("acknowledge") {
        Some(node) => {
            for key in ["count", "triggerer"] {
                beside_acknowledge(report, fields.entry(key));
            }
            Asks::Acknowledgement { text: acknowledge(report, node)? }
        }
        None => {
            Asks::Approval { count: count.unwrap_or(1), triggerer: triggerer.unwrap_or_default() }
        }
    };
    Some(Task::Gate(Gate {
        role: role.unwrap_or(Role::Edit),
        timeout_s: timeout_s.unwrap_or(TIMEOUT_S),
        message,
        asks,
        waives: waives.unwrap_or_default(),
    }))
}

/// Takes from a job with a gate, and reports, what only a job can use that does something.
pub(super) fn alone(report: &mut Report<'_>, fields: &mut Fields<'_>, of: &str) {
    if fields.entry(GATE).is_none() {
        return;
    }
    // A second task was reported already.
    for entry in fields.take_others(&[BESIDE, WITH_SCRIPT, WITHOUT_SCRIPT].concat()) {
        let key = entry.key.text.as_str();
        let message = format!("{of} is a gate, which has no {}", quoted(key));
        let help = match key {
            "timeout" => "write it into `gate`: `gate: { timeout: 24h }`",
            "matrix" | "agent" => "remove it: a gate is there once in each partition",
            _ => "remove it, or write it into the jobs that need the gate",
        };
        report.error(Code::KeyBesideGate, entry.key.span, message, help);
    }
}

fn beside_acknowledge(report: &mut Report<'_>, entry: Option<&Entry>) {
    let Some(Entry { key, .. }) = entry else { return };
    let message = format!("a gate with `acknowledge` has no {}", quoted(&key.text));
    let help = "remove it: one person says what was done, whoever triggered the run";
    report.error(Code::KeyBesideAcknowledge, key.span, message, help);
}

fn count(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let read = |text: &str| match text.parse() {
        Ok(count) if (1..=limits::APPROVALS).contains(&count) => Ok(count),
        _ => Err("it is no whole number from 1 to 10"),
    };
    Some(report.scalar(node, "`count`", Code::InvalidNumber, COUNT_HELP, read)?.value)
}

fn message(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    let text = report.text(node, "`message`", MESSAGE_HELP)?.trim_end();
    let text = Spanned::new(text.to_owned(), node.span);
    let fits = is_template(&text.value) || check_message(report, &text.value, text.span);
    fits.then_some(text)
}

fn acknowledge(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    let text = report.text(node, "`acknowledge`", ACKNOWLEDGE_HELP)?.trim();
    let text = Spanned::new(text.to_owned(), node.span);
    let fits = is_template(&text.value) || check_acknowledge(report, &text.value, text.span);
    fits.then_some(text)
}

/// Whether the text can be a gate's message; reported if not.
pub(crate) fn check_message(report: &mut Report<'_>, text: &str, span: Span) -> bool {
    let problem = match text.len() {
        _ if text.trim().is_empty() => "it is empty",
        length if length > limits::MESSAGE_BYTES => "it is too long",
        _ if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
            "it holds a control character"
        }
        _ => return true,
    };
    let message = format!("the message of the gate cannot be used: {problem}");
    report.error(Code::InvalidGateText, span, message, MESSAGE_HELP);
    false
}

/// Whether people can be asked to acknowledge the text; reported if not.
pub(crate) fn check_acknowledge(report: &mut Report<'_>, text: &str, span: Span) -> bool {
    let problem = match text.len() {
        _ if text.trim().is_empty() => "it is empty",
        length if length > limits::ACKNOWLEDGE_BYTES => "it is too long",
        _ if text.contains(char::is_control) => {
            "it holds a line break or another control character"
        }
        _ if text.trim() != text => "it begins or ends with a space",
        _ => return true,
    };
    let message = format!("what is to be acknowledged cannot be used: {problem}");
    report.error(Code::InvalidGateText, span, message, ACKNOWLEDGE_HELP);
    false
}
