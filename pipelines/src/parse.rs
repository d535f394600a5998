//! From the YAML tree to a pipeline. What cannot be read is reported and left out.

mod agents;
mod ansible;
mod cache;
mod call;
mod concurrency;
mod devices;
mod event;
mod failure;
mod gate;
mod inputs;
mod job;
mod matrix;
mod on;
mod outputs;
mod partitions;
mod reboot;
mod render;
mod resources;
mod schedule;
mod secrets;
mod services;
mod task;
mod transfer;
mod variables;
mod wait;

use crate::ast::{Defaults, Partitions, Pipeline, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::name::{LockName, PipelineName};
use crate::quantity;
use crate::source::{Span, Spanned};
use crate::template::is_template;
use crate::yaml::{Entry, Node, Value};

pub(crate) use cache::check_key as check_cache_key;
pub(crate) use call::call;
pub(crate) use gate::{check_acknowledge, check_message};
pub(crate) use on::on;
pub(crate) use partitions::{files_of, names_of as partition_names};
pub(crate) use render::check_path as check_render_path;
pub(crate) use transfer::{Side, check_path};
pub(crate) use variables::{check_name as variable_name, variables};
pub(crate) use wait::Form as ProbeForm;

/// Words of which one may stand somewhere, for the schema.
pub(crate) mod words {
    pub(crate) use super::agents::AGENTS;
    pub(crate) use super::ansible::TOOLS;
    pub(crate) use super::concurrency::MODES;
    pub(crate) use super::devices::{GROUPS, SERIAL};
    pub(crate) use super::failure::{ON as RETRY_ON, ON_LOST};
    pub(crate) use super::gate::{ROLES, TRIGGERERS};
    pub(crate) use super::inputs::KINDS as INPUT_TYPES;
    pub(crate) use super::reboot::HOST_KEY;
    pub(crate) use super::schedule::MISSED;
    pub(crate) use super::secrets::DELIVERIES;
    pub(crate) use super::task::{NETWORK, PULL};
}

/// Reads all of a pipeline, what it includes and extends put in.
pub(crate) fn pipeline(root: &Node, report: &mut Report<'_>) -> Option<Pipeline> {
    let fields = report.fields(root, Span::START, &keys::PIPELINE)?;
    let name = match fields.node("name") {
        Some(node) => report.name(node, "the pipeline's name").map(|name| name.value),
        None => name_of_file(report),
    };
    let on = on(report, &fields);
    let inputs = fields.node("inputs").map(|node| inputs::inputs(report, node));
    let help = "list the partitions' names, such as `partitions: [fra-equ01]`";
    let partitions = match report.required(&fields, "partitions", "the pipeline", help) {
        Some(entry) => partitions::of_pipeline(report, &entry.value, entry.key.span),
        None => None,
    };
    let defaults = fields.entry("defaults").map(|entry| defaults(report, entry));
    let variables = fields.node("variables").map(|node| variables(report, node));
    let variables = variables.unwrap_or_default();
    let lock = fields.node("lock").and_then(|node| lock(report, node)).map(|lock| lock.value);
    let window = fields.node("window").and_then(|node| report.name(node, "the window's name"));
    let concurrency = fields.entry("concurrency");
    let concurrency = concurrency.and_then(|entry| concurrency::concurrency(report, entry));
    let help = "add `jobs:` with a mapping from each job's name to what it does";
    let jobs = match report.required(&fields, "jobs", "the pipeline", help) {
        Some(entry) => job::jobs(report, &entry.value),
        None => Vec::new(),
    };
    let (inputs, defaults) = (inputs.unwrap_or_default(), defaults.unwrap_or_default());
    let Partitions { names, choice, rollout } = partitions.unwrap_or_default();
    let partitions = names.unwrap_or_default();
    Some(Pipeline {
        name,
        on,
        inputs,
        partitions,
        choice,
        rollout,
        defaults,
        variables,
        lock,
        window,
        concurrency,
        jobs,
    })
}

/// A pipeline without a name is called like its file.
fn name_of_file(report: &mut Report<'_>) -> Option<PipelineName> {
    let path = report.source().name();
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml")).unwrap_or(file);
    stem.parse().map_err(|_| bad_file_name(report, stem)).ok()
}

fn bad_file_name(report: &mut Report<'_>, stem: &str) {
    let message = format!("the file's name {} cannot serve as the pipeline's name", quoted(stem));
    let help = "add `name:` with a name of a-z, 0-9 and '-', or rename the file";
    report.error(Code::InvalidName, Span::START, message, help);
}

fn defaults(report: &mut Report<'_>, entry: &Entry) -> Defaults {
    let fields = report.fields(&entry.value, entry.key.span, &keys::DEFAULTS);
    let Some(fields) = fields else { return Defaults::default() };
    Defaults {
        image: fields.node("image").and_then(|node| task::image(report, node)),
        timeout_s: fields.node("timeout").and_then(|node| timeout(report, node)),
        retry: fields.entry("retry").and_then(|entry| failure::retry(report, entry)),
    }
}

fn yes_or_no(report: &mut Report<'_>, node: &Node, what: &str) -> Option<bool> {
    match &node.value {
        Value::Bool(written) => Some(written.value),
        _ => report.wrong_type(node, what, "`true` or `false`", "write `true` or `false`"),
    }
}

const LOCK: &str = "the lock's name";

fn lock(report: &mut Report<'_>, node: &Node) -> Option<Spanned<LockName>> {
    report.name(node, LOCK)
}

/// A job's lock, whose name may have to be filled in.
fn lock_of_job(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    match &node.value {
        Value::Str(text) if is_template(text) => Some(Spanned::new(text.clone(), node.span)),
        _ => lock(report, node).map(|lock| Spanned::new(lock.value.into(), lock.span)),
    }
}

/// Whether the text can name a lock; reported if not.
pub(crate) fn lock_named(report: &mut Report<'_>, text: &str, span: Span) -> Option<LockName> {
    report.name_of(text, span, LOCK).map(|lock| lock.value)
}

fn timeout(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
    let timeout = report.scalar(node, "`timeout`", code, help, quantity::duration)?;
    Some(timeout.value)
}
