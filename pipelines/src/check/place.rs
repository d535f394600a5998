//! Whether a job's cache and services go with where it runs.

use crate::ast::{Job, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::limits;

/// Reports what the job's task cannot have.
pub(super) fn check(job: &Job, report: &mut Report<'_>) {
    let of = quoted(job.name.value.as_str());
    let task = job.task.as_ref().map(|task| &task.value);
    if let (Some(cache), Some(Task::Ssh(_))) = (&job.cache, task) {
        let message = format!("the job {of} runs on a device, which has no part in a cache");
        let help = "remove `cache`, or make a container job of it";
        report.error(Code::CacheOnDevice, cache.span, message, help);
    }
    let Some(services) = &job.services else { return };
    if let Some(Task::Process | Task::Ssh(_) | Task::Render(_) | Task::Wait) = task {
        let message = format!("the job {of} has services, but runs in no container");
        let help = "make a container job of it: services share the network of its container";
        report.error(Code::ServicesWithoutContainer, services.span, message, help);
    }
    if services.count > limits::SERVICES {
        let (count, most) = (services.count, limits::SERVICES);
        let message = format!("the job {of} has {count} services; at most {most} fit");
        let help = "make several jobs of it";
        report.error(Code::TooManyServices, services.span, message, help);
    }
}
