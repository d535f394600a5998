//! Whether what is filled in and decided when a plan is made reads only what there is.

use crate::ast::{Asks, Gate, Image, Job, Pipeline, Task, Text};
use crate::condition::Condition;
use crate::diagnostic::{Code, Complaint, Report};
use crate::scope::{self, Names};
use crate::template::{Templates, is_template};

/// Reports a choice of partitions whose types do not fit, or that asks how jobs ended.
pub(super) fn check_choice(pipeline: &Pipeline, report: &mut Report<'_>) {
    let Some(select) = pipeline.choice.as_ref().and_then(|choice| choice.select.as_ref()) else {
        return;
    };
    let complaint = match Condition::parse(&select.value, &scope::names(pipeline)) {
        Ok(condition) if condition.speaks_of_results() => Complaint {
            message: "partitions are chosen before any job has ended".to_owned(),
            help:
                "remove `success()`, `failure()` and `always()`, or write them into `when` of a job"
                    .to_owned(),
        },
        Ok(_) => return,
        Err(complaint) => complaint,
    };
    report.complain(Code::InvalidCondition, select.span, complaint);
}

/// Reports texts that could not be filled in whatever the inputs, and conditions whose types do not
/// fit.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    templates: &Templates,
    report: &mut Report<'_>,
) {
    if !reads_anything(pipeline, job) {
        return;
    }
    let names = scope::names_of_job(pipeline, job);
    if let Some(when) = &job.when
        && let Err(complaint) = Condition::parse(&when.value, &names)
    {
        report.complain(Code::InvalidCondition, when.span, complaint);
    }
    let mut without = names.clone();
    without.remove("variables");
    for text in pipeline.variables.values().chain(job.variables.values()) {
        check_text(text, &without, templates, report);
    }
    for text in others(pipeline, job).chain(acknowledged(job)) {
        check_text(text, &names, templates, report);
    }
    if let Some(message) = message(job) {
        check_text(message, &scope::names_of_message(names), templates, report);
    }
}

fn check_text(text: &Text, names: &Names, templates: &Templates, report: &mut Report<'_>) {
    if is_template(&text.value)
        && let Err(complaint) = templates.check(&text.value, names)
    {
        report.complain(Code::InvalidTemplate, text.span, complaint);
    }
}

/// Whether a job has a condition or a text to be filled in: most have none.
pub(crate) fn reads_anything(pipeline: &Pipeline, job: &Job) -> bool {
    let renders = job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Render(_)));
    renders || job.when.is_some() || texts(pipeline, job).any(|text| is_template(&text.value))
}

fn texts<'p>(pipeline: &'p Pipeline, job: &'p Job) -> impl Iterator<Item = &'p Text> {
    let variables = pipeline.variables.values().chain(job.variables.values());
    variables.chain(others(pipeline, job)).chain(acknowledged(job)).chain(message(job))
}

fn gate(job: &Job) -> Option<&Gate> {
    match &job.task.as_ref()?.value {
        Task::Gate(gate) => Some(gate),
        Task::Process
        | Task::Container(_)
        | Task::Ssh(_)
        | Task::Render(_)
        | Task::Wait
        | Task::Pipeline(_) => None,
    }
}

fn message(job: &Job) -> Option<&Text> {
    gate(job)?.message.as_ref()
}

fn acknowledged(job: &Job) -> Option<&Text> {
    match &gate(job)?.asks {
        Asks::Acknowledgement { text } => Some(text),
        Asks::Approval { .. } => None,
    }
}

/// Texts that may read the variables.
fn others<'p>(pipeline: &'p Pipeline, job: &'p Job) -> impl Iterator<Item = &'p Text> {
    let image = match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Container(container)) => match &container.image {
            Image::Named(image) => Some(image),
            Image::Default => pipeline.defaults.image.as_ref(),
            Image::Unusable => None,
        },
        Some(
            Task::Process
            | Task::Ssh(_)
            | Task::Gate(_)
            | Task::Pipeline(_)
            | Task::Render(_)
            | Task::Wait,
        )
        | None => None,
    };
    let environment = job.environment.iter().flat_map(|it| [Some(&it.name), it.url.as_ref()]);
    let cache = job.cache.iter().map(|cache| &cache.key);
    let lock = job.lock.iter();
    let (render, given) = match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Render(render)) => (Some([&render.template, &render.to]), &[][..]),
        Some(Task::Pipeline(call)) => (None, call.inputs.as_slice()),
        Some(Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Gate(_) | Task::Wait)
        | None => (None, &[][..]),
    };
    let wait = job.wait.iter().flat_map(|wait| wait.texts());
    let transfers = job.upload.iter().chain(&job.download).flat_map(|it| &it.transfers);
    let paths = transfers.flat_map(|it| [&it.from, &it.to]);
    let reboot = job.reboot.iter().filter_map(|reboot| reboot.run.as_ref());
    job.run
        .iter()
        .chain(image)
        .chain(environment.flatten())
        .chain(cache)
        .chain(lock)
        .chain(wait)
        .chain(render.into_iter().flatten())
        .chain(given.iter().map(|(_, text)| text))
        .chain(paths)
        .chain(reboot)
}
