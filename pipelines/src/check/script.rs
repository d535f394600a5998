//! What only a job with a script can have.

use crate::ast::{Job, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::source::{Span, Spanned};

/// Reports what a job has that runs no script, and that only a script could use or leave.
pub(super) fn check(job: &Job, report: &mut Report<'_>) {
    match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Render(_) | Task::Wait) => {}
        // What may stand beside another pipeline is told where that is read.
        Some(
            Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Pipeline(_) | Task::Gate(_),
        )
        | None => {
            return;
        }
    }
    let has: [(&str, Option<Span>); 5] = [
        ("run", job.run.first().map(|line| line.span)),
        ("secrets", job.secrets.first().map(|secret| secret.span)),
        ("artifacts", job.artifacts.as_ref().map(|artifacts| artifacts.span)),
        ("outputs", job.outputs.as_ref().map(|outputs| outputs.span)),
        ("cache", job.cache.as_ref().map(|cache| cache.span)),
    ];
    for (key, span) in has.iter().filter_map(|(key, span)| Some((*key, (*span)?))) {
        let of = quoted(job.name.value.as_str());
        let message = format!("the job {of} runs no script, and has {}", quoted(key));
        let help = match (&job.task, key) {
            (Some(Spanned { value: Task::Render(_), .. }), "secrets") => {
                "remove them: a rendered file is an artifact, which whoever sees the run can read"
            }
            (Some(Spanned { value: Task::Render(_), .. }), "artifacts") => {
                "remove it: the rendered file is an artifact anyway"
            }
            _ => "remove it, or make it a job with `container`, `ssh` or `process`",
        };
        report.error(Code::WithoutScript, span, message, help);
    }
}
