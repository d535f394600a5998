//! `on`: when a pipeline starts.

use super::event::events;
use super::schedule::schedules;
use crate::ast::{On, Push, Refs};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::glob::Glob;
use crate::keys::{self, Place};
use crate::yaml::{Entry, Node, Value};

const HELP: &str = "write `on: { push: { branches: [main] } }`, `on: { tag: ['v*'] }`, `on: { schedule: [{ cron: \"30 2 * * 2\" }] }`, `on: { event: [{ topic: machine.provisioned }] }`, `on: { manual: {} }`, or several";

const BRANCHES_HELP: &str =
    "write a branch such as `main`, with `*` for a part of it and `**` for whole parts";

const PATHS_HELP: &str =
    "list paths such as `[\"roles/**\", release.yaml]`: one of these files must have changed";

const TAGS_HELP: &str = "list tags such as `['v*']`, with `*` for a part of one and `**` for whole parts; nothing for all";

/// Reads `on` of a pipeline.
pub(crate) fn on(report: &mut Report<'_>, fields: &Fields<'_>) -> Option<On> {
    let entry = report.required(fields, "on", "the pipeline", HELP)?;
    let span = entry.key.span;
    // What may stand here is better shown by an example than by a list of keys.
    let entries = report.entries(&entry.value, "`on`", HELP)?;
    if entries.is_empty() {
        report.error(Code::Empty, span, "`on` names nothing that starts the pipeline", HELP);
        return None;
    }
    let fields = report.fields(&entry.value, span, &keys::ON)?;
    let pushed = fields.entry("push").and_then(|entry| push(report, entry, &keys::PUSH));
    let pull_request =
        fields.entry("pull_request").and_then(|entry| push(report, entry, &keys::PULL_REQUEST));
    let tag = fields.entry("tag").and_then(|entry| tag(report, entry));
    let schedule = fields.entry("schedule").map(|entry| schedules(report, entry));
    let event = fields.entry("event").map(|entry| events(report, entry));
    let manual = fields.entry("manual").and_then(|entry| {
        report.fields_or_none(&entry.value, entry.key.span, &keys::MANUAL).map(|_| ())
    });
    let (schedule, event) = (schedule.unwrap_or_default(), event.unwrap_or_default());
    Some(On { span, push: pushed, pull_request, tag, schedule, event, manual: manual.is_some() })
}

fn push(report: &mut Report<'_>, entry: &Entry, place: &'static Place) -> Option<Push> {
    let fields = report.fields_or_none(&entry.value, entry.key.span, place)?;
    let branches = match fields.node("branches") {
        None => Refs::Any,
        Some(node) => {
            let items = report.list(node, "`branches`", BRANCHES_HELP)?;
            Refs::Only(items.iter().filter_map(|item| branch(report, item)).collect())
        }
    };
    let paths = match fields.node("paths") {
        None => None,
        Some(node) => {
            let items = report.list(node, "`paths`", PATHS_HELP)?;
            let path = |item| {
                let code = Code::InvalidGlob;
                Some(report.scalar(item, "a path", code, PATHS_HELP, str::parse)?.value)
            };
            Some(items.iter().filter_map(path).collect())
        }
    };
    Some(Push { branches, paths })
}

fn tag(report: &mut Report<'_>, entry: &Entry) -> Option<Refs> {
    if let Value::Null = entry.value.value {
        return Some(Refs::Any);
    }
    let items = report.list(&entry.value, "`tag`", TAGS_HELP)?;
    let tag = |node| pattern(report, node, "a tag pattern", "tag", TAGS_HELP);
    Some(Refs::Only(items.iter().filter_map(tag).collect()))
}

fn branch(report: &mut Report<'_>, node: &Node) -> Option<Glob> {
    pattern(report, node, "a branch pattern", "branch", BRANCHES_HELP)
}

fn pattern(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
    kind: &str,
    help: &str,
) -> Option<Glob> {
    let code = Code::InvalidGlob;
    let glob: Glob = report.scalar(node, what, code, help, str::parse)?.value;
    if glob.as_str().ends_with('/') {
        let message =
            format!("{what} cannot be {}: no {kind} ends with a slash", quoted(glob.as_str()));
        let help = format!("write {} for all below", quoted(&format!("{glob}**")));
        report.error(code, node.span, message, help);
        return None;
    }
    Some(glob)
}
