//! What a job does: a process, a container, words on a device, a file, or nothing but to wait.

use super::{Instance, fill, render, ssh};
use crate::ast::{
    Asks as WrittenAsks, Container as WrittenContainer, Gate as WrittenGate, Image, Pipeline,
    Task as WrittenTask,
};
use crate::diagnostic::Report;
use crate::gate::{Asks, Gate};
use crate::inventory::Inventory;
use crate::plan::{Container, Network, Pull, Task};

/// What a job does at its place; none if something is missing that [`crate::check`] reports.
pub(super) fn task(
    pipeline: &Pipeline,
    instance: &Instance<'_, '_>,
    inventory: Option<&Inventory>,
    fill: &fill::Filled<'_>,
    report: &mut Report<'_>,
) -> Option<Task> {
    match &instance.written.task.as_ref()?.value {
        // Its jobs stand for it.
        WrittenTask::Pipeline(_) => None,
        WrittenTask::Process => Some(Task::Process),
        WrittenTask::Render(render) => {
            Some(Task::Render(render::render(render, inventory, fill, report)))
        }
        WrittenTask::Wait => Some(Task::Wait),
        WrittenTask::Gate(written) => Some(Task::Gate(gate(written, fill, report))),
        WrittenTask::Container(written) => {
            container(pipeline, instance, written, fill, report).map(Task::Container)
        }
        WrittenTask::Ssh(written) => {
            let ssh = ssh::ssh(instance, written, inventory?, fill, report)?;
            Some(Task::Ssh(Box::new(ssh)))
        }
    }
}

/// Its message follows when the plan is whole.
fn gate(written: &WrittenGate, fill: &fill::Filled<'_>, report: &mut Report<'_>) -> Gate {
    let asks = match &written.asks {
        WrittenAsks::Approval { count, triggerer } => {
            Asks::Approval { count: *count, triggerer: *triggerer }
        }
        WrittenAsks::Acknowledgement { text } => {
            Asks::Acknowledgement { text: fill.acknowledge(text, report) }
        }
    };
    Gate { role: written.role, message: String::new(), asks }
}

fn container(
    pipeline: &Pipeline,
    instance: &Instance<'_, '_>,
    written: &WrittenContainer,
    fill: &fill::Filled<'_>,
    report: &mut Report<'_>,
) -> Option<Container> {
    let image = match &written.image {
        Image::Default => pipeline.defaults.image.as_ref()?,
        Image::Named(image) => image,
        Image::Unusable => return None,
    };
    let services = instance.written.services.iter().flat_map(|services| &services.services);
    let resources = instance.written.resources.as_ref().map(|resources| &resources.value);
    Some(Container {
        image: fill.image(image, report),
        pull: written.pull.unwrap_or(Pull::IfMissing),
        network: written.network.unwrap_or(Network::Bridge),
        memory: resources.and_then(|resources| resources.memory),
        millicpus: resources.and_then(|resources| resources.millicpus),
        services: services.cloned().collect(),
    })
}
