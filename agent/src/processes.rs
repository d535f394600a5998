//! Finding and ending the processes of one attempt, by what the kernel says about them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Environment variable that carries an attempt's mark.
pub const MARK: &str = "GARRISON_MARK";

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// What tells an attempt's processes from all others of the host.
#[derive(Debug, Clone)]
pub struct Owned {
    mark: Uuid,
    root: Option<Pid>,
    group: Option<(Pid, Pid)>,
}

/// Processes that could not be ended in time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `/proc` cannot be read.
    #[error("cannot look for processes in /proc: {0}")]
    Proc(#[from] io::Error),
    /// They live on, such as in an uninterruptible wait or as another user.
    #[error("processes {0:?} did not end on SIGKILL")]
    StillAlive(Vec<i32>),
}

impl Owned {
    /// Those with `mark` in the environment that they were started with.
    pub fn marked(mark: Uuid) -> Self {
        Self { mark, root: None, group: None }
    }

    /// Also those that descend from this process, which is their subreaper.
    #[must_use]
    pub fn and_descendants(self) -> Self {
        Self { root: Some(Pid::this()), ..self }
    }

    /// Also those in process group `group` of `session`. Both numbers stay taken while one of
    /// the processes lives.
    #[must_use]
    pub fn and_group(self, group: i32, session: i32) -> Self {
        Self { group: Some((Pid::from_raw(group), Pid::from_raw(session))), ..self }
    }

    /// Sends `signal` to all of them that live.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(&self.living()?, signal);
        Ok(())
    }

    /// Ends them with SIGKILL, until none is left or `patience` is over; says how many there were.
    pub async fn end(&self, patience: Duration) -> Result<usize, Error> {
        let deadline = Instant::now() + patience;
        let mut ended = HashSet::new();
        let mut empty_looks = 0;
        loop {
            let living = self.living()?;
            // A process that is just being started may not have its environment yet.
            empty_looks = if living.is_empty() { empty_looks + 1 } else { 0 };
            if empty_looks == 2 {
                return Ok(ended.len());
            }
            if Instant::now() > deadline {
                return Err(Error::StillAlive(living.into_iter().map(Pid::as_raw).collect()));
            }
            self.send(&living, Signal::SIGKILL);
            ended.extend(living);
            sleep(PAUSE).await;
        }
    }

    fn send(&self, pids: &[Pid], signal: Signal) {
        for pid in pids {
            match kill(*pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::warn!(%pid, %signal, %error, "cannot signal a process"),
            }
        }
    }

    /// Those that live, without zombies and without this process itself.
    fn living(&self) -> io::Result<Vec<Pid>> {
        let stats = all()?;
        let parents: HashMap<_, _> = stats.iter().map(|stat| (stat.pid, stat.parent)).collect();
        let owned = |stat: &&Stat| {
            stat.pid != Pid::this()
                && stat.lives
                && (self.group == Some((stat.group, stat.session))
                    || self.root.is_some_and(|root| descends(&parents, stat.pid, root))
                    || is_marked(stat.pid, self.mark))
        };
        Ok(stats.iter().filter(owned).map(|stat| stat.pid).collect())
    }
}

/// Lets the kernel end this process, and what it is going to start, where memory is short, as any other: what
/// protects the agent is not for its jobs.
pub fn give_up_protection() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    if fs::read_to_string(SCORE).is_ok_and(|score| score.starts_with('-')) {
        // To be ended sooner takes no right.
        let _ = fs::write(SCORE, "0");
    }
}

/// The children of a process, ended ones too.
pub fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    Ok(all()?.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid).collect())
}

/// The part of `/proc/PID/stat` that matters here.
struct Stat {
    pid: Pid,
    parent: Pid,
    group: Pid,
    session: Pid,
    lives: bool,
}

fn all() -> io::Result<Vec<Stat>> {
    let mut stats = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended since is none.
        let Ok(text) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        stats.extend(parse(Pid::from_raw(pid), &String::from_utf8_lossy(&text)));
    }
    Ok(stats)
}

/// Reads `PID (NAME) STATE PARENT GROUP SESSION …`, where the name may hold anything; see
/// proc_pid_stat(5).
fn parse(pid: Pid, text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || Some(Pid::from_raw(fields.next()?.parse().ok()?));
    Some(Stat { pid, parent: number()?, group: number()?, session: number()?, lives })
}

fn descends(parents: &HashMap<Pid, Pid>, pid: Pid, root: Pid) -> bool {
    let mut at = pid;
    // Pids taken anew while /proc was read could close a circle.
    for _ in 0..parents.len() {
        match parents.get(&at) {
            Some(parent) if *parent == root => return true,
            Some(parent) => at = *parent,
            None => return false,
        }
    }
    false
}

fn is_marked(pid: Pid, mark: Uuid) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let wanted = format!("{MARK}={mark}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn sleeper(mark: Uuid) -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").env_clear().env(MARK, mark.to_string()).process_group(0);
        command.spawn().unwrap()
    }

    #[tokio::test]
    async fn only_processes_with_the_mark_are_ended() {
        let (ours, others) = (Uuid::new_v4(), Uuid::new_v4());
        let (mut our, mut other) = (sleeper(ours), sleeper(others));
        assert_eq!(Owned::marked(ours).end(PATIENCE).await.unwrap(), 1);
        assert_eq!(our.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        Owned::marked(others).end(PATIENCE).await.unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn a_group_is_ended_only_in_its_session() {
        let mut child = sleeper(Uuid::new_v4());
        let group = child.id() as i32;
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        let owned = |session| Owned::marked(Uuid::new_v4()).and_group(group, session);
        assert_eq!(owned(session + 1).end(PATIENCE).await.unwrap(), 0);
        assert_eq!(owned(session).end(PATIENCE).await.unwrap(), 1);
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = parse(Pid::from_raw(7), "7 (a) b (c) S 1 2 3 0 -1").unwrap();
        assert_eq!([stat.parent, stat.group, stat.session].map(Pid::as_raw), [1, 2, 3]);
        assert!(stat.lives);
        assert!(!parse(Pid::from_raw(7), "7 (a) Z 1 2 3").unwrap().lives);
    }
}
