//! Jobs as commands on a device.
//!
//! The lines run as one script of `/bin/sh`, in the user's home, with stdin at its end. It comes
//! over the connection and touches neither a disk nor an argument list. It runs in a process group
//! (and session) of its own, which a record in `${TMPDIR:-/tmp}/.garrison-UID` on the device names:
//! closing a connection ends nothing there, so the group is ended by a second command, and the next
//! attempt of the same job ends first what an earlier one left. What leaves the session by itself, as
//! a service does, is the device's, not the job's.
//!
//! Around the script, files are carried both ways by SFTP, and the device may be rebooted behind it. A
//! device of the kind `cli` gets each line as a request of its own instead.
//!
//! Invariant: before the program is sent, the group is noted here and recorded there; a program that
//! did not arrive whole does nothing.

mod cli;
pub(crate) mod connection;
mod device;
mod files;
mod host_key;
pub(crate) mod login;
pub(super) mod probe;
mod reboot;
mod session;

use std::io;
use std::pin::pin;
use std::time::Duration;

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{self, Delivery, Kind};
use pipelines::secret::SecretName;

use super::{Context, Executor, Reason, environment};
use crate::attempt::state::{self, Note};
use crate::output::Output;
use connection::Connection;
use device::{Device, Remote, record_of};
use login::Login;
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
    Login(#[from] login::Error),
    #[error(transparent)]
    Device(#[from] device::Error),
    #[error(transparent)]
    Session(#[from] session::Error),
    #[error(transparent)]
    Files(#[from] files::Error),
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

/// Why a step did not come to its end.
enum Halt {
    /// Somebody wants the job to end, and nothing of it runs.
    Stopped(Reason),
    Failed(Error),
}

impl Executor for Ssh<'_> {
    async fn run(&self, order: &Order, context: &mut Context) -> Outcome {
        let ended = match self.0.device_kind {
            Kind::Shell => self.by_shell(order, context).await,
            Kind::Cli => cli::run(*self, order, context).await,
        };
        ended.unwrap_or_else(|halt| match halt {
            Halt::Stopped(reason) => reason.outcome(),
            Halt::Failed(error) => self.failed(&error),
        })
    }
}

/// What the device is sent over stdin: secrets are variables of it, except for the key that logs in.
fn program(ssh: &plan::Ssh, order: &Order, context: &Context) -> Result<String, Error> {
    let mut environment = environment(order, context.mark);
    for secret in context.secrets.iter().filter(|secret| ssh.key.as_ref() != Some(&secret.name)) {
        match secret.delivery {
            Delivery::Variable => {
                environment.insert(secret.name.to_string(), secret.value.reveal().to_owned());
            }
            Delivery::File => return Err(Error::SecretFile(secret.name.clone())),
        }
    }
    Ok(session::program(&environment, &order.job.run, ssh.pty)?)
}

/// Does `step`, unless somebody wants the job to end before; then it is dropped.
async fn until_stop<T>(
    mut stop: super::Stop,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Halt> {
    tokio::select! {
        // A cancel that is there already wins.
        biased;
        reason = stop.requested() => Err(Halt::Stopped(reason)),
        done = Box::pin(step) => Ok(done?),
    }
}

impl<'a> Ssh<'a> {
    async fn by_shell(&self, order: &Order, context: &mut Context) -> Result<Outcome, Halt> {
        let program = program(self.0, order, context)?;
        let login = self.login(context)?;
        let stop = context.stop.clone();
        let device = until_stop(stop.clone(), self.connect(&login, order, context)).await?;
        self.upload(device.connection(), order, context).await?;
        let start = self.start(device, order, context, program.len());
        let mut running = until_stop(stop, start).await?;
        let mut outcome = running.see_through(program, context).await;
        if outcome == Outcome::Succeeded {
            let downloaded = self.download(running.device.connection(), context).await;
            if let (Ok(()), Some(reboot)) = (&downloaded, &self.0.reboot) {
                return Ok(reboot::reboot(running.device, &login, reboot, context).await);
            }
            outcome = self.behind(downloaded);
        }
        running.device.close().await;
        Ok(outcome)
    }

    fn login(&self, context: &Context) -> Result<Login, Error> {
        Ok(Login::new(self.0, &context.ssh_keys, &context.secrets)?)
    }

    /// Connects, and ends what earlier attempts left. May be dropped: nothing of the job runs yet.
    async fn connect(
        &self,
        login: &Login,
        order: &Order,
        context: &mut Context,
    ) -> Result<Device<'a>, Error> {
        let mut device = Device::connect(self.0, login).await?;
        self.end_previous(&mut device, order, context).await?;
        Ok(device)
    }

    /// All up to the shell that waits for a program of so many bytes. May be dropped as well.
    async fn start(
        &self,
        device: Device<'a>,
        order: &Order,
        context: &mut Context,
        length: usize,
    ) -> Result<Running<'a>, Error> {
        let open = Session::open(device.connection(), self.0, context.mark, length);
        let (session, group) = open.await?;
        context.note(Note::RemoteGroup { group })?;
        let remote = device.record(order, group, context.mark).await?;
        Ok(Running { device, session, remote })
    }

    async fn upload(
        &self,
        connection: &Connection,
        order: &Order,
        context: &mut Context,
    ) -> Result<(), Halt> {
        let tag = record_of(&order.partition, order.attempt.job);
        let carried = files::upload(connection, &self.0.upload, &tag, context).await;
        if !self.0.upload.is_empty() {
            context.limit.restart();
        }
        Ok(carried?)
    }

    async fn download(
        &self,
        connection: &Connection,
        context: &mut Context,
    ) -> Result<(), files::Ending> {
        files::download(connection, &self.0.download, context).await
    }

    /// How a job ends whose script has succeeded.
    fn behind(&self, downloaded: Result<(), files::Ending>) -> Outcome {
        match downloaded {
            Ok(()) => Outcome::Succeeded,
            Err(files::Ending::Stopped(reason)) => reason.outcome(),
            Err(files::Ending::Failed(error)) => {
                let name = &self.0.device;
                let reason = format!("the script succeeded on {name}, but then: {error}");
                Outcome::InfraError { reason }
            }
        }
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

    fn failed(&self, error: &Error) -> Outcome {
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

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

impl From<files::Ending> for Halt {
    fn from(ending: files::Ending) -> Self {
        match ending {
            files::Ending::Stopped(reason) => Halt::Stopped(reason),
            files::Ending::Failed(error) => Halt::Failed(error.into()),
        }
    }
}

/// What a person should know of a job whose end on a device nobody has seen.
pub(crate) fn may_run(group: i32, device: &pipelines::name::DeviceName) -> String {
    format!(
        "process group {group} may still run on {device}; the next attempt of this job ends it \
         first"
    )
}

/// The same of lines for the command line of a device.
pub(crate) fn lines_may_run(device: &pipelines::name::DeviceName) -> String {
    format!("its last line may still be carried out on {device}, which nobody can see")
}

/// The same of a reboot.
pub(crate) fn may_reboot(device: &pipelines::name::DeviceName) -> String {
    format!("{device} was asked to reboot and was not seen to be back; see that it is")
}
