//! Whether a pipeline has no more gates than can be told apart and looked behind.

use crate::ast::{Pipeline, Task};
use crate::diagnostic::{Code, Report};
use crate::limits;

/// Reports the first gate that is too much.
pub(super) fn check(pipeline: &Pipeline, report: &mut Report<'_>) {
    let tasks = pipeline.jobs.iter().filter_map(|job| job.task.as_ref());
    let gates: Vec<_> = tasks.filter(|task| matches!(task.value, Task::Gate(_))).collect();
    if let Some(first) = gates.get(limits::GATES) {
        let message =
            format!("the pipeline has {} gates; at most {} fit", gates.len(), limits::GATES);
        let help = "have people answer once for several jobs: let those need the same gate";
        report.error(Code::TooManyGates, first.span, message, help);
    }
}
