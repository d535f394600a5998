//! Jobs as commands on a device.
//!
//! The lines run as one script of `/bin/sh`, in the user's home, with stdin at its end. It comes
//! over the connection and touches neither a disk nor an argument list. It runs in a process group
//! (and session) of its own, which a record in `${TMPDIR:-/tmp}/.garrison-UID` on the device names:
//! closing a connection ends nothing there, so the group is ended by a second command, and the next
//! attempt of the same job ends first what an earlier one left. What leaves the session by itself, as
//! a service does, is the device's, not the job's.
//!
//! Invariant: before the program is sent, the group is noted here and recorded there; a program that
//! did not arrive whole does nothing.

mod connection;
mod device;
pub(super) mod probe;
mod session;

use std::io;
use std::pin::pin;
use std::time::Duration;

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{self, Delivery};
use pipelines::secret::SecretName;

use super::{Context, Executor, Reason, environment};
use crate::attempt::state::{self, Note};
use crate::output::Output;
use device::{Device, Remote};
use session::Session;

/// How long what a script left behind may go on writing, such as a `tee` behind its last line.
const LINGER: Duration = Duration::from_secs(2);

/// Runs jobs on this device.
#[derive(Debug, Clone, Copy)]
pub struct Ssh<'a>(pub &'a plan::Ssh);

/// A shell on the device that waits for its program, and then the job.
struct Running<'a> {
    device: Device<'a>,
    session: Session,
    remote: Remote,
}

/// Why the job is no longer followed.
enum Ending {
    Exited(Result<(), Exit>),
    Stopped(Reason),
    Cut,
    Unwritten(io::Error),
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Device(#[from] device::Error),
    #[error(transparent)]
    Session(#[from] session::Error),
    #[error("attempt {number} of this job runs there already (process group {group})")]
    Newer { number: u32, group: i32 },
    #[error("attempt {number} of this job still runs there and cannot be ended: {source}")]
    Previous { number: u32, source: device::Error },
    #[error("the secret {0} cannot be a file there: it would rest on the device's disk")]
    SecretFile(SecretName),
    #[error("cannot note the job's process group: {0}; see the disk of the agent's state")]
    Note(#[from] state::Error),
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(#[from] io::Error),
}

impl Executor for Ssh<'_> {
    async fn run(&self, order: &Order, context: &mut Context) -> Outcome {
        let mut stop = context.stop.clone();
        let program = match program(order, context) {
            Ok(program) => program,
            Err(error) => return self.not_started(&error),
        };
        let started = tokio::select! {
            // A cancel that is there already wins.
            biased;
            reason = stop.requested() => return reason.outcome(),
            started = Box::pin(self.start(order, context)) => started,
        };
        match started {
            Ok(mut running) => {
                let outcome = running.see_through(program, context).await;
                running.device.close().await;
                outcome
            }
            Err(error) => self.not_started(&error),
        }
    }
}

/// What the device is sent over stdin: secrets are variables of it.
fn program(order: &Order, context: &Context) -> Result<String, Error> {
    let mut environment = environment(order, context.mark);
    for secret in &context.secrets {
        match secret.delivery {
            Delivery::Variable => {
                environment.insert(secret.name.to_string(), secret.value.reveal().to_owned());
            }
            Delivery::File => return Err(Error::SecretFile(secret.name.clone())),
        }
    }
    Ok(session::program(&environment, &order.job.run)?)
}

impl<'a> Ssh<'a> {
    /// All up to the shell that waits. May be dropped: nothing of the job runs yet.
    async fn start(&self, order: &Order, context: &mut Context) -> Result<Running<'a>, Error> {
        let mut device = Device::connect(self.0, &context.ssh_keys).await?;
        self.end_previous(&mut device, order, context).await?;
        let (session, group) = Session::open(device.connection(), context.mark).await?;
        context.note(Note::RemoteGroup { group })?;
        let remote = device.record(order, group, context.mark).await?;
        Ok(Running { device, session, remote })
    }

    /// Ends earlier attempts of this job, one after the other.
    async fn end_previous(
        &self,
        device: &mut Device<'_>,
        order: &Order,
        context: &mut Context,
    ) -> Result<(), Error> {
        for (number, remote) in device.previous(order).await? {
            let group = remote.group;
            if number >= order.attempt.number {
                return Err(Error::Newer { number, group });
            }
            let name = &self.0.device;
            context.output.say(&format!(
                "attempt {number} of this job still runs on {name} (process group {group}): \
                 ending it first"
            ))?;
            let ended = device.end(&remote, context.grace).await;
            let count = ended.map_err(|source| Error::Previous { number, source })?;
            context.output.say(&format!("ended {count} processes of attempt {number}"))?;
        }
        Ok(())
    }

    fn not_started(&self, error: &Error) -> Outcome {
        let plan::Ssh { device, address, port, .. } = self.0;
        Outcome::InfraError { reason: format!("device {device} ({address}, port {port}): {error}") }
    }
}

impl Running<'_> {
    async fn see_through(&mut self, program: String, context: &mut Context) -> Outcome {
        let ending = match self.session.send(program).await {
            Ok(()) => self.follow(context).await,
            // How much of it has arrived cannot be known.
            Err(_) => Ending::Cut,
        };
        match ending {
            Ending::Exited(exit) => self.exited(exit, context).await,
            Ending::Stopped(reason) => {
                // The job is ended even if this line cannot be written.
                let _ = context.output.say(&format!("{reason}: ending the job"));
                let ended = self.end(context).await;
                self.stopped(reason, ended, context).await
            }
            Ending::Cut => Outcome::Lost {
                reason: format!(
                    "the connection to {} ended before the job's exit status came (was it cut, or \
                     did the device reboot?); {}",
                    self.device.name(),
                    self.may_run()
                ),
                may_run: true,
            },
            Ending::Unwritten(error) => {
                let ended = self.end(context).await;
                self.unwritten(error, ended)
            }
        }
    }

    async fn follow(&mut self, context: &mut Context) -> Ending {
        loop {
            if let Some(error) = self.session.unwritten.take() {
                return Ending::Unwritten(error);
            }
            if let Some(exit) = self.session.exit.clone() {
                return Ending::Exited(exit);
            }
            if self.session.is_closed {
                return Ending::Cut;
            }
            tokio::select! {
                () = self.session.step(&mut context.output) => {}
                reason = context.stop.requested() => return Ending::Stopped(reason),
            }
        }
    }

    async fn exited(&mut self, exit: Result<(), Exit>, context: &mut Context) -> Outcome {
        self.session.drain(LINGER, &mut context.output).await;
        let ended = self.end(context).await;
        if !matches!(ended, Ok(0)) {
            self.session.drain(LINGER, &mut context.output).await;
        }
        if let Some(error) = self.session.unwritten.take() {
            return self.unwritten(error, ended);
        }
        // The outcome stands even if this line cannot be written.
        let _ = match &ended {
            Ok(0) => Ok(()),
            Ok(count) => context.output.say(&format!("ended {count} processes left behind")),
            Err(error) => context.output.say(&format!("left behind: {error}")),
        };
        match (exit, context.stop.now()) {
            (Ok(()), _) => Outcome::Succeeded,
            (Err(exit), None) => Outcome::Failed { exit },
            (Err(_), Some(reason)) => self.stopped(reason, ended, context).await,
        }
    }

    async fn stopped(
        &mut self,
        reason: Reason,
        ended: Result<usize, device::Error>,
        context: &mut Context,
    ) -> Outcome {
        match ended {
            Ok(_) => {
                self.session.drain(LINGER, &mut context.output).await;
                reason.outcome()
            }
            Err(error) => {
                let name = self.device.name();
                let reason = format!("{reason}, but device {name}: {error}; {}", self.may_run());
                Outcome::CancelUnconfirmed { reason }
            }
        }
    }

    fn unwritten(&self, error: io::Error, ended: Result<usize, device::Error>) -> Outcome {
        let error = Error::Output(error);
        match ended {
            Ok(_) => Outcome::InfraError { reason: error.to_string() },
            Err(left) => Outcome::Lost {
                reason: format!("{error}; {left}; {}", self.may_run()),
                may_run: true,
            },
        }
    }

    /// Ends all that is left of the job, and takes what it still writes.
    async fn end(&mut self, context: &mut Context) -> Result<usize, device::Error> {
        let Self { device, session, remote } = self;
        let output: &mut Output = &mut context.output;
        let mut end = pin!(device.end(remote, context.grace));
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                // Unread output would hold up all else on the connection.
                () = session.step(output), if !session.is_closed => {}
            }
        }
    }

    fn may_run(&self) -> String {
        may_run(self.remote.group, self.device.name())
    }
}

/// What a person should know of a job whose end on a device nobody has seen.
pub(crate) fn may_run(group: i32, device: &pipelines::name::DeviceName) -> String {
    format!(
        "process group {group} may still run on {device}; the next attempt of this job ends it \
         first"
    )
}
