//! Whether a job's devices and rollout are there and go with the rest of it.

use super::Inventories;
use crate::ast::{Devices, Job, Pipeline, Task};
use crate::devices::{self, Named};
use crate::diagnostic::{Code, Report, quoted};
use crate::name::PartitionName;
use crate::source::Spanned;
use crate::suggest;

/// Reports what of `devices` and `rollout` cannot be.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    let of = quoted(job.name.value.as_str());
    if let Some(rollout) = &job.rollout {
        let is_on_one = job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Ssh(_)));
        let message = match &job.devices {
            Some(devices) if devices.of.is_some() => Some(format!(
                "the job {of} has a `rollout`, and its devices come in that of another job"
            )),
            None if !is_on_one => Some(format!("the job {of} has a `rollout`, but no `devices`")),
            Some(_) | None => None,
        };
        if let Some(message) = message {
            let help = "remove it, or say with `devices` over which it goes";
            report.error(Code::InvalidRollout, rollout.span, message, help);
        }
    }
    let Some(devices) = &job.devices else { return };
    if let Some(outputs) = &job.outputs {
        let message =
            format!("the job {of} runs for each device, and its outputs would be one variable");
        let help = "remove `outputs`, or leave a file with them, and use `artifacts`";
        report.error(Code::OutputsOfDevices, outputs.span, message, help);
    }
    if let Some(span) = job.agents.each() {
        let message = format!("the job {of} would run for each device on each agent");
        let help = "remove `agent: each`, or `devices`";
        report.error(Code::InvalidDevices, span, message, help);
    }
    if let Some(other) = &devices.of {
        of_other(pipeline, job, other, report);
    }
    names(pipeline, job, devices, inventories, report);
}

/// Devices of another job are known once that is, so it must be needed.
fn of_other(
    pipeline: &Pipeline,
    job: &Job,
    Spanned { value: name, span }: &Spanned<crate::name::JobName>,
    report: &mut Report<'_>,
) {
    let of = quoted(job.name.value.as_str());
    let other = pipeline.jobs.iter().find(|other| other.name.value == *name);
    let (message, help) = match other {
        None => {
            let others = pipeline.jobs.iter().filter(|it| it.devices.is_some());
            let others =
                others.map(|it| it.name.value.as_str()).filter(|it| *it != job.name.value.as_str());
            let help = suggest::advice(name.as_str(), others, "jobs with devices are");
            (format!("there is no job {}", quoted(name.as_str())), help)
        }
        Some(other) if other.devices.is_none() => {
            let help = "name a job that has `devices`, or say which are meant".to_owned();
            (format!("the job {} has no `devices`", quoted(name.as_str())), help)
        }
        Some(_) if !job.needs.iter().any(|need| need.job.value == *name) => {
            let help = format!("add it to the needs of {of}: `needs: [{name}]`");
            (
                format!(
                    "the job {of} takes the devices of {}, and does not need it",
                    quoted(name.as_str())
                ),
                help,
            )
        }
        Some(_) => return,
    };
    report.error(Code::InvalidDevices, *span, message, help);
}

/// Devices by name must be in the inventory of each partition where the job runs.
fn names(
    pipeline: &Pipeline,
    job: &Job,
    devices: &Devices,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    let named = devices.names.as_deref().unwrap_or_default();
    super::distinct(named, "`devices`", report);
    for partition in pipeline.partitions_of(job) {
        let Some(inventory) = inventories.get(&partition.value) else { continue };
        for device in named {
            super::known_device(device, &partition.value, inventory, report);
        }
    }
}

/// For how many devices of a partition a job runs; one where that is not known.
pub(super) fn count(
    pipeline: &Pipeline,
    job: &Job,
    partition: &PartitionName,
    inventories: &Inventories,
) -> usize {
    match job.devices.is_some() && inventories.contains_key(partition) {
        true => of(pipeline, job, partition, inventories).len(),
        false => 1,
    }
}

/// The devices of a partition that a job is for: those that it names, that of its `ssh`, or none.
pub(super) fn of<'i>(
    pipeline: &Pipeline,
    job: &Job,
    partition: &PartitionName,
    inventories: &'i Inventories,
) -> Vec<Named<'i>> {
    let Some(inventory) = inventories.get(partition) else { return Vec::new() };
    let mut job = job;
    // A job that takes another's devices can take those of one that does so itself.
    for _ in 0..pipeline.jobs.len() {
        let Some(devices) = &job.devices else {
            let Some(Task::Ssh(ssh)) = job.task.as_ref().map(|task| &task.value) else { break };
            let name = ssh.device.as_ref().map(|device| &device.value);
            return name.and_then(|it| inventory.devices.get_key_value(it)).into_iter().collect();
        };
        let Some(of) = &devices.of else { return devices::chosen(devices, inventory) };
        let Some(other) = pipeline.jobs.iter().find(|it| it.name.value == of.value) else { break };
        job = other;
    }
    Vec::new()
}
