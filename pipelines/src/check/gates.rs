//! Gates: no more than can be told apart and looked behind, and only those waive that have something to waive.

use crate::ast::{Job, Pipeline, Task};
use crate::condition::Condition;
use crate::diagnostic::{Code, Report};
use crate::limits;
use crate::scope;

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

/// Reports what keeps a gate from waiving.
pub(super) fn waives(pipeline: &Pipeline, job: &Job, report: &mut Report<'_>) {
    let Some(task) = &job.task else { return };
    if !matches!(&task.value, Task::Gate(gate) if gate.waives) {
        return;
    }
    if job.needs.is_empty() {
        let message = "this gate needs no job, so there is no failure to waive";
        let help = "add `needs` with the jobs that may have failed, or remove `waives`";
        report.error(Code::WaivesNothing, task.span, message, help);
    }
    let names = scope::names_of_job(pipeline, job);
    let speaks = |text: &str| {
        Condition::parse(text, &names).is_ok_and(|condition| condition.speaks_of_results())
    };
    if let Some(when) = job.when.as_ref().filter(|when| speaks(&when.value)) {
        let message = "a gate with `waives` is for the case that a job has not succeeded";
        let help = "remove `success()`, `failure()` and `always()` from its `when`";
        report.error(Code::WaivesNothing, when.span, message, help);
    }
}
