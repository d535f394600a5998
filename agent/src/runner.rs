//! The runner: the process that owns one attempt from start to verdict, `garrison runner DIR`.
//!
//! It lives apart from the agent and outlives it. Once it has the handover, it writes a verdict
//! whatever happens; before that it has started nothing. Signals: SIGHUP is ignored; SIGTERM ends
//! the job like a cancel, but the outcome is an infrastructure error, since nobody wanted the job to
//! end.

mod artifacts;
mod cache;
mod outputs;
mod recap;
pub mod bury;
pub mod control;
pub mod handle;
pub mod handover;

use std::fs::File;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use agent_core::lease::BootTime;
use futures::FutureExt;
use pipelines::order::{self, Order};
use pipelines::outcome::{Artifact, LogEnd, Outcome, Progress, Verdict};
use pipelines::output::Outputs;
use pipelines::plan::Task;
use pipelines::recap::Recap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attempt::state::{self, Record, StateWriter};
use crate::attempt::{self, Attempt, Lock};
use crate::cache::Cache;
use crate::executor::{self, Context, Reason, Stopper, TimeLimit, docker};
use crate::mask::{self, Secrets};
use crate::output::Output;
use crate::processes::Owned;
use crate::{clock, lease, processes, secrets, spool};
use handover::Handover;

/// What a site or a test may change.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a job may take to end once it is asked to, before it is ended by force.
    pub grace: Duration,
}

/// The runner's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The verdict is durable, or the attempt is in somebody else's hands.
    Done = 0,
    /// Nothing was started, and the attempt may be spawned again; stderr says why.
    NotStarted = 1,
    /// The attempt was begun, but its verdict could not be written; stderr says why.
    NoVerdict = 2,
}

/// Why a runner could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot use {0}: {1}")]
    Directory(String, io::Error),
    #[error(transparent)]
    Attempt(#[from] attempt::Error),
    #[error(transparent)]
    Handover(#[from] handover::Error),
    #[error("cannot make a runtime: {0}")]
    Runtime(io::Error),
}

/// Why a job could not be begun, although all was handed over.
#[derive(Debug, thiserror::Error)]
enum Unready {
    #[error(transparent)]
    Attempt(#[from] attempt::Error),
    #[error(transparent)]
    Order(#[from] order::Error),
    #[error(transparent)]
    Mask(#[from] mask::Error),
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    #[error("cannot write the attempt's state: {0}; see the disk of the agent's state")]
    State(#[from] state::Error),
    #[error("{0}; nothing of the job was started")]
    Lease(#[from] lease::Over),
    #[error("the agent told nothing of the job's lease: it is older than its runner, restart it")]
    NoLease,
    #[error("cannot prepare the attempt: {0}; see the disk and the limits of the agent's host")]
    Io(#[from] io::Error),
}

/// One attempt in the hands of this process.
struct Runner {
    attempt: Attempt,
    lock: Lock,
    options: Options,
    progress: watch::Sender<Progress>,
    length: watch::Sender<u64>,
    /// Signals and the time limit.
    helpers: JoinSet<()>,
    /// The control socket.
    server: JoinSet<()>,
    started_us: Option<u64>,
}

/// How an attempt ended, and what it leaves.
struct Ended {
    outcome: Outcome,
    log: LogEnd,
    artifact: Option<Artifact>,
    outputs: Outputs,
    recap: Option<Recap>,
}

/// Runs the attempt in `dir` with the handover that stdin holds.
pub fn main(dir: &Path) -> ExitCode {
    main_with(dir, Options::default())
}

/// [`main`] with other options.
pub fn main_with(dir: &Path, options: Options) -> ExitCode {
    let exit = serve(dir, options).unwrap_or_else(|error| {
        complain(&error);
        Exit::NotStarted
    });
    ExitCode::from(exit as u8)
}

fn serve(dir: &Path, options: Options) -> Result<Exit, Error> {
    // Fails only where this process leads a session or group already.
    let _ = nix::unistd::setsid();
    processes::give_up_protection();
    // The directory may be in the making until then.
    let handover = Handover::read(io::stdin().lock())?;
    let directory = |error| Error::Directory(dir.display().to_string(), error);
    let dir = dir.canonicalize().map_err(directory)?;
    let attempt = Attempt::open(&dir)?;
    let words = File::options().create(true).append(true).open(attempt.runner_err());
    nix::unistd::dup2_stderr(words.map_err(directory)?).map_err(|e| directory(e.into()))?;
    let Some(lock) = attempt.lock()? else { return Ok(Exit::Done) };
    let state = attempt.state()?;
    if state.started.is_some() || state.verdict.is_some() {
        return Ok(Exit::Done);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    Ok(runtime.block_on(Runner::new(attempt, lock, options).run(&handover)))
}

impl Unready {
    /// How an attempt ends of which nothing was started.
    fn outcome(&self) -> Outcome {
        let reason = self.to_string();
        match self {
            Unready::Lease(_) => Outcome::Lost { reason, may_run: false },
            _ => Outcome::InfraError { reason },
        }
    }
}

impl Runner {
    fn new(attempt: Attempt, lock: Lock, options: Options) -> Self {
        Self {
            attempt,
            lock,
            options,
            progress: watch::Sender::new(Progress::Accepted),
            length: watch::Sender::new(0),
            helpers: JoinSet::new(),
            server: JoinSet::new(),
            started_us: None,
        }
    }

    async fn run(mut self, handover: &Handover) -> Exit {
        let ended = match self.prepare(handover) {
            Ok((order, context)) => self.carry_out(&order, context, handover.cache.as_ref()).await,
            Err(error) => Ended::badly(error.outcome(), spool::no_output()),
        };
        let verdict = Verdict {
            outcome: ended.outcome,
            started_us: self.started_us,
            finished_us: clock::wall_us(),
            log: ended.log,
            artifacts: ended.artifact.into_iter().collect(),
            outputs: ended.outputs,
            recap: ended.recap.map(Box::new),
        };
        match self.write(verdict) {
            Ok(verdict) => {
                self.progress.send_replace(Progress::Finished(Box::new(verdict)));
                control::farewell(&mut self.server).await;
                Exit::Done
            }
            Err(error) => {
                complain(&error);
                Exit::NoVerdict
            }
        }
    }

    /// All up to the durable `started`; nothing of the job runs yet.
    fn prepare(&mut self, handover: &Handover) -> Result<(Order, Context), Unready> {
        let order = Order::from_bytes(&self.attempt.order()?)?;
        secrets::check(&order, &handover.secrets)?;
        let (renewals, acknowledged) = watch::channel(None);
        let mut lease = leased(&order, handover, acknowledged)?;
        let mark = self.attempt.state()?.mark;
        let mut state = self.attempt.state_writer(&self.lock)?;
        let masked = Secrets::new(&handover.masked())?;
        let quota = handover.log_quota.unwrap_or_default();
        let root = self.attempt.dir().parent().unwrap_or(self.attempt.dir());
        let log = spool::bounded(&self.attempt.log(), root, quota, order.job.at())?;
        let output = Output::new(log, masked, self.length.clone());
        let (stopper, stop) = Stopper::new();
        let control = control::Server::bind(self.attempt.dir())?;
        outputs::prepare(self.attempt.dir(), &order.job.outputs)?;
        recap::prepare(self.attempt.dir(), order.job.ansible.as_ref())?;
        self.watch_signals(&stopper)?;
        lease.base()?;
        self.start(&mut state)?;
        let asked = control::Asked { stopper: stopper.clone(), lease: renewals };
        self.server.spawn(control.serve(self.progress.subscribe(), self.length.subscribe(), asked));
        let expiry = stopper.clone();
        self.helpers.spawn(async move { expiry.stop(Reason::Lease(lease.over().await)) });
        let (limit, clock) =
            TimeLimit::new(Duration::from_secs(order.job.timeout_s.into()), stopper);
        self.helpers.spawn(clock);
        let context = Context {
            dir: self.attempt.dir().to_owned(),
            workspace: self.attempt.work(),
            mark,
            output,
            stop,
            limit,
            grace: self.options.grace,
            ssh_keys: handover.ssh_keys.clone(),
            new_host_keys: handover.new_host_keys.clone(),
            secrets: handover.secrets.clone(),
            state,
        };
        Ok((order, context))
    }

    /// Writes the verdict; without its recap and its outputs, if there is no room for them.
    fn write(&self, verdict: Verdict) -> Result<Verdict, attempt::Error> {
        match self.attempt.write_verdict(&self.lock, verdict.clone()) {
            Err(_) if verdict.recap.is_some() => self.write(Verdict { recap: None, ..verdict }),
            Err(error) if !verdict.outputs.is_empty() => {
                let reason = format!("the job succeeded, but its outputs were not kept: {error}");
                let outcome = Outcome::InfraError { reason };
                let verdict = Verdict { outcome, outputs: Outputs::new(), ..verdict };
                self.attempt.write_verdict(&self.lock, verdict)
            }
            written => written,
        }
    }

    fn start(&mut self, state: &mut StateWriter) -> Result<(), Unready> {
        let at_us = clock::wall_us();
        state.append(&Record::Started { at_us, boot_id: clock::boot_id()? })?;
        self.started_us = Some(at_us);
        self.progress.send_replace(Progress::Running { started_us: at_us });
        Ok(())
    }

    fn watch_signals(&mut self, stopper: &Stopper) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        // A handler, unlike SIG_IGN, is not passed on to the job.
        let mut hangup = signal(SignalKind::hangup())?;
        let stopper = stopper.clone();
        self.helpers.spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => stopper.stop(Reason::Terminated),
                    _ = hangup.recv() => {}
                }
            }
        });
        Ok(())
    }

    async fn carry_out(&self, order: &Order, mut context: Context, cache: Option<&Cache>) -> Ended {
        let restored = cache::restore(&self.attempt, order, cache, &mut context.output).await;
        let missing = match restored {
            Ok(missing) => missing,
            Err(error) => {
                let (log, _) = context.output.close();
                return Ended::badly(unwritable(&error), log);
            }
        };
        if order.job.cache.is_some() {
            context.limit.restart();
        }
        let run = AssertUnwindSafe(executor::run(order, &mut context)).catch_unwind();
        let outcome = match run.await {
            Ok(outcome) => outcome,
            Err(_) => after_panic(order, &context).await,
        };
        let ansible = order.job.ansible.as_ref();
        let recap = recap::take(&context.dir, ansible, &mut context.output);
        let (outcome, outputs) = match outcome {
            Outcome::Succeeded => {
                outputs::take(&context.dir, &order.job.outputs, &mut context.output)
            }
            other => (other, Outputs::new()),
        };
        let (outcome, artifact) = match outcome {
            Outcome::Succeeded => {
                artifacts::pack(&self.attempt, &order.job.artifacts, &mut context.output).await
            }
            other => (other, None),
        };
        let said = match outcome {
            Outcome::Succeeded => cache::store(&self.attempt, missing, &mut context.output).await,
            _ => Ok(()),
        };
        let (log, closed) = context.output.close();
        let outcome = match said.and(closed) {
            Ok(()) => outcome,
            Err(error) => incomplete(outcome, &error),
        };
        match outcome {
            Outcome::Succeeded => Ended { outcome, log, artifact, outputs, recap },
            other => Ended { artifact, recap, ..Ended::badly(other, log) },
        }
    }
}

impl Ended {
    /// An end that leaves nothing.
    fn badly(outcome: Outcome, log: LogEnd) -> Self {
        Self { outcome, log, artifact: None, outputs: Outputs::new(), recap: None }
    }
}

/// The lease of an order, as it was handed over.
fn leased(
    order: &Order,
    handover: &Handover,
    acknowledged: lease::Acknowledged,
) -> Result<lease::Watch, Unready> {
    let Some(seconds) = order.job.on_lost.lease_s() else {
        return Ok(lease::Watch::without(acknowledged));
    };
    let base = BootTime(handover.lease_base_us.ok_or(Unready::NoLease)?);
    Ok(lease::Watch::new(base, seconds, acknowledged))
}

/// The panic's message went to stderr.
async fn after_panic(order: &Order, context: &Context) -> Outcome {
    let reason = "the runner panicked; its runner.err says where".to_owned();
    let patience = Duration::from_secs(5);
    let owned = Owned::marked(context.mark).and_descendants();
    match &order.job.task {
        Task::Process | Task::Render(_) | Task::Wait | Task::Gate(_) => {}
        Task::Container(_) => {
            let engine = docker::Address::from_env();
            if let Err(error) = docker::end(&engine, context.mark, &[], patience).await {
                let reason = format!("{reason}; its container may still run: {error}");
                return Outcome::Lost { reason, may_run: true };
            }
        }
        Task::Ssh(ssh) => {
            let device = &ssh.device;
            let reason = format!("{reason}; what it started on {device} may still run");
            return Outcome::Lost { reason, may_run: true };
        }
    }
    match owned.end(patience).await {
        Ok(_) => Outcome::InfraError { reason },
        Err(error) => Outcome::Lost { reason: format!("{reason}; {error}"), may_run: true },
    }
}

/// An outcome whose log is not whole: success is none then.
fn incomplete(outcome: Outcome, error: &io::Error) -> Outcome {
    match outcome {
        Outcome::Succeeded => Outcome::InfraError {
            reason: format!(
                "the job succeeded, but its output could not be written: {error}; \
                 see the disk of the agent's state"
            ),
        },
        other => other,
    }
}

/// Of a job that was not started for that.
fn unwritable(error: &io::Error) -> Outcome {
    Outcome::InfraError {
        reason: format!(
            "the job's log cannot be written: {error}; nothing was started, see the disk of the \
             agent's state"
        ),
    }
}

/// Stderr is the attempt's `runner.err`, or the agent's own as long as nothing was handed over.
fn complain(error: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "runner: {error}");
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10) }
    }
}
