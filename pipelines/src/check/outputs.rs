//! Whether a job can leave its outputs, and whether those of the jobs that it needs stay apart.

use std::collections::BTreeMap;

use super::distinct;
use crate::ast::{Job, Pipeline, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::name::JobName;
use crate::output;
use crate::source::Spanned;

/// The jobs that have outputs.
pub(super) type Outputs<'p> = BTreeMap<&'p JobName, &'p Job>;

/// Those of a pipeline.
pub(super) fn of(pipeline: &Pipeline) -> Outputs<'_> {
    let with_outputs = pipeline.jobs.iter().filter(|job| job.outputs.is_some());
    with_outputs.map(|job| (&job.name.value, job)).collect()
}

/// Reports outputs that cannot be left, and two that would be one variable.
pub(super) fn check(outputs: &Outputs<'_>, job: &Job, report: &mut Report<'_>) {
    own(job, report);
    let mut variables: BTreeMap<String, &Job> = BTreeMap::new();
    for need in &job.needs {
        let Some(needed) = outputs.get(&need.job.value).copied() else { continue };
        for Spanned { value: name, .. } in needed.outputs.iter().flat_map(|it| &it.names) {
            let variable = output::variable([&needed.name.value], name);
            let other = *variables.entry(variable.clone()).or_insert(needed);
            if other.name.value != needed.name.value {
                let message = format!(
                    "the job {} would have outputs of {} and of {} as one variable, {}",
                    quoted(job.name.value.as_str()),
                    quoted(other.name.value.as_str()),
                    quoted(needed.name.value.as_str()),
                    quoted(&variable),
                );
                let help = "give one of the two jobs or outputs another name";
                report.error(Code::OutputsCollide, need.job.span, message, help);
            }
        }
    }
}

fn own(job: &Job, report: &mut Report<'_>) {
    let Some(outputs) = &job.outputs else { return };
    let of = quoted(job.name.value.as_str());
    distinct(&outputs.names, "`outputs`", report);
    if job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Ssh(_))) {
        let message =
            format!("the job {of} runs on a device, where there is no file to write outputs to");
        let help = "remove `outputs`; the job can read those of jobs that it needs";
        report.error(Code::OutputsOnDevice, outputs.span, message, help);
    }
    if job.matrix.is_some() {
        let message = format!("the job {of} has variants, whose outputs would be one variable");
        let help = "remove `outputs` or `matrix`, or write the variants as jobs";
        report.error(Code::OutputsOfVariants, outputs.span, message, help);
    }
    if job.agents.each().is_some() {
        let message =
            format!("the job {of} runs on each agent, and its outputs would be one variable");
        let help = "remove `outputs`, or write `agent` with labels, so that it runs on one";
        report.error(Code::OutputsOfEachAgent, outputs.span, message, help);
    }
    if outputs.names.len() > limits::OUTPUTS {
        let (count, most) = (outputs.names.len(), limits::OUTPUTS);
        let message = format!("the job {of} has {count} outputs; at most {most} fit");
        let help = "leave a file with them, and use `artifacts`";
        report.error(Code::TooManyOutputs, outputs.span, message, help);
    }
}
