//! The agent's hold on a runner: to start one, to find one again, to follow it, to cancel it, and to
//! end it where it hangs.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent_core::lease::BootTime;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipelines::outcome::{Progress, Verdict};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval, timeout};

use super::control::{Connection, Report};
use super::handover::Handover;
use crate::attempt::{Attempt, Condition};
use crate::lease::Acknowledged;

/// Between two tries to reach a runner that is just starting or ending.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

/// Between two pings of a runner that is to end its job.
const PING: Duration = Duration::from_secs(1);

/// A runner that is to end its job and has shown no sign of life for this long hangs.
const SILENCE: Duration = Duration::from_secs(10);

/// The same for one that is known not to answer pings: it may be at work in silence.
const LONG_SILENCE: Duration = Duration::from_secs(60);

/// How runners are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program; best absolute.
    pub program: PathBuf,
    /// Its arguments; the attempt's directory follows them. A program that puts the runner into a
    /// unit of its own, such as `systemd-run --scope`, must pass stdin on.
    pub args: Vec<OsString>,
}

/// A runner in work. Dropping it leaves the runner alone.
#[derive(Debug)]
pub struct Handle {
    attempt: Attempt,
    /// None for a runner that another agent process started.
    child: Option<Child>,
    connection: Option<Connection>,
    /// What renews the attempt's lease; none without one.
    renewals: Option<Acknowledged>,
    cancel: bool,
    /// None as long as the job may go on.
    ending: Option<Ending>,
    started: bool,
    length: u64,
    over: bool,
}

/// Watches a runner that is to end its job.
#[derive(Debug)]
struct Ending {
    /// When it last said anything.
    heard: Instant,
    looks: Interval,
    pings: u64,
}

/// What came of listening to a runner.
enum Heard {
    Report(Report),
    /// Time passed.
    Nothing,
    /// There is no connection any more.
    Closed,
}

/// What a runner has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The job's program starts. Left out if it has ended before anybody could see it start.
    Started {
        /// Agent's wall clock, µs since 1970.
        at_us: u64,
    },
    /// There is more of the log.
    LogGrew {
        /// Bytes of output by now.
        length: u64,
    },
    /// It is to end its job ([`Handle::cancel`], [`Handle::expect_end`]) and shows no sign of life.
    /// Comes again as long as that is so; see [`Handle::kill`].
    Hung,
    /// The verdict is durable and the log complete. The last event.
    Finished(Box<Verdict>),
    /// There is no runner and no verdict. The last event; [`Attempt::condition`] tells whether the
    /// attempt may be spawned again (`Unstarted`) or must be buried (`Dead`).
    Died,
}

/// Why a runner could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the runner {program}: {source}")]
pub struct Error {
    /// [`Launcher::program`].
    program: PathBuf,
    /// Why not.
    source: io::Error,
}

/// A runner that waits for its handover. Dropped before it got one, it ends.
#[derive(Debug)]
pub struct Begun(Child);

impl Launcher {
    /// Begins a runner for the attempt whose directory is, or will be, `dir`. It looks at nothing
    /// before its handover, so the order may be written and the source be unpacked meanwhile.
    pub fn begin(&self, dir: &Path) -> Result<Begun, Error> {
        let child = Command::new(&self.program)
            .args(&self.args)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        child.map(Begun).map_err(|source| Error { program: self.program.clone(), source })
    }

    /// Begins a runner for `attempt` and hands `handover` to it.
    pub async fn spawn(&self, attempt: &Attempt, handover: &Handover) -> Result<Handle, Error> {
        Ok(self.begin(attempt.dir())?.hand_over(attempt, handover).await)
    }
}

impl Begun {
    /// Lets it start `attempt`. If it ends, or this future is dropped, before all was handed over,
    /// then it starts nothing. If another runner lives already, this one ends and the handle holds
    /// that one.
    pub async fn hand_over(mut self, attempt: &Attempt, handover: &Handover) -> Handle {
        if let Some(mut stdin) = self.0.stdin.take() {
            // A runner that ends early closes it; the handle then tells of its end.
            let _ = stdin.write_all(&handover.to_bytes()).await;
        }
        Handle { child: Some(self.0), ..Handle::attach(attempt) }
    }
}

impl Handle {
    /// The runner of `attempt` that is alive ([`Condition::Held`]). If there is none, the first
    /// event says so.
    pub fn attach(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.clone(),
            child: None,
            connection: None,
            renewals: None,
            cancel: false,
            ending: None,
            started: false,
            length: 0,
            over: false,
        }
    }

    /// The same, which tells the runner when the attempt's lease is renewed, if it has one.
    #[must_use]
    pub fn with_renewals(self, renewals: Option<Acknowledged>) -> Self {
        Self { renewals, ..self }
    }

    /// Its attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Waits for the next event; for ever behind the last one. May be dropped and called again
    /// without loss. A handle that is attached tells everything from the start in short: started
    /// once, and the log's length.
    pub async fn next(&mut self) -> Event {
        loop {
            if self.over {
                return pending().await;
            }
            if self.is_silent() {
                self.ending.iter_mut().for_each(|ending| ending.heard = Instant::now());
                return Event::Hung;
            }
            match self.listen().await {
                Heard::Report(report) => {
                    if let Some(event) = self.take(report) {
                        return event;
                    }
                }
                Heard::Nothing => {}
                Heard::Closed => {
                    if let Some(last) = self.reach().await {
                        self.over = true;
                        return last;
                    }
                }
            }
        }
    }

    /// Asks the runner to end the job. Goes out with [`Handle::next`], again and again until the
    /// runner has it; the answer is [`Event::Finished`], of whatever outcome.
    pub fn cancel(&mut self) {
        self.cancel = true;
        self.expect_end();
    }

    /// From now on the runner is to end the job, because it was asked to or by itself, and to show
    /// that it lives meanwhile: [`Event::Hung`] tells if it does not.
    pub fn expect_end(&mut self) {
        self.ending.get_or_insert_with(|| Ending {
            heard: Instant::now(),
            looks: interval(PING),
            pings: 0,
        });
    }

    /// Ends the runner itself by SIGKILL, for one that hangs. Its end is an event like any other;
    /// what it leaves is to be buried.
    pub fn kill(&self) {
        let id = self.attempt.id();
        let child = || self.child.as_ref().and_then(Child::id).map(u32::cast_signed);
        let runner = self.connection.as_ref().and_then(Connection::runner).or_else(child);
        // Only as long as its lock is held, its number is surely its own.
        let held = matches!(self.attempt.condition(), Ok(Condition::Held));
        match runner.filter(|_| held) {
            Some(pid) => match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::error!(attempt = %id, pid, %error, "cannot end the runner"),
            },
            None => tracing::warn!(attempt = %id, "its runner cannot be found"),
        }
    }

    fn is_silent(&self) -> bool {
        let knows_no_pings = self.connection.as_ref().is_some_and(Connection::knows_no_pings);
        let patience = if knows_no_pings { LONG_SILENCE } else { SILENCE };
        self.ending.as_ref().is_some_and(|ending| ending.heard.elapsed() >= patience)
    }

    /// Waits for what the runner says, or for the next ping.
    async fn listen(&mut self) -> Heard {
        let Some(connection) = &mut self.connection else { return Heard::Closed };
        if self.cancel {
            // If it cannot be written, the next read tells.
            let _ = connection.cancel().await;
        }
        let heard = tokio::select! {
            report = connection.next() => report.map_or(Heard::Closed, Heard::Report),
            base = renewed(&mut self.renewals), if connection.knows_leases() => {
                connection.renew(base).map_or(Heard::Closed, |()| Heard::Nothing)
            }
            number = due(&mut self.ending) => {
                connection.ping(number).map_or(Heard::Closed, |()| Heard::Nothing)
            }
        };
        match &heard {
            Heard::Report(report) => {
                self.ending.iter_mut().for_each(|ending| ending.heard = Instant::now());
                // Whatever an earlier connection was told of, this one has not heard.
                if let Report::Version(_) = report {
                    self.renewals.iter_mut().for_each(watch::Receiver::mark_changed);
                }
            }
            Heard::Nothing => {}
            Heard::Closed => self.connection = None,
        }
        heard
    }

    fn take(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::State(Progress::Running { started_us }) if !self.started => {
                self.started = true;
                Some(Event::Started { at_us: started_us })
            }
            Report::State(Progress::Finished(verdict)) => {
                self.over = true;
                Some(Event::Finished(verdict))
            }
            Report::Log(length) if length > self.length => {
                self.length = length;
                Some(Event::LogGrew { length })
            }
            Report::State(Progress::Accepted | Progress::Running { .. })
            | Report::Log(_)
            | Report::Version(_)
            | Report::Pong(_) => None,
        }
    }

    /// Connects, or says how the runner ended; neither, if it is silent for too long.
    async fn reach(&mut self) -> Option<Event> {
        let [mut pause, longest] = PAUSES;
        loop {
            if let Ok(connection) = Connection::open(self.attempt.dir()).await {
                self.connection = Some(connection);
                return None;
            }
            if let Some(last) = self.last_event() {
                return Some(last);
            }
            if self.is_silent() {
                return None;
            }
            // One that ended already has nothing more to say than its directory.
            let _ = timeout(pause, ended(&mut self.child)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// The last event, if there is no runner any more.
    fn last_event(&mut self) -> Option<Event> {
        // A child that lives may not have its lock yet.
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return None;
        }
        match self.attempt.condition() {
            Ok(Condition::Held) => None,
            Ok(Condition::Finished(verdict)) => Some(Event::Finished(verdict)),
            Ok(Condition::Unstarted | Condition::Dead) => Some(Event::Died),
            Err(error) => {
                tracing::error!(attempt = %self.attempt.id(), %error, "attempt cannot be read");
                Some(Event::Died)
            }
        }
    }
}

/// The next renewal; never without a lease.
async fn renewed(renewals: &mut Option<Acknowledged>) -> BootTime {
    if let Some(renewals) = renewals {
        while renewals.changed().await.is_ok() {
            if let Some(base) = *renewals.borrow_and_update() {
                return base;
            }
        }
    }
    pending().await
}

/// The number of the next ping; never as long as the job may go on.
async fn due(ending: &mut Option<Ending>) -> u64 {
    let Some(ending) = ending else { return pending().await };
    ending.looks.tick().await;
    ending.pings += 1;
    ending.pings
}

/// The end of a runner that this process started; never of another.
async fn ended(child: &mut Option<Child>) {
    match child {
        // After an error its directory tells.
        Some(child) => drop(child.wait().await),
        None => pending().await,
    }
}
