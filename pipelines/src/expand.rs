//! Jobs times partitions: from a pipeline that was checked to the plan.

use std::collections::BTreeMap;

use crate::ast::{Image, Job as Written, OnLost as WrittenOnLost, Pipeline, Task as WrittenTask};
use crate::check::Inventories;
use crate::graph::Graph;
use crate::input::Inputs;
use crate::name::{JobName, PartitionName};
use crate::plan::{Container, Job, Network, OnLost, Plan, Pull, Ssh, Task};
use crate::source::Spanned;

/// Time limit of a job that names none, in seconds.
const DEFAULT_TIMEOUT_S: u32 = 60 * 60;

/// The plan: job by job in an order in which each stands behind what it needs, otherwise that of
/// the file; each job once for each of its partitions.
///
/// None if something is missing that [`crate::check`] reports.
pub(crate) fn expand(
    pipeline: &Pipeline,
    file: &str,
    inputs: &Inputs,
    inventories: &Inventories,
) -> Option<Plan> {
    let mut jobs = Vec::new();
    let mut places: BTreeMap<(&JobName, &PartitionName), u32> = BTreeMap::new();
    for place in Graph::new(pipeline).order() {
        let written = &pipeline.jobs[place];
        for Spanned { value: partition, .. } in pipeline.partitions_of(written) {
            let (mut needs, mut without_artifacts) = (Vec::new(), Vec::new());
            for need in &written.needs {
                let place = places.get(&(&need.job.value, partition)).copied();
                let Some(place) = place else {
                    if need.optional {
                        continue;
                    }
                    return None;
                };
                needs.push(place);
                without_artifacts.extend((!need.artifacts).then_some(place));
            }
            needs.sort_unstable();
            without_artifacts.sort_unstable();
            places.insert((&written.name.value, partition), u32::try_from(jobs.len()).ok()?);
            let job = job(pipeline, written, partition, inventories)?;
            jobs.push(Job { needs, without_artifacts, ..job });
        }
    }
    Some(Plan {
        pipeline: pipeline.name.clone()?,
        file: file.to_owned(),
        lock: pipeline.lock.clone(),
        inputs: inputs.clone(),
        jobs,
    })
}

fn job(
    pipeline: &Pipeline,
    written: &Written,
    partition: &PartitionName,
    inventories: &Inventories,
) -> Option<Job> {
    let variables = pipeline.variables.iter().chain(&written.variables);
    let env = variables.map(|(name, value)| (name.clone(), value.value.clone())).collect();
    let artifacts = written.artifacts.iter().flat_map(|artifacts| &artifacts.paths);
    let retry = written.retry.as_ref().or(pipeline.defaults.retry.as_ref());
    let timeout_s = written.timeout_s.or(pipeline.defaults.timeout_s);
    Some(Job {
        name: written.name.value.clone(),
        partition: partition.clone(),
        needs: Vec::new(),
        without_artifacts: Vec::new(),
        task: task(pipeline, &written.task.as_ref()?.value, partition, inventories)?,
        run: written.run.clone(),
        env,
        secrets: written.secrets.iter().map(|secret| secret.value.clone()).collect(),
        timeout_s: timeout_s.unwrap_or(DEFAULT_TIMEOUT_S),
        artifacts: artifacts.map(|glob| glob.as_str().to_owned()).collect(),
        lock: written.lock.as_ref().map(|lock| lock.value.clone()),
        labels: written.labels.clone(),
        retry: retry.filter(|retry| retry.max > 0).cloned(),
        on_lost: on_lost(written)?,
    })
}

fn on_lost(written: &Written) -> Option<OnLost> {
    let after_s = written.lost_after.as_ref().map(|after| after.value);
    match written.on_lost.as_ref().map(|on_lost| on_lost.value) {
        None | Some(WrittenOnLost::Wait) => Some(OnLost::Wait),
        Some(WrittenOnLost::Fail) => Some(OnLost::Fail { after_s: after_s? }),
        Some(WrittenOnLost::Retry) => Some(OnLost::Retry { after_s: after_s? }),
    }
}

fn task(
    pipeline: &Pipeline,
    written: &WrittenTask,
    partition: &PartitionName,
    inventories: &Inventories,
) -> Option<Task> {
    match written {
        WrittenTask::Process => Some(Task::Process),
        WrittenTask::Container(container) => Some(Task::Container(Container {
            image: match &container.image {
                Image::Default => pipeline.defaults.image.clone()?,
                Image::Named(image) => image.clone(),
                Image::Unusable => return None,
            },
            pull: container.pull.unwrap_or(Pull::IfMissing),
            network: container.network.unwrap_or(Network::Bridge),
            memory: container.memory,
            millicpus: container.millicpus,
        })),
        WrittenTask::Ssh(ssh) => {
            let name = &ssh.device.as_ref()?.value;
            let device = inventories.get(partition)?.devices.get(name)?;
            Some(Task::Ssh(Ssh {
                device: name.clone(),
                address: device.address.clone(),
                port: device.port,
                user: ssh.user.clone().unwrap_or_else(|| device.user.clone()),
                host_key: device.host_key.clone(),
            }))
        }
    }
}
