//! Whether a job can have what its Ansible is given and asked for.

use super::Inventories;
use crate::ast::{Job, Pipeline, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::plan::Ansible;
use crate::source::Span;

/// Reports `inventory` and `recap` where no Ansible runs, and variables that `inventory` sets itself.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    if is_elsewhere(job, report) {
        return;
    }
    let Some(span) = job.ansible.inventory else { return };
    for variable in Ansible::VARIABLES {
        let Some(other) = other(pipeline, job, inventories, variable) else { continue };
        let message = format!(
            "the job {} has `inventory: ansible`, which sets {}, and {other} too",
            quoted(job.name.value.as_str()),
            quoted(variable)
        );
        let help = "remove it there, or remove `inventory`";
        report.error(Code::AnsibleVariable, span, message, help);
    }
}

/// Reports the keys of a job that runs no script here. Beside a gate and another pipeline they are refused
/// where those are read.
fn is_elsewhere(job: &Job, report: &mut Report<'_>) -> bool {
    let does = match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Ssh(_)) => "runs on a device, where there is no Ansible",
        Some(Task::Render(_)) => "makes a file, and runs no Ansible",
        Some(Task::Wait) => "only waits, and runs no Ansible",
        Some(Task::Process | Task::Container(_) | Task::Pipeline(_) | Task::Gate(_)) | None => {
            return false;
        }
    };
    let written: [(&str, Option<Span>); 2] =
        [("inventory", job.ansible.inventory), ("recap", job.ansible.recap)];
    for (key, span) in written.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        let of = quoted(job.name.value.as_str());
        let message = format!("the job {of} {does}: it cannot have {}", quoted(key));
        let help = "remove it, or have a job with `container` or `process` run Ansible";
        report.error(Code::AnsibleElsewhere, span, message, help);
    }
    true
}

/// Who else gives the job a variable of this name, in words.
fn other(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    variable: &str,
) -> Option<String> {
    if job.variables.contains_key(variable) {
        return Some("its `variables` do".to_owned());
    }
    if pipeline.variables.contains_key(variable) {
        return Some("the pipeline's `variables` do".to_owned());
    }
    if job.secrets.iter().any(|secret| secret.value.name.as_str() == variable) {
        return Some("its `secrets` do".to_owned());
    }
    let partitions = pipeline.partitions_of(job).iter();
    let has_it = |partition| {
        inventories.get(partition).is_some_and(|it| it.variables.contains_key(variable))
    };
    let partition = partitions.map(|it| &it.value).find(|partition| has_it(*partition))?;
    Some(format!("the inventory of {} does", quoted(partition.as_str())))
}
