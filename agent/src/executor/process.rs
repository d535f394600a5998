//! Jobs as processes of this host.
//!
//! The lines run as one script of `/bin/sh -e`, so that `cd` and `export` carry over and the first
//! line that fails ends it; each is shown before it runs, as `$ line`.
//!
//! Invariant: this process is a subreaper and has no children but the job's, so it may wait for any
//! child, and "no child is left" means that nothing descends from the job any more.

use std::future::pending;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getsid};
use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use proto::log::Stream;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

use super::ansible::{self, Guest, Seen};
use super::secrets::ForProcess;
use super::{Context, Executor, OUTPUTS, Reason, environment, outputs, script};
use crate::attempt::state::{self, Note};
use crate::output::Output;
use crate::processes::{self, Owned};
use crate::secrets::tmpfs;
use crate::spool::FRAME;

/// How long what a script left behind may go on writing, such as a `tee` behind its last line.
const LINGER: Duration = Duration::from_secs(2);

/// How long what has closed its output may take to end by itself before it counts as left behind.
const SETTLE: Duration = Duration::from_millis(50);

/// How long processes may take to end on SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long after its job somebody who ends both, such as a host that shuts down, may take to tell the runner.
const BEHIND: Duration = Duration::from_secs(1);

/// Where programs are looked for if the agent's own environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs jobs as processes of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

/// A started job.
struct Running {
    leader: Pid,
    /// How the leader ended.
    exit: Option<Result<(), Exit>>,
    /// Nothing that descends from the job is left.
    gone: bool,
    children: SignalStream,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    buffer: Vec<u8>,
    /// Their files are gone when this is.
    _secrets: ForProcess,
}

/// Why the script is no longer followed.
enum Ending {
    Exited(Result<(), Exit>),
    Stopped(Reason),
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "cannot write the script to {0}: {1}; see that the agent's state directory is writable"
    )]
    Script(String, io::Error),
    #[error(transparent)]
    Secrets(#[from] tmpfs::Error),
    #[error("cannot start /bin/sh: {0}; see limits of processes, memory and open files")]
    Start(io::Error),
    #[error("cannot note the job's process group: {0}; see the disk of the agent's state")]
    Note(#[from] state::Error),
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(io::Error),
    #[error("cannot read the job's output: {0}")]
    Read(io::Error),
}

impl Executor for Process {
    async fn run(&self, order: &Order, context: &mut Context) -> Outcome {
        if let Some(reason) = context.stop.now() {
            return reason.outcome();
        }
        let mut running = match Running::start(order, context) {
            Ok(running) => running,
            Err(error) => return Outcome::InfraError { reason: error.to_string() },
        };
        let ending = running.see_through(context).await;
        if let Ok(Ending::Exited(Err(exit))) = &ending
            && is_told_to_end(exit)
        {
            let _ = timeout(BEHIND, context.stop.requested()).await;
        }
        let ended = running.end_all(context).await;
        let ending = running.drain(&mut context.output).and(ending);
        outcome(ending, ended, context)
    }
}

impl Running {
    fn start(order: &Order, context: &Context) -> Result<Self, Error> {
        let secrets = ForProcess::make(&context.secrets, context.mark)?;
        let unwritten = |error| Error::Script(context.dir.display().to_string(), error);
        let guest = guest(order, context, &secrets).map_err(unwritten)?;
        let head = guest.as_ref().map_or("", |guest| &guest.head);
        let script = script::write(&context.dir, head, &order.job.run).map_err(unwritten)?;
        set_child_subreaper(true).map_err(|error| Error::Start(error.into()))?;
        let children = signal(SignalKind::child()).map_err(Error::Start)?;
        // Before the start, so that nothing is left to fail behind it.
        let (stdout, stdout_end) = pipe_pair().map_err(Error::Start)?;
        let (stderr, stderr_end) = pipe_pair().map_err(Error::Start)?;
        let mut command = command(&script, order, context);
        command.envs(guest.into_iter().flat_map(|guest| guest.variables));
        command.envs(secrets.variables()).stdout(stdout_end).stderr(stderr_end);
        let child = command.spawn().map_err(Error::Start)?;
        Ok(Self {
            leader: Pid::from_raw(child.id().cast_signed()),
            exit: None,
            gone: false,
            children,
            stdout: Some(stdout),
            stderr: Some(stderr),
            buffer: vec![0; FRAME],
            _secrets: secrets,
        })
    }

    /// Follows the job until its script ends, or until it was asked to stop and its grace is over.
    async fn see_through(&mut self, context: &mut Context) -> Result<Ending, Error> {
        let session = getsid(None).map_or(0, Pid::as_raw);
        context.note(Note::ProcessGroup { group: self.leader.as_raw(), session })?;
        let ending = self.follow(context).await?;
        let output = &mut context.output;
        match &ending {
            Ending::Exited(_) => {
                self.follow_rest(LINGER, Self::is_silent, output).await?;
                self.follow_rest(SETTLE, |job| job.gone, output).await?;
            }
            Ending::Stopped(reason) => {
                output.say(&format!("{reason}: ending the job")).map_err(Error::Output)?;
                // What does not get this signal gets SIGKILL later.
                let _ = self.owned(context.mark).signal(Signal::SIGTERM);
                self.follow_rest(context.grace, |job| job.gone, output).await?;
            }
        }
        Ok(ending)
    }

    async fn follow(&mut self, context: &mut Context) -> Result<Ending, Error> {
        loop {
            if let Some(exit) = self.exit.clone() {
                return Ok(Ending::Exited(exit));
            }
            tokio::select! {
                stepped = self.step(&mut context.output) => stepped?,
                reason = context.stop.requested() => return Ok(Ending::Stopped(reason)),
            }
        }
    }

    /// Goes on until it is `over`, for at most `patience`.
    async fn follow_rest(
        &mut self,
        patience: Duration,
        over: fn(&Self) -> bool,
        output: &mut Output,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while !over(self) {
            match timeout_at(deadline, self.step(output)).await {
                Ok(stepped) => stepped?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Waits for one thing to happen and deals with it; may be dropped while it waits.
    async fn step(&mut self, output: &mut Output) -> Result<(), Error> {
        tokio::select! {
            _ = self.children.recv() => {
                self.reap();
                Ok(())
            }
            () = readable(self.stdout.as_ref()) => {
                read(&mut self.stdout, Stream::Stdout, &mut self.buffer, output).map(drop)
            }
            () = readable(self.stderr.as_ref()) => {
                read(&mut self.stderr, Stream::Stderr, &mut self.buffer, output).map(drop)
            }
        }
    }

    /// Takes note of all children that have ended.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.leader => {
                    self.exit = Some(if code == 0 { Ok(()) } else { Err(Exit::Code(code)) });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.leader => {
                    self.exit = Some(Err(Exit::Signal(signal as i32)));
                }
                Ok(WaitStatus::StillAlive) => return,
                Err(Errno::ECHILD) => {
                    self.gone = true;
                    return;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Ends all that is left of the job.
    async fn end_all(&mut self, context: &Context) -> Result<usize, processes::Error> {
        if self.gone {
            return Ok(0);
        }
        let ended = self.owned(context.mark).end(KILL_PATIENCE).await;
        self.reap();
        ended
    }

    /// Takes what still stands in the pipes; nobody of the job is there any more to write.
    fn drain(&mut self, output: &mut Output) -> Result<(), Error> {
        while read(&mut self.stdout, Stream::Stdout, &mut self.buffer, output)? {}
        while read(&mut self.stderr, Stream::Stderr, &mut self.buffer, output)? {}
        Ok(())
    }

    /// Whether no process is left that could write output.
    fn is_silent(&self) -> bool {
        self.gone || (self.stdout.is_none() && self.stderr.is_none())
    }

    fn owned(&self, mark: uuid::Uuid) -> Owned {
        Owned::marked(mark).and_descendants()
    }
}

fn outcome(
    ending: Result<Ending, Error>,
    ended: Result<usize, processes::Error>,
    context: &mut Context,
) -> Outcome {
    match (ending, ended) {
        (Ok(Ending::Exited(exit)), ended) => {
            // The outcome stands even if this line cannot be written.
            let _ = match ended {
                Ok(0) => Ok(()),
                Ok(count) => context.output.say(&format!("ended {count} processes left behind")),
                Err(error) => context.output.say(&format!("left behind: {error}")),
            };
            exited(exit, context.stop.now())
        }
        (Ok(Ending::Stopped(reason)), Ok(_)) => reason.outcome(),
        (Ok(Ending::Stopped(reason)), Err(error)) => {
            Outcome::CancelUnconfirmed { reason: format!("{reason}, but {error}") }
        }
        (Err(error), Ok(_)) => Outcome::InfraError { reason: error.to_string() },
        (Err(error), Err(left)) => {
            Outcome::Lost { reason: format!("{error}; {left}"), may_run: true }
        }
    }
}

/// Whether SIGTERM ended the script, or what its last line waited for.
fn is_told_to_end(exit: &Exit) -> bool {
    const TERM: i32 = Signal::SIGTERM as i32;
    matches!(exit, Exit::Signal(TERM)) || matches!(exit, Exit::Code(code) if *code == 128 + TERM)
}

/// A script that failed while its end was requested did so because of that: a host that shuts down
/// signals both.
pub(super) fn exited(exit: Result<(), Exit>, stop: Option<Reason>) -> Outcome {
    match (exit, stop) {
        (Ok(()), _) => Outcome::Succeeded,
        (Err(_), Some(reason)) => reason.outcome(),
        (Err(exit), None) => Outcome::Failed { exit },
    }
}

/// What its Ansible finds; the job sees it where it is.
fn guest(order: &Order, context: &Context, secrets: &ForProcess) -> io::Result<Option<Guest>> {
    let key = context.secrets.iter().find(|secret| ansible::is_key(secret));
    let path = key.and_then(|key| secrets.variables().find(|(name, _)| *name == key.name.as_str()));
    let seen = Seen {
        folder: context.dir.join("ansible").display().to_string(),
        recap: ansible::recap(&context.dir).display().to_string(),
        key: path.map(|(_, path)| path.to_owned()),
    };
    Guest::make(order, &context.dir, &seen)
}

fn command(script: &Path, order: &Order, context: &Context) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-e")
        .arg(script)
        .current_dir(&context.workspace)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
        .env("HOME", &context.workspace)
        .env("LANG", "C.UTF-8")
        .envs(environment(order, context.mark))
        .process_group(0)
        .stdin(Stdio::null());
    if !order.job.outputs.is_empty() {
        command.env(OUTPUTS, outputs(&context.dir));
    }
    command
}

fn pipe_pair() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((pipe::Receiver::from_owned_fd(reader.into())?, writer))
}

async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        // An error shows when it is read.
        Some(pipe) => drop(pipe.readable().await),
        None => pending().await,
    }
}

/// One read from `pipe` into `output`; whether there may be more at present. Ends `pipe` at its end.
fn read(
    pipe: &mut Option<pipe::Receiver>,
    stream: Stream,
    buffer: &mut [u8],
    output: &mut Output,
) -> Result<bool, Error> {
    let Some(open) = pipe else { return Ok(false) };
    match open.try_read(buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(false)
        }
        Ok(length) => output.write(stream, &buffer[..length]).map_err(Error::Output).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => {
            *pipe = None;
            Err(Error::Read(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_outweighs_a_request_to_stop() {
        let failed = Err(Exit::Code(1));
        assert_eq!(exited(Ok(()), Some(Reason::Cancel)), Outcome::Succeeded);
        assert_eq!(exited(failed.clone(), Some(Reason::Cancel)), Outcome::Cancelled);
        assert_eq!(exited(failed, None), Outcome::Failed { exit: Exit::Code(1) });
    }
}
