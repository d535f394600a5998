//! Whether what is filled in and decided when a plan is made reads only what there is.

use crate::ast::{Image, Job, Pipeline, Task, Text};
use crate::condition::Condition;
use crate::diagnostic::{Code, Report};
use crate::scope::{self, Names};
use crate::template::{Templates, is_template};

/// Reports texts that could not be filled in whatever the inputs, and conditions whose types do not
/// fit.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    templates: &Templates,
    report: &mut Report<'_>,
) {
    if job.when.is_none() && !texts(pipeline, job).any(|text| is_template(&text.value)) {
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
    for text in others(pipeline, job) {
        check_text(text, &names, templates, report);
    }
}

fn check_text(text: &Text, names: &Names, templates: &Templates, report: &mut Report<'_>) {
    if is_template(&text.value)
        && let Err(complaint) = templates.check(&text.value, names)
    {
        report.complain(Code::InvalidTemplate, text.span, complaint);
    }
}

fn texts<'p>(pipeline: &'p Pipeline, job: &'p Job) -> impl Iterator<Item = &'p Text> {
    let variables = pipeline.variables.values().chain(job.variables.values());
    variables.chain(others(pipeline, job))
}

/// Texts that may read the variables.
fn others<'p>(pipeline: &'p Pipeline, job: &'p Job) -> impl Iterator<Item = &'p Text> {
    let image = match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Container(container)) => match &container.image {
            Image::Named(image) => Some(image),
            Image::Default => pipeline.defaults.image.as_ref(),
            Image::Unusable => None,
        },
        Some(Task::Process | Task::Ssh(_)) | None => None,
    };
    let environment = job.environment.iter().flat_map(|it| [Some(&it.name), it.url.as_ref()]);
    let cache = job.cache.iter().map(|cache| &cache.key);
    job.run.iter().chain(image).chain(environment.flatten()).chain(cache)
}
