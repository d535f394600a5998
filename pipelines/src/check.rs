//! What a pipeline's parts say about each other: names that must exist, and what must fit.

mod agents;
mod ansible;
mod choice;
mod cycle;
mod devices;
mod events;
mod gates;
mod lost;
mod outputs;
mod place;
mod remote;
mod schedules;
mod script;
mod secrets;
pub(crate) mod source;
mod texts;
mod wait;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Image, Job, Pipeline, Ssh, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::inventory::{Device, Inventory};
use crate::limits;
use crate::name::{DeviceName, JobName, PartitionName};
use crate::plan::Service;
use crate::source::{Span, Spanned};
use crate::suggest;
use crate::template::Templates;
use crate::tree::Tree;

pub(crate) use remote::{Elsewhere, elsewhere};
pub(crate) use texts::reads_anything;

/// Inventories of the partitions that a pipeline names; one that is missing was reported.
pub(crate) type Inventories = BTreeMap<PartitionName, Inventory>;

/// What a job costs in a plan beside its texts, in bytes.
const JOB_BYTES: usize = 256;

/// What a pipeline names.
struct Names<'p> {
    partitions: BTreeSet<&'p PartitionName>,
    /// Each job's partitions.
    jobs: BTreeMap<&'p JobName, BTreeSet<&'p PartitionName>>,
}

/// Reports everything that does not fit together.
pub(crate) fn check(pipeline: &Pipeline, inventories: &Inventories, report: &mut Report<'_>) {
    if !is_of_bearable_size(pipeline, inventories, report) {
        return;
    }
    let names = Names {
        partitions: values(&pipeline.partitions),
        jobs: pipeline
            .jobs
            .iter()
            .map(|job| (&job.name.value, values(pipeline.partitions_of(job))))
            .collect(),
    };
    distinct(&pipeline.partitions, "`partitions`", report);
    canary(pipeline, &names, report);
    let inventories = &*choice::of_possible(pipeline, inventories);
    window::check(pipeline, inventories, report);
    texts::check_choice(pipeline, report);
    let templates = Templates::new(Tree::unavailable("nothing is filled in yet"));
    let outputs = outputs::of(pipeline);
    for job in &pipeline.jobs {
        partitions(job, &names, report);
        needs(job, &names, report);
        task(pipeline, job, inventories, report);
        lost::check(job, report);
        outputs::check(&outputs, job, report);
        place::check(job, report);
        ansible::check(pipeline, job, inventories, report);
        script::check(job, report);
        wait::check(pipeline, job, inventories, report);
        remote::check(pipeline, job, inventories, report);
        agents::check(pipeline, job, inventories, report);
        devices::check(pipeline, job, inventories, report);
        lock(pipeline, job, report);
        secrets::check(pipeline, job, inventories, report);
        texts::check(pipeline, job, &templates, report);
        gates::waives(pipeline, job, report);
        resources(job, report);
    }
    cycle::check(pipeline, report);
    gates::check(pipeline, report);
    required_on_push(pipeline, report);
    schedules::check(pipeline, report);
    events::check(pipeline, &templates, report);
}

/// Partitions that a rollout begins with are among the pipeline's own.
fn canary(pipeline: &Pipeline, names: &Names<'_>, report: &mut Report<'_>) {
    let Some(rollout) = &pipeline.rollout else { return };
    for Spanned { value, span } in distinct(&rollout.canary, "`canary`", report) {
        if !names.partitions.contains(value) && !names.partitions.is_empty() {
            let message = format!("{} is no partition of this pipeline", quoted(value.as_str()));
            let known = names.partitions.iter().map(|name| name.as_str());
            let help = suggest::advice(value.as_str(), known, "its partitions are");
            report.error(Code::InvalidRollout, *span, message, help);
        }
    }
}

/// Who holds a lock must wait for no other: a run that holds its own and waits for a job's could wait
/// for a run that holds that one and waits for the first.
fn lock(pipeline: &Pipeline, job: &Job, report: &mut Report<'_>) {
    let (Some(outer), Some(inner)) = (&pipeline.lock, &job.lock) else { return };
    let message = format!(
        "the job {} has the lock {}, but its run holds {} already",
        quoted(job.name.value.as_str()),
        quoted(&inner.value),
        quoted(outer.as_str())
    );
    let help = "two runs could wait for each other for ever: keep the pipeline's `lock`, or those \
                of its jobs";
    report.error(Code::LockInLock, inner.span, message, help);
}

/// Only a container can be given less than the whole host.
fn resources(job: &Job, report: &mut Report<'_>) {
    let Some(Spanned { span, .. }) = &job.resources else { return };
    if job.task.as_ref().is_some_and(|task| !matches!(task.value, Task::Container(_))) {
        let name = quoted(job.name.value.as_str());
        let message = format!("the job {name} has `resources`, and runs in no container");
        let help = "remove them, or run the job in a container";
        report.error(Code::ResourcesWithoutContainer, *span, message, help);
    }
}

/// A push gives no inputs.
fn required_on_push(pipeline: &Pipeline, report: &mut Report<'_>) {
    let Some(on) = &pipeline.on else { return };
    let triggers = match (on.push.is_some() || on.tag.is_some(), on.pull_request.is_some()) {
        (true, _) => "pushes",
        (false, true) => "pull requests",
        (false, false) => return,
    };
    for input in pipeline.inputs.iter().filter(|input| input.default.is_none()) {
        let Spanned { value: name, span } = &input.name;
        let message = format!(
            "the input {} is required, but the pipeline starts on {triggers}, which give none",
            quoted(name)
        );
        report.error(Code::RequiredOnPush, *span, message, "give it a `default`");
    }
}

fn is_of_bearable_size(
    pipeline: &Pipeline,
    inventories: &Inventories,
    report: &mut Report<'_>,
) -> bool {
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for job in &pipeline.jobs {
        let variants = job.matrix.as_ref().map_or(1, |matrix| matrix.combinations.len());
        let partitions = pipeline.partitions_of(job).iter();
        let agents = partitions.map(|it| agents::count(job, &it.value, inventories));
        let devices = pipeline.partitions_of(job).iter();
        let devices = devices.map(|it| devices::count(pipeline, job, &it.value, inventories));
        // A job has either, and one of the other.
        let copies = agents.zip(devices).map(|(agents, devices)| agents * devices);
        let copies = copies.sum::<usize>().saturating_mul(variants);
        count += copies;
        bytes = bytes.saturating_add(copies.saturating_mul(job_bytes(pipeline, job)));
    }
    if count > limits::JOBS {
        let message = format!(
            "the plan would have {count} jobs, counted once for each partition, variant, agent and device; at most {} fit",
            limits::JOBS
        );
        let help = "use fewer partitions or jobs, or write several pipelines";
        report.error(Code::TooManyJobs, Span::START, message, help);
    }
    if bytes > limits::PLAN_BYTES {
        let message = format!(
            "the plan would hold {} MiB of scripts and environments; at most {} fit",
            bytes >> 20,
            limits::PLAN_BYTES >> 20
        );
        let help = "keep long scripts in files of the repository, or write several pipelines";
        report.error(Code::PlanTooLarge, Span::START, message, help);
    }
    count <= limits::JOBS
}

/// The device that a job runs on in a partition, as its inventory has it.
fn device_of<'i>(
    job: &Job,
    partition: &PartitionName,
    inventories: &'i Inventories,
) -> Option<&'i Device> {
    match &job.task.as_ref()?.value {
        Task::Process
        | Task::Container(_)
        | Task::Gate(_)
        | Task::Pipeline(_)
        | Task::Render(_)
        | Task::Wait => None,
        Task::Ssh(ssh) => inventories.get(partition)?.devices.get(&ssh.device.as_ref()?.value),
    }
}

fn job_bytes(pipeline: &Pipeline, job: &Job) -> usize {
    let variables = pipeline.variables.iter().chain(&job.variables);
    let variables = variables.map(|(name, value)| name.len() + value.value.len());
    let run = job.run.iter().map(|line| line.value.len());
    let artifacts = job.artifacts.iter().flat_map(|artifacts| &artifacts.paths);
    let artifacts = artifacts.map(|glob| glob.as_str().len());
    let secrets = job.secrets.iter().map(|secret| secret.value.name.as_str().len());
    let outputs = job.outputs.iter().flat_map(|outputs| &outputs.names);
    let outputs = outputs.map(|name| name.value.len());
    let cache = job.cache.iter().flat_map(|cache| &cache.paths).map(|glob| glob.as_str().len());
    let transfers = job.upload.iter().chain(&job.download).flat_map(|it| &it.transfers);
    let transfers = transfers.map(|it| it.from.value.len() + it.to.value.len());
    let services = job.services.iter().flat_map(|services| &services.services);
    let services = services.map(service_bytes);
    let wait = job.wait.iter().flat_map(|wait| wait.texts()).map(|text| text.value.len());
    let probes = job.wait.iter().map(|wait| wait.count * JOB_BYTES);
    JOB_BYTES
        + variables
            .chain(run)
            .chain(secrets)
            .chain(artifacts)
            .chain(outputs)
            .chain(cache)
            .chain(transfers)
            .chain(services)
            .chain(wait)
            .chain(probes)
            .sum::<usize>()
}

fn service_bytes(service: &Service) -> usize {
    let env = service.env.iter().map(|(name, value)| name.len() + value.len());
    let command = service.command.iter().map(String::len);
    let health = service.health.iter().map(|health| health.run.len());
    JOB_BYTES + env.chain(command).chain(health).sum::<usize>()
}

fn partitions(job: &Job, names: &Names<'_>, report: &mut Report<'_>) {
    let listed = job.partitions.as_deref().unwrap_or_default();
    for Spanned { value, span } in distinct(listed, "`partitions`", report) {
        if !names.partitions.contains(value) && !names.partitions.is_empty() {
            let message = format!(
                "the job {} names the partition {}, but the pipeline does not",
                quoted(job.name.value.as_str()),
                quoted(value.as_str())
            );
            let help = "add it to the pipeline's `partitions`, or remove it here";
            report.error(Code::PartitionNotListed, *span, message, help);
        }
    }
}

fn needs(job: &Job, names: &Names<'_>, report: &mut Report<'_>) {
    let name = quoted(job.name.value.as_str());
    let listed: Vec<_> = job.needs.iter().map(|need| need.job.clone()).collect();
    let optional = |name: &JobName| job.needs.iter().any(|it| it.optional && it.job.value == *name);
    for Spanned { value: need, span } in distinct(&listed, "`needs`", report) {
        if *need == job.name.value {
            let message = format!("the job {name} needs itself");
            report.error(Code::NeedsItself, *span, message, "remove it from its own `needs`");
            continue;
        }
        if names.jobs.contains_key(need) {
            if !optional(need) {
                need_elsewhere(job, need, names, *span, report);
            }
        } else if !report.is_full() {
            let message =
                format!("the job {name} needs {}, which is no job", quoted(need.as_str()));
            let others = names.jobs.keys().filter(|other| **other != &job.name.value);
            let others = others.map(|other| other.as_str());
            let help = suggest::advice(need.as_str(), others, "the other jobs are");
            report.error(Code::UnknownJob, *span, message, help);
        }
    }
}

/// `needs` links jobs of the same partition, so the needed job must run in each one.
fn need_elsewhere(
    job: &Job,
    need: &JobName,
    names: &Names<'_>,
    span: Span,
    report: &mut Report<'_>,
) {
    let (Some(here), Some(there)) = (names.jobs.get(&job.name.value), names.jobs.get(need)) else {
        return;
    };
    if let Some(lacking) = here.difference(there).next() {
        let (name, need) = (quoted(job.name.value.as_str()), quoted(need.as_str()));
        let message = format!(
            "the job {name} runs in {}, but {need}, which it needs, does not",
            quoted(lacking.as_str())
        );
        let help = format!(
            "write `optional: true` beside it, or make the partitions of {need} and {name} fit"
        );
        report.error(Code::NeedElsewhere, span, message, help);
    }
}

fn task(pipeline: &Pipeline, job: &Job, inventories: &Inventories, report: &mut Report<'_>) {
    let Some(Spanned { value: task, span }) = &job.task else { return };
    match task {
        Task::Process | Task::Pipeline(_) | Task::Render(_) | Task::Wait => {}
        Task::Container(container) => match container.image {
            Image::Default if pipeline.defaults.image.is_none() => {
                let message = format!(
                    "the container of {} has no image, and `defaults` names none",
                    quoted(job.name.value.as_str())
                );
                let help = "add `image:` to the container, or to `defaults` at the top";
                report.error(Code::NoImage, *span, message, help);
            }
            Image::Default | Image::Named(_) | Image::Unusable => {}
        },
        Task::Ssh(ssh) => device(pipeline, job, ssh, inventories, report),
        Task::Gate(_) => {}
    }
}

fn device(
    pipeline: &Pipeline,
    job: &Job,
    ssh: &Ssh,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    if let (Some(artifacts), None) = (&job.artifacts, &job.download) {
        let message = format!(
            "the job {} runs on a device, and fetches no file that could be an artifact",
            quoted(job.name.value.as_str())
        );
        let help = "fetch files: `download: [{ from: /var/log/boot.log, to: logs/ }]`";
        report.error(Code::ArtifactsOnDevice, artifacts.span, message, help);
    }
    let Some(device) = &ssh.device else { return };
    for partition in pipeline.partitions_of(job) {
        let Some(inventory) = inventories.get(&partition.value) else { continue };
        known_device(device, &partition.value, inventory, report);
    }
}

/// Reports a device that a partition's inventory does not have.
fn known_device(
    Spanned { value: device, span }: &Spanned<DeviceName>,
    partition: &PartitionName,
    inventory: &Inventory,
    report: &mut Report<'_>,
) {
    if !inventory.devices.contains_key(device) && !report.is_full() {
        let help = device_help(device, inventory);
        let message = format!(
            "the inventory of {} has no device {}",
            quoted(partition.as_str()),
            quoted(device.as_str())
        );
        report.error(Code::UnknownDevice, *span, message, help);
    }
}

fn device_help(device: &DeviceName, inventory: &Inventory) -> String {
    if inventory.devices.is_empty() {
        return "it has no devices: add this one, or limit the job's `partitions`".to_owned();
    }
    let known = inventory.devices.keys().map(DeviceName::as_str);
    suggest::advice(
        device.as_str(),
        known,
        "add it to the inventory, or limit the job's `partitions`; devices there are",
    )
}

/// The entries of a list without repetitions, which are reported.
fn distinct<'l, T: Ord + AsRef<str>>(
    list: &'l [Spanned<T>],
    what: &str,
    report: &mut Report<'_>,
) -> Vec<&'l Spanned<T>> {
    let mut seen = BTreeSet::new();
    let (distinct, repeated): (Vec<_>, Vec<_>) =
        list.iter().partition(|entry| seen.insert(&entry.value));
    for Spanned { value, span } in repeated {
        let message = format!("{what} names {} twice", quoted(value.as_ref()));
        report.error(Code::Duplicate, *span, message, "remove one of the two");
    }
    distinct
}

fn values<T: Ord>(list: &[Spanned<T>]) -> BTreeSet<&T> {
    list.iter().map(|entry| &entry.value).collect()
}
