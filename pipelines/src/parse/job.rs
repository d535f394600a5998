//! `jobs`: what each job does, and around it.

use super::call;
use super::matrix::matrix;
use super::resources::resources;
use super::{
    agents, ansible, cache, devices, failure, gate, lock_of_job, outputs, partitions, reboot,
    secrets, services, task, timeout, transfer, variables, wait, yes_or_no,
};
use crate::ast::{Artifacts, Environment, Job, Need, Task, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::glob::Glob;
use crate::keys;
use crate::limits;
use crate::name::JobName;
use crate::quantity;
use crate::source::Spanned;
use crate::yaml::{Entry, Node, Value};

const JOBS_HELP: &str = "write a mapping from each job's name to what it does";

const RUN_HELP: &str = "write a command, or a list of them: `run: [make, make install]`";

const NEEDS_HELP: &str = "list jobs, such as `needs: [build, { job: lint, optional: true }]`";

const GLOB_HELP: &str =
    "write a path below the working directory, such as `dist/` or `out/**/*.log`";

const WHEN_HELP: &str =
    "write a condition, such as `when: branch == \"main\"` or `when: failure()`";

const ENVIRONMENT_HELP: &str =
    "write `environment: { name: \"{{ partition }}/switches\", url: \"https://…\" }`";

const ARTIFACTS_HELP: &str = "list what the job leaves: `artifacts: { paths: [dist/] }`";

/// Reads `jobs`.
pub(super) fn jobs(report: &mut Report<'_>, node: &Node) -> Vec<Job> {
    let entries = report.entries(node, "`jobs`", JOBS_HELP).unwrap_or_default();
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        report.error(Code::Empty, node.span, "the pipeline has no jobs", JOBS_HELP);
    }
    if entries.len() > limits::JOBS {
        let message =
            format!("the pipeline has {} jobs; at most {} fit", entries.len(), limits::JOBS);
        report.error(Code::TooManyJobs, node.span, message, "write several pipelines");
        return Vec::new();
    }
    entries.iter().filter_map(|entry| job(report, entry)).collect()
}

fn job(report: &mut Report<'_>, entry: &Entry) -> Option<Job> {
    let Entry { key, value } = entry;
    let name = report.name_of::<JobName>(&key.text, key.span, "the job's name");
    let of = format!("the job {}", quoted(&key.text));
    let mut fields = report.fields(value, key.span, &keys::JOB)?;
    let task = task::task(report, &fields, &of);
    gate::alone(report, &mut fields, &of);
    let is_call = fields.entry("pipeline").is_some();
    if is_call {
        call::alone(report, &fields, &of);
    }
    let is_gate = fields.entry(task::GATE).is_some();
    let only_waits = task.as_ref().is_some_and(|task| matches!(task.value, Task::Wait));
    let has_script = !only_waits && !is_call && !is_gate && fields.entry("render").is_none();
    let script = if !has_script || fields.has_refused(task::WITHOUT_SCRIPT) {
        fields.entry("run")
    } else {
        report.required(&fields, "run", &of, RUN_HELP)
    };
    Some(Job {
        task,
        run: script.map(|entry| run(report, entry)).unwrap_or_default(),
        wait: fields.entry("wait").and_then(|entry| wait::wait(report, entry)),
        upload: fields.entry("upload").and_then(|entry| transfer::upload(report, entry)),
        download: fields.entry("download").and_then(|entry| transfer::download(report, entry)),
        reboot: fields.entry("reboot").and_then(|entry| reboot::reboot(report, entry)),
        needs: fields.node("needs").map(|node| needs(report, node)).unwrap_or_default(),
        variables: fields.node("variables").map(|node| variables(report, node)).unwrap_or_default(),
        secrets: fields
            .node("secrets")
            .map(|node| secrets::secrets(report, node))
            .unwrap_or_default(),
        timeout_s: fields.node("timeout").and_then(|node| timeout(report, node)),
        artifacts: fields.entry("artifacts").and_then(|entry| artifacts(report, entry)),
        cache: fields.entry("cache").and_then(|entry| cache::cache(report, entry)),
        services: fields.entry("services").and_then(|entry| services::services(report, entry)),
        ansible: ansible::ansible(report, &fields),
        outputs: fields.entry("outputs").map(|entry| outputs::outputs(report, entry)),
        partitions: fields
            .node("partitions")
            .and_then(|node| partitions::names(report, node, "`partitions` of a job")),
        lock: fields.node("lock").and_then(|node| lock_of_job(report, node)),
        agents: fields
            .node("agent")
            .and_then(|node| agents::agents(report, node))
            .unwrap_or_default(),
        retry: fields.entry("retry").and_then(|entry| failure::retry(report, entry)),
        on_lost: fields.node("on_lost").and_then(|node| failure::on_lost(report, node)),
        matrix: fields.entry("matrix").and_then(|entry| matrix(report, entry)),
        when: fields.node("when").and_then(|node| when(report, node)),
        resources: fields.entry("resources").and_then(|entry| resources(report, entry)),
        environment: fields.entry("environment").and_then(|entry| environment(report, entry)),
        devices: fields.entry("devices").and_then(|entry| devices::devices(report, entry)),
        rollout: fields.entry("rollout").and_then(|entry| devices::of_job(report, entry)),
        lost_after: fields.node("lost_after").and_then(|node| failure::lost_after(report, node)),
        // Last, so that a job without a usable name also hears what else is wrong with it.
        name: name?,
    })
}

fn run(report: &mut Report<'_>, entry: &Entry) -> Vec<Text> {
    let lines = match &entry.value.value {
        Value::List(_) => report.list(&entry.value, "`run`", RUN_HELP).unwrap_or_default(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::Map(_) => std::slice::from_ref(&entry.value),
    };
    lines.iter().filter_map(|line| command(report, line)).collect()
}

/// Reads a shell command.
pub(super) fn command(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    let help = match node.value {
        Value::Map(_) => "put the command into quotes: without them, `: ` makes a mapping of it",
        Value::List(_) => "put the command into quotes: without them, `[` begins a list",
        _ => RUN_HELP,
    };
    let text = report.text(node, "a command", help)?.trim_end_matches('\n');
    if text.trim().is_empty() {
        report.error(Code::Empty, node.span, "this command is empty", "write one, or remove it");
        return None;
    }
    if text.len() > limits::SCRIPT_LINE_BYTES {
        let message = format!("this command has {} bytes; at most 64 KiB fit", text.len());
        let help = "keep long scripts in a file of the repository, and run that";
        report.error(Code::TooLong, node.span, message, help);
        return None;
    }
    Some(Spanned::new(text.to_owned(), node.span))
}

fn needs(report: &mut Report<'_>, node: &Node) -> Vec<Need> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => report.list(node, "`needs`", NEEDS_HELP).unwrap_or_default(),
    };
    items.iter().filter_map(|item| need(report, item)).collect()
}

fn need(report: &mut Report<'_>, node: &Node) -> Option<Need> {
    let what = "the needed job's name";
    if !matches!(node.value, Value::Map(_)) {
        let job = report.name(node, what)?;
        return Some(Need { job, optional: false, artifacts: true });
    }
    let fields = report.fields(node, node.span, &keys::NEED)?;
    let optional = fields.node("optional").and_then(|node| yes_or_no(report, node, "`optional`"));
    let artifacts =
        fields.node("artifacts").and_then(|node| yes_or_no(report, node, "`artifacts`"));
    let job = report.required(&fields, "job", "this entry of `needs`", NEEDS_HELP)?;
    Some(Need {
        job: report.name(&job.value, what)?,
        optional: optional.unwrap_or(false),
        artifacts: artifacts.unwrap_or(true),
    })
}

fn when(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    match node.value.scalar() {
        Some(text) => Some(Spanned::new(text.to_owned(), node.span)),
        None => report.wrong_type(node, "`when`", "a condition", WHEN_HELP),
    }
}

fn environment(report: &mut Report<'_>, entry: &Entry) -> Option<Environment> {
    if let Value::Str(name) = &entry.value.value {
        return Some(Environment { name: Spanned::new(name.clone(), entry.value.span), url: None });
    }
    report.entries(&entry.value, "`environment`", ENVIRONMENT_HELP)?;
    let fields = report.fields(&entry.value, entry.key.span, &keys::ENVIRONMENT)?;
    let mut text = |key: &str| {
        let node = fields.node(key)?;
        let text = report.text(node, &quoted(key), ENVIRONMENT_HELP)?;
        Some(Spanned::new(text.to_owned(), node.span))
    };
    let url = text("url");
    let name = text("name");
    report.required(&fields, "name", "`environment`", ENVIRONMENT_HELP)?;
    Some(Environment { name: name?, url })
}

fn artifacts(report: &mut Report<'_>, entry: &Entry) -> Option<Artifacts> {
    let span = entry.key.span;
    report.entries(&entry.value, "`artifacts`", ARTIFACTS_HELP)?;
    let fields = report.fields(&entry.value, span, &keys::ARTIFACTS)?;
    let paths = &report.required(&fields, "paths", "`artifacts`", ARTIFACTS_HELP)?.value;
    let items = report.list(paths, "`paths`", ARTIFACTS_HELP)?;
    let paths = items.iter().filter_map(|item| path(report, item, "a path of artifacts")).collect();
    let expire_s = fields.node("expire").and_then(|node| {
        let (code, help) = (Code::InvalidDuration, quantity::KEEPING_HELP);
        Some(report.scalar(node, "`expire`", code, help, quantity::keeping)?.value)
    });
    Some(Artifacts { span, paths, expire_s })
}

/// Reads a pattern of files; `what` it is called in messages.
pub(super) fn path(report: &mut Report<'_>, node: &Node, what: &str) -> Option<Glob> {
    Some(report.scalar(node, what, Code::InvalidGlob, GLOB_HELP, str::parse)?.value)
}
