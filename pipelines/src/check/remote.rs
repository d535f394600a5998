//! Whether a job's files, reboot and login go with what it runs on.

use super::{Inventories, devices};
use crate::ast::{Job, Pipeline, Ssh, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::inventory::{Agent, Inventory};
use crate::name::{AgentName, DeviceName};
use crate::plan::Kind;
use crate::secret::SecretName;
use crate::source::{Span, Spanned};

/// Where in a partition the job can run that reboots a device.
pub(crate) enum Elsewhere<'i> {
    /// On any agent: no agent's host is known to be the device.
    Any,
    /// On this one, whose host is another.
    On(&'i AgentName),
    /// The device is the host of each agent that could.
    Nowhere,
}

/// Reports what the job's task cannot have, or cannot do.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Ssh(ssh)) => {
            key(job, ssh, report);
            kind(pipeline, job, ssh, inventories, report);
            reboot(pipeline, job, inventories, report);
        }
        Some(
            Task::Process
            | Task::Container(_)
            | Task::Render(_)
            | Task::Wait
            | Task::Gate(_)
            | Task::Pipeline(_),
        ) => only_on_device(job, report),
        None => {}
    }
}

fn only_on_device(job: &Job, report: &mut Report<'_>) {
    let written = [
        ("upload", job.upload.as_ref().map(|it| it.span)),
        ("download", job.download.as_ref().map(|it| it.span)),
        ("reboot", job.reboot.as_ref().map(|it| it.span)),
    ];
    for (key, span) in written {
        let Some(span) = span else { continue };
        let name = quoted(job.name.value.as_str());
        let message = format!("the job {name} has `{key}`, and runs on no device");
        let help = "remove it, or run the job on a device: `ssh: { device: leaf01 }`";
        report.error(Code::OnlyOnDevice, span, message, help);
    }
}

/// The private key must come with the order.
fn key(job: &Job, ssh: &Ssh, report: &mut Report<'_>) {
    let Some(Spanned { value: key, span }) = &ssh.key else { return };
    if !job.secrets.iter().any(|secret| secret.value.name == *key) {
        let (of, key) = (quoted(job.name.value.as_str()), key.as_str());
        let message =
            format!("the job {of} logs in with the secret {}, but does not have it", quoted(key));
        let help = format!("add it to the job: `secrets: [{key}]`");
        report.error(Code::KeyNotDeclared, *span, message, help);
    }
}

/// A command line of the device's own knows neither users nor variables nor boots.
fn kind(
    pipeline: &Pipeline,
    job: &Job,
    ssh: &Ssh,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    let is_cli = |partition| {
        let devices = devices::of(pipeline, job, partition, inventories);
        devices.iter().any(|(_, device)| device.kind == Kind::Cli)
    };
    if !pipeline.partitions_of(job).iter().any(|partition| is_cli(&partition.value)) {
        return;
    }
    let is_key = |name: &SecretName| ssh.key.as_ref().is_some_and(|key| key.value == *name);
    let given = job.secrets.iter().find(|secret| !is_key(&secret.value.name));
    let asked: [(&str, Option<Span>, &str); 3] = [
        ("`sudo`", ssh.sudo.as_ref().map(|sudo| sudo.span), "log in as a user who may do it"),
        (
            "`reboot`",
            job.reboot.as_ref().map(|reboot| reboot.span),
            "write the device's own command as a line of `run`, and look by another job whether it is back: it has no boot id that could be compared",
        ),
        (
            "secrets",
            given.map(|secret| secret.span),
            "leave in `secrets` the `key` of `ssh` alone: there are no variables for others",
        ),
    ];
    for (what, span, help) in asked {
        let Some(span) = span else { continue };
        let message = format!(
            "the job {} has {what}, and its device is of the kind `cli`, which has no shell",
            quoted(job.name.value.as_str())
        );
        report.error(Code::NoShell, span, message, help);
    }
}

/// Who reboots a device must see it come back.
fn reboot(pipeline: &Pipeline, job: &Job, inventories: &Inventories, report: &mut Report<'_>) {
    let Some(reboot) = &job.reboot else { return };
    let name = quoted(job.name.value.as_str());
    if job.agents.each().is_some() {
        let message = format!("the job {name} would reboot its device once from each agent");
        let help = "remove `agent: each`";
        report.error(Code::RebootOfAgent, reboot.span, message, help);
        return;
    }
    for partition in pipeline.partitions_of(job) {
        let Some(inventory) = inventories.get(&partition.value) else { continue };
        let devices = devices::of(pipeline, job, &partition.value, inventories);
        let is_nowhere = |device| matches!(elsewhere(job, device, inventory), Elsewhere::Nowhere);
        if devices.into_iter().any(|(name, _)| is_nowhere(name)) {
            let message = format!(
                "the job {name} would reboot the host of every agent of {} that could run it",
                quoted(partition.value.as_str())
            );
            let help = "nobody would see it come back: run a second agent on another host, and list \
                        both with their `device` in `agents` of the inventory";
            report.error(Code::RebootOfAgent, reboot.span, message, help);
        }
    }
}

/// Where `job` can run in the inventory's partition, as far as it reboots this device.
pub(crate) fn elsewhere<'i>(
    job: &Job,
    device: &DeviceName,
    inventory: &'i Inventory,
) -> Elsewhere<'i> {
    if job.reboot.is_none() {
        return Elsewhere::Any;
    }
    let runs_there = |agent: &Agent| agent.device.as_ref() == Some(device);
    if !inventory.agents.values().any(runs_there) {
        return Elsewhere::Any;
    }
    let labels = job.agents.labels();
    let has_labels =
        |agent: &Agent| labels.iter().all(|(name, it)| agent.labels.get(name) == Some(it));
    let mut others = inventory.agents.iter();
    match others.find(|(_, agent)| !runs_there(agent) && has_labels(agent)) {
        Some((name, _)) => Elsewhere::On(name),
        None => Elsewhere::Nowhere,
    }
}
