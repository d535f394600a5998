//! Whether what a job waits for goes with what the job is.

use super::{Inventories, known_device};
use crate::ast::{Check, Job, Pipeline, Probe, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::expand::DEFAULT_TIMEOUT_S;
use crate::limits;
use crate::quantity::Seconds;

/// Reports probes that could never be tried, or never pass.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    let Some(wait) = &job.wait else { return };
    let of = quoted(job.name.value.as_str());
    if wait.count > limits::PROBES {
        let (count, most) = (wait.count, limits::PROBES);
        let message = format!("the job {of} waits for {count} things; at most {most} fit");
        report.error(Code::TooManyProbes, wait.span, message, "make several jobs of it");
    }
    for probe in &wait.probes {
        match &probe.check {
            Check::HostKey(Some(device)) => {
                for partition in pipeline.partitions_of(job) {
                    if let Some(inventory) = inventories.get(&partition.value) {
                        known_device(device, &partition.value, inventory, report);
                    }
                }
            }
            // Each device of the job is its own.
            Check::HostKey(None) if job.devices.is_some() => {}
            Check::HostKey(None) => {
                let help = "name one of the partition's inventory: `ssh: { device: leaf01 }`";
                on_own_device(job, probe, "to wait for", help, report);
            }
            Check::Run { .. } => {
                let help = "make an `ssh` job of it, or have the job's own script try the command";
                on_own_device(job, probe, "to run a command on", help, report);
            }
            Check::Tcp(_) | Check::Ssh(_) | Check::Http { .. } | Check::Tls { .. } => {}
        }
        in_time(pipeline, job, probe, report);
    }
}

fn on_own_device(job: &Job, probe: &Probe, what: &str, help: &str, report: &mut Report<'_>) {
    if job.task.as_ref().is_some_and(|task| !matches!(task.value, Task::Ssh(_))) {
        let of = quoted(job.name.value.as_str());
        let message = format!("the job {of} has no device of its own {what}");
        report.error(Code::ProbeWithoutDevice, probe.span, message, help);
    }
}

/// The job's own time limit goes on while it waits.
fn in_time(pipeline: &Pipeline, job: &Job, probe: &Probe, report: &mut Report<'_>) {
    let limit = job.timeout_s.or(pipeline.defaults.timeout_s).unwrap_or(DEFAULT_TIMEOUT_S);
    let Some(timeout) = probe.timeout_s.as_ref().filter(|timeout| timeout.value > limit) else {
        return;
    };
    let message = format!(
        "a probe may take {}, and all of the job {} has {}",
        Seconds(timeout.value),
        quoted(job.name.value.as_str()),
        Seconds(limit)
    );
    let help = "write a longer `timeout` for the job, or a shorter one for the probe";
    report.error(Code::ProbeOutlivesJob, timeout.span, message, help);
}
