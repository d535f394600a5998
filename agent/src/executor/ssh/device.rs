//! What the agent asks of a device beside the job itself: which attempts run there, and their end.

use std::time::Duration;

use pipelines::id::{AttemptId, JobId};
use pipelines::name::{DeviceName, PartitionName};
use pipelines::order::Order;
use pipelines::plan::Ssh;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::connection::{self, Connection, Reply};
use super::login::Login;
use crate::executor::script::quoted;

/// Functions that a device's shell carries out.
const REMOTE: &str = include_str!("remote.sh");

/// Takes a whole program from stdin and carries it out. One that a broken connection has cut off
/// lacks [`END`] and does nothing.
pub(super) const RECEIVE: &str = r##"p=$(cat); case $p in *"#garrison-end") eval "$p" ;; esac"##;

/// The last line of every program.
pub(super) const END: &str = "#garrison-end";

/// What the answers begin with.
pub(super) const ANSWER: &str = "garrison: ";

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long one may take before it is asked anew by another connection, if there is time for that.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// How long processes may take to end on SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what still runs.
const PAUSE: Duration = Duration::from_millis(100);

/// A device, and the connection to it.
pub(super) struct Device<'a> {
    target: &'a Ssh,
    login: Login,
    connection: Connection,
}

/// An attempt that runs on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// The name of its record.
    name: String,
    /// Its process group, which is its session too where the device can make one.
    pub(super) group: i32,
    /// When the group's leader was started, in the device's own words.
    start: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Connection(#[from] connection::Error),
    #[error("it did not answer in time")]
    Silent,
    #[error(
        "user {user} cannot become {target} there by sudo: {said}; have sudoers there allow it without \
         a password, such as `{user} ALL=({target}) NOPASSWD: ALL`"
    )]
    Sudo { user: String, target: String, said: String },
    #[error("it cannot do what the agent asks: {0}")]
    Failed(String),
    #[error("it answered '{0}', which is not understood; the user's shell must be a POSIX shell")]
    Answer(String),
    #[error("{count} processes of group {group} did not end on SIGKILL; see them on the device")]
    StillAlive { count: usize, group: i32 },
}

impl<'a> Device<'a> {
    /// Connects and logs in.
    pub(super) async fn connect(target: &'a Ssh, login: &Login) -> Result<Self, Error> {
        let connection = Connection::open(login).await?;
        Ok(Self { target, login: login.clone(), connection })
    }

    /// The same device once more, by a connection of its own.
    pub(super) async fn again(&self, login: &Login) -> Result<Device<'a>, Error> {
        Device::connect(self.target, login).await
    }

    /// Which boot of the device this is, by its kernel's word.
    pub(super) async fn boot_id(&self) -> Result<String, Error> {
        match &self.ask("boot").await?[..] {
            [boot] => Ok(boot.clone()),
            other => Err(Error::Answer(other.join(" "))),
        }
    }

    /// Carries out a shell `line` to its end, or until the device goes away.
    pub(super) async fn carry_out(&self, line: &str) -> Result<Reply, Error> {
        let deadline = Instant::now() + PATIENCE;
        self.by_shell(&format!("{line}\n{END}"), deadline).await
    }

    pub(super) fn name(&self) -> &DeviceName {
        &self.target.device
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The attempts of `order`'s job that run there, by their number.
    pub(super) async fn previous(&self, order: &Order) -> Result<Vec<(u32, Remote)>, Error> {
        let job = record_of(&order.partition, order.attempt.job);
        let mut answers = self.ask(&format!("previous {}", quoted(&job))).await?;
        match answers.pop() {
            Some(end) if end == "end" => {}
            other => return Err(Error::Answer(other.unwrap_or_default())),
        }
        answers.iter().map(|answer| previous(&job, answer)).collect()
    }

    /// Leaves word there that `attempt` runs as `group`.
    pub(super) async fn record(
        &self,
        order: &Order,
        group: i32,
        mark: Uuid,
    ) -> Result<Remote, Error> {
        let AttemptId { job, number } = order.attempt;
        let name = format!("{}.{number}", record_of(&order.partition, job));
        let answers = self.ask(&format!("record {} {group} {mark}", quoted(&name))).await?;
        match &answers[..] {
            [start] => Ok(Remote { name, group, start: start.clone() }),
            other => Err(Error::Answer(other.join(" "))),
        }
    }

    /// Ends what runs of `remote`, by force after `grace`, and removes its record; says how many
    /// processes there were. Connects anew if it must. Takes up to `grace` and a few seconds; an
    /// error means that something may still run.
    pub(super) async fn end(&mut self, remote: &Remote, grace: Duration) -> Result<usize, Error> {
        let kill_at = Instant::now() + grace;
        let deadline = kill_at + KILL_PATIENCE;
        let (mut most, mut signal) = (0, "TERM");
        loop {
            let count = self.signal(remote, signal, deadline).await?;
            most = most.max(count);
            if count == 0 {
                return Ok(most);
            }
            if Instant::now() > deadline {
                return Err(Error::StillAlive { count, group: remote.group });
            }
            sleep(PAUSE).await;
            signal = if Instant::now() >= kill_at { "KILL" } else { "0" };
        }
    }

    /// Takes leave.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    /// Sends `signal`; how many processes there were to get it.
    async fn signal(
        &mut self,
        remote: &Remote,
        signal: &str,
        deadline: Instant,
    ) -> Result<usize, Error> {
        let Remote { name, group, start } = remote;
        let call = format!("end {} {group} {} {signal}", quoted(name), quoted(start));
        let answers = self.insist(&call, deadline).await?;
        match &answers[..] {
            [count] => count.parse().map_err(|_| Error::Answer(count.clone())),
            other => Err(Error::Answer(other.join(" "))),
        }
    }

    async fn ask(&self, call: &str) -> Result<Vec<String>, Error> {
        self.ask_until(call, Instant::now() + PATIENCE).await
    }

    /// Asks, and once more by another connection if this one does not serve.
    async fn insist(&mut self, call: &str, deadline: Instant) -> Result<Vec<String>, Error> {
        let now = Instant::now();
        let patience = IMPATIENCE.min(deadline.saturating_duration_since(now) / 3);
        match self.ask_until(call, now + patience).await {
            Err(Error::Connection(_) | Error::Silent) => {}
            answered => return answered,
        }
        let connected = timeout_at(deadline, Connection::open(&self.login)).await;
        self.connection = connected.map_err(|_| Error::Silent)??;
        self.ask_until(call, deadline).await
    }

    async fn ask_until(&self, call: &str, deadline: Instant) -> Result<Vec<String>, Error> {
        match answers(self.by_shell(&format!("{REMOTE}{call}\n{END}"), deadline).await?) {
            Err(Error::Failed(said)) => Err(self.complaint(said)),
            answered => answered,
        }
    }

    /// Has a shell of the user that the job runs as carry out `program`.
    async fn by_shell(&self, program: &str, deadline: Instant) -> Result<Reply, Error> {
        let command = format!("exec {}/bin/sh -c '{RECEIVE}'", become_user(self.target));
        let asked = self.connection.run(&command, program.to_owned());
        Ok(timeout_at(deadline, asked).await.map_err(|_| Error::Silent)??)
    }

    /// What to say of a command that failed with these words.
    fn complaint(&self, said: String) -> Error {
        let user = self.target.user.clone();
        match &self.target.sudo {
            Some(target) if said.contains("sudo") => {
                Error::Sudo { user, target: target.clone(), said }
            }
            _ => Error::Failed(said),
        }
    }
}

/// What stands before a command that the job's user carries out; it ends with a space, or is empty.
pub(super) fn become_user(target: &Ssh) -> String {
    // A user's name has nothing in it that a shell knows.
    target.sudo.as_ref().map_or_else(String::new, |user| format!("sudo -n -H -u {user} -- "))
}

/// The part of a record's name that all attempts of a job share.
pub(super) fn record_of(partition: &PartitionName, job: JobId) -> String {
    format!("{partition}_{job}")
}

fn previous(job: &str, answer: &str) -> Result<(u32, Remote), Error> {
    let parse = || {
        let mut words = answer.split(' ');
        let number = words.next()?.parse().ok()?;
        let group = words.next().and_then(parse_group)?;
        let start = words.next()?.to_owned();
        Some((number, Remote { name: format!("{job}.{number}"), group, start }))
    };
    parse().ok_or_else(|| Error::Answer(answer.to_owned()))
}

/// A process group that may be signalled.
pub(super) fn parse_group(text: &str) -> Option<i32> {
    text.parse().ok().filter(|group| *group > 1)
}

fn answers(reply: Reply) -> Result<Vec<String>, Error> {
    let lines = reply.stdout.lines().filter_map(|line| line.strip_prefix(ANSWER));
    let answers: Vec<String> = lines.map(str::to_owned).collect();
    match reply.status {
        Some(0) if !answers.is_empty() => Ok(answers),
        Some(0) => Err(Error::Answer(reply.stdout)),
        Some(_) if !reply.stderr.is_empty() => Err(Error::Failed(reply.stderr)),
        Some(status) => Err(Error::Failed(format!("exit status {status}"))),
        None => Err(Error::Failed("ended by a signal".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(stdout: &str, stderr: &str, status: u32) -> Reply {
        Reply { stdout: stdout.into(), stderr: stderr.into(), status: Some(status) }
    }

    #[test]
    fn what_a_login_shell_prints_is_no_answer() {
        let said = reply("Welcome!\ngarrison: 7\n", "motd", 0);
        assert_eq!(answers(said).unwrap(), ["7"]);
        let error = answers(reply("Welcome!", "", 0)).unwrap_err();
        assert!(error.to_string().contains("'Welcome!'"));
        let error = answers(reply("", "no awk", 1)).unwrap_err();
        assert!(error.to_string().ends_with(": no awk"));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error() {
        let (number, remote) = previous("p_17.3", "2 4711 5-b").unwrap();
        assert_eq!((number, remote.group), (2, 4711));
        assert_eq!((&*remote.name, &*remote.start), ("p_17.3.2", "5-b"));
        for answer in ["", "2", "2 4711", "2 1 5-b", "2 -7 5-b", "x 4711 5-b"] {
            assert!(previous("p_17.3", answer).is_err(), "{answer}");
        }
    }
}
