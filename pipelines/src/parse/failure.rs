//! `retry`, `on_lost` and `lost_after`: what is done when a job does not succeed, or its agent is
//! away.

use std::collections::BTreeSet;

use crate::ast::OnLost;
use crate::diagnostic::{Code, Report};
use crate::keys;
use crate::limits;
use crate::plan::{Retry, RetryOn};
use crate::quantity;
use crate::source::Spanned;
use crate::yaml::{Entry, Node, Value};

const RETRY_HELP: &str =
    "write how often, such as `retry: 2`, or `retry: { max: 2, on: [infra_error], delay: 30s }`";

const MAX_HELP: &str = "write a whole number from 0 to 10";

pub(crate) const ON: &[(&str, RetryOn)] = &[
    ("failed", RetryOn::Failed),
    ("timed_out", RetryOn::TimedOut),
    ("infra_error", RetryOn::InfraError),
];

pub(crate) const ON_LOST: &[(&str, OnLost)] =
    &[("wait", OnLost::Wait), ("fail", OnLost::Fail), ("retry", OnLost::Retry)];

const LOST_AFTER_HELP: &str = "write a duration from `1m` to `30d`, such as `30m`";

/// Shortest `lost_after`, in seconds: a lost connection takes up to half of it to be noticed.
const LOST_AFTER_MIN_S: u32 = 60;

/// Reads `retry`; with 0 it says that there is none.
pub(super) fn retry(report: &mut Report<'_>, entry: &Entry) -> Option<Retry> {
    let node = &entry.value;
    let all = || ON.iter().map(|(_, on)| *on).collect();
    if !matches!(node.value, Value::Map(_)) {
        return Some(Retry { max: max(report, node, RETRY_HELP)?, on: all(), delay_s: 0 });
    }
    let fields = report.fields(node, entry.key.span, &keys::RETRY)?;
    let on = fields.node("on").map(|node| on(report, node));
    let delay = fields.node("delay").and_then(|node| delay(report, node));
    let count = report.required(&fields, "max", "`retry`", RETRY_HELP)?;
    let max = max(report, &count.value, MAX_HELP)?;
    Some(Retry { max, on: on.unwrap_or_else(all), delay_s: delay.unwrap_or(0) })
}

fn max(report: &mut Report<'_>, node: &Node, help: &str) -> Option<u32> {
    let read = |text: &str| match text.parse() {
        Ok(max) if max <= limits::RETRIES => Ok(max),
        _ => Err("it is no whole number from 0 to 10"),
    };
    Some(report.scalar(node, "`retry`", Code::InvalidNumber, help, read)?.value)
}

fn on(report: &mut Report<'_>, node: &Node) -> BTreeSet<RetryOn> {
    let items = report.list(node, "`on` of `retry`", RETRY_HELP).unwrap_or_default();
    items.iter().filter_map(|item| report.choice(item, "an entry of `on`", ON)).collect()
}

fn delay(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
    Some(report.scalar(node, "`delay`", code, help, quantity::duration)?.value)
}

/// Reads `on_lost`.
pub(super) fn on_lost(report: &mut Report<'_>, node: &Node) -> Option<Spanned<OnLost>> {
    Some(Spanned::new(report.choice(node, "`on_lost`", ON_LOST)?, node.span))
}

/// Reads `lost_after`.
pub(super) fn lost_after(report: &mut Report<'_>, node: &Node) -> Option<Spanned<u32>> {
    let read = |text: &str| match quantity::duration(text) {
        Ok(seconds) if seconds < LOST_AFTER_MIN_S => Err(quantity::Error::TooSmall),
        read => read,
    };
    report.scalar(node, "`lost_after`", Code::InvalidDuration, LOST_AFTER_HELP, read)
}
