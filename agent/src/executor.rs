//! Carrying out one job, by the means that its task names.

mod ansible;
mod process;
pub mod docker;
mod render;
mod script;
mod secrets;
pub(crate) mod ssh;
mod stop;
mod wait;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipelines::order::Order;
use pipelines::outcome::Outcome;
use pipelines::plan::Task;
use uuid::Uuid;

use crate::attempt::state::{self, Note, Record, StateWriter};
use crate::output::Output;
use crate::processes;
use crate::secrets::Given;

use render::Render;

pub(crate) use ansible::recap;
pub use docker::Docker;
pub use process::Process;
pub use ssh::Ssh;
pub use stop::{Reason, Stop, Stopper, TimeLimit};

/// A means by which jobs run. It lives in the runner, which carries out a single attempt on a
/// runtime of one thread, and is called once.
///
/// The contract:
/// 1. Before it is called, `started` is durable, and the time limit runs; [`TimeLimit::restart`]
///    gives the script all of it where preparing takes long. Nothing else was done.
/// 2. It gives all output to [`Context::output`] as it comes, one call a read, and never waits for
///    anything but the local disk to do so. A failed write ends the job.
/// 3. What somebody would need to end the job without it goes through [`Context::note`]: before the
///    program starts where it is known by then, else at once behind.
/// 4. It watches [`Context::stop`] from the first to the last moment. Once that is requested, it
///    asks the program to end, waits [`Context::grace`], and ends it by force. The outcome is then
///    [`Reason::outcome`] if the program provably runs no more, else `CancelUnconfirmed`.
/// 5. When it returns, nothing of the job runs and all output was given, whatever the outcome.
///    `InfraError` promises that; where it cannot be seen, the outcome is `Lost`.
/// 6. Secrets reach the program alone: no disk, no arguments, nothing that an engine writes down.
/// 7. The job's own failure is `Failed`; whatever else goes wrong is `InfraError` with a sentence
///    that says what to do. It does not panic.
pub trait Executor {
    /// Carries out `order` and says how it ended.
    fn run(&self, order: &Order, context: &mut Context) -> impl Future<Output = Outcome>;
}

/// Names the file for outputs to a script whose job has some.
pub(crate) const OUTPUTS: &str = "GARRISON_OUTPUTS";

/// What an executor works with.
#[derive(Debug)]
pub struct Context {
    /// The attempt's directory, for files beside the workspace; absolute.
    pub dir: PathBuf,
    /// The job's working directory; exists, absolute.
    pub workspace: PathBuf,
    /// Marks the job's processes; see [`processes::MARK`].
    pub mark: Uuid,
    /// Where output goes.
    pub output: Output,
    /// Tells when to end the job.
    pub stop: Stop,
    /// The clock of the job's time limit.
    pub limit: TimeLimit,
    /// How long a job may take to end once it is asked to.
    pub grace: Duration,
    /// Private keys that log in to devices; see [`crate::policy::Policy::ssh_keys`].
    pub ssh_keys: Vec<PathBuf>,
    /// Where new host keys of devices lie; see [`crate::policy::Policy::new_host_keys`].
    pub new_host_keys: Option<PathBuf>,
    /// The job's secrets; the output masks them.
    pub secrets: Vec<Given>,
    /// Where notes go.
    pub state: StateWriter,
}

impl Context {
    /// Writes `note` into the attempt's state; durable when it returns.
    pub fn note(&mut self, note: Note) -> Result<(), state::Error> {
        self.state.append(&Record::Noted { note })
    }
}

/// The file of an attempt into which its script writes the job's outputs.
pub fn outputs(dir: &Path) -> PathBuf {
    dir.join("outputs")
}

/// Carries out `order` by the means that it names, and waits for what it names behind that.
pub async fn run(order: &Order, context: &mut Context) -> Outcome {
    let outcome = match &order.job.task {
        Task::Process => Process.run(order, context).await,
        Task::Container(_) => Docker::new(docker::Address::from_env()).run(order, context).await,
        Task::Ssh(device) => Ssh(device).run(order, context).await,
        Task::Render(file) => Render(file).run(order, context).await,
        Task::Wait => Outcome::Succeeded,
        // The policy refuses it before.
        Task::Gate(_) => Outcome::InfraError { reason: "a gate runs on no agent".to_owned() },
    };
    match outcome {
        Outcome::Succeeded => wait::run(order, context).await,
        other => other,
    }
}

/// The environment that every job gets, by whatever means it runs: the job's own variables, and
/// `GARRISON_…`, which a job cannot change.
pub fn environment(order: &Order, mark: Uuid) -> BTreeMap<String, String> {
    let mut environment = order.job.env.clone();
    let ours = [
        ("GARRISON_RUN", order.attempt.job.run.to_string()),
        ("GARRISON_JOB", order.job.name.to_string()),
        ("GARRISON_ATTEMPT", order.attempt.to_string()),
        ("GARRISON_PARTITION", order.partition.to_string()),
        ("GARRISON_PIPELINE", order.pipeline.to_string()),
        ("GARRISON_REPOSITORY", order.repository.to_string()),
        ("GARRISON_COMMIT", order.commit.clone()),
        ("GARRISON_REF", order.reference.clone()),
        (processes::MARK, mark.to_string()),
    ];
    environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    if let Some(device) = order.job.at() {
        environment.insert("GARRISON_DEVICE".to_owned(), device.to_string());
    }
    environment
}
