//! Whether a job's commands go with the files of the repository, and with where they run.
//!
//! What is told here can be known without running anything; false alarms are worse than silence. So a
//! file that something before may have written is not complained about: a line of the same job, an
//! artifact of a job that is needed, a cache.

mod ansible;
mod arguments;
mod docker;
mod made;
mod outside;
mod program;
mod script;

use crate::ast::{Job, Pipeline, Task};
use crate::diagnostic::Report;
use crate::files::Files;

use made::Made;
use script::Walk;

/// Where a job's commands run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a container, which sees nothing of the host but the working directory.
    Container,
    /// On the management server.
    Host,
    /// On a device, which sees nothing of the repository.
    Device,
}

/// Reports what a pipeline's jobs cannot find, and what they cannot do where they run.
pub(crate) fn check(pipeline: &Pipeline, files: &Files, report: &mut Report<'_>) {
    for job in &pipeline.jobs {
        let Some(place) = place(job) else { continue };
        outside::check_variables(pipeline, job, place, report);
        let made = Made::before(pipeline, job);
        let scripts = job.run.iter().map(|text| text.value.as_str()).collect();
        let mut walk = Walk::new(files, place, made, scripts, report);
        job.run.iter().for_each(|text| walk.line(text));
    }
}

/// None if the job has no commands, or if they have a terminal.
fn place(job: &Job) -> Option<Place> {
    match &job.task.as_ref()?.value {
        Task::Container(_) => Some(Place::Container),
        Task::Process => Some(Place::Host),
        Task::Ssh(ssh) => (!ssh.pty).then_some(Place::Device),
        Task::Render(_) | Task::Wait | Task::Gate(_) | Task::Pipeline(_) => None,
    }
}
