//! `schedule` of `on`: the times at which a pipeline starts by itself.

use crate::ast::Schedule as Written;
use crate::diagnostic::{Code, Report, quoted};
use crate::input::Inputs;
use crate::keys;
use crate::limits;
use crate::schedule::{self, Cron, Missed, Schedule};
use crate::source::Spanned;
use crate::yaml::{Entry, Node};
use crate::zone;

const HELP: &str =
    "list them, such as `schedule: [{ cron: \"30 2 * * 2\", timezone: Europe/Berlin }]`";

const CRON_HELP: &str = "write minute, hour, day of the month, month and day of the week, such as \
                         `\"30 2 * * 2\"` for Tuesdays at 02:30";

const INPUTS_HELP: &str = "write `name: value` lines";

pub(crate) const MISSED: &[(&str, Missed)] = &[("once", Missed::Once), ("skip", Missed::Skip)];

/// Reads `schedule`.
pub(super) fn schedules(report: &mut Report<'_>, entry: &Entry) -> Vec<Spanned<Written>> {
    let node = &entry.value;
    let Some(items) = report.list(node, "`schedule`", HELP) else { return Vec::new() };
    if items.len() > limits::SCHEDULES {
        let (count, most) = (items.len(), limits::SCHEDULES);
        let message = format!("there are {count} schedules; at most {most} fit");
        report.error(Code::TooLong, node.span, message, "write several pipelines");
        return Vec::new();
    }
    let mut schedules: Vec<Spanned<Written>> = Vec::new();
    for item in items {
        let Some(written) = schedule(report, item) else { continue };
        if schedules.iter().any(|other| other.value.schedule == written.schedule) {
            let message = format!("`schedule` has {} twice", quoted(&written.schedule.cron));
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        }
        schedules.push(Spanned::new(written, item.span));
    }
    schedules
}

fn schedule(report: &mut Report<'_>, node: &Node) -> Option<Written> {
    let fields = report.fields(node, node.span, &keys::SCHEDULE)?;
    let zone = match fields.node("timezone") {
        Some(node) => zone::read(report, node),
        None => Some(schedule::UTC.to_owned()),
    };
    let written = fields.node("inputs").map(|node| inputs(report, node, "`inputs` of a schedule"));
    let written = written.unwrap_or_default();
    let missed = fields.node("missed").map(|node| report.choice(node, "`missed`", MISSED));
    let entry = report.required(&fields, "cron", "the schedule", CRON_HELP)?;
    let cron = cron(report, &entry.value)?;
    let inputs: Inputs =
        written.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
    let missed = missed.flatten().unwrap_or_default();
    Some(Written { schedule: Schedule { cron, timezone: zone?, inputs, missed }, inputs: written })
}

fn cron(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let read = |text: &str| {
        let cron: Cron = text.parse()?;
        Ok::<_, String>((cron, text.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    let read = report.scalar(node, "`cron`", Code::InvalidCron, CRON_HELP, read)?;
    let (cron, text) = read.value;
    if cron.first(jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
        let message = format!("{} is never: no month that it names has such a day", quoted(&text));
        let help = "correct the day of the month, or the months";
        report.error(Code::NeverDue, node.span, message, help);
        return None;
    }
    Some(text)
}

/// What a pipeline is started with, as it is written.
pub(super) fn inputs(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
) -> Vec<(Spanned<String>, Spanned<String>)> {
    let entries = report.entries(node, what, INPUTS_HELP).unwrap_or_default();
    let mut inputs = Vec::new();
    for Entry { key, value } in entries {
        let what = format!("the input {}", quoted(&key.text));
        let help = "write text, a number, `true` or `false`";
        match value.value.scalar() {
            Some(text) => inputs.push((
                Spanned::new(key.text.clone(), key.span),
                Spanned::new(text.to_owned(), value.span),
            )),
            None => {
                report.wrong_type::<()>(value, &what, "a single value", help);
            }
        }
    }
    inputs
}
