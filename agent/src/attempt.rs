//! One attempt's directory: everything that the agent's host knows about it.
//!
//! | file | holds |
//! |---|---|
//! | `order` | the order, exactly as it came; written last, so a directory without it is left over |
//! | `state` | what happened, append-only; see [`state`] |
//! | `log` | masked output; see [`crate::spool`] |
//! | `lock` | locked (flock) by the runner for as long as it lives |
//! | `control` | the runner's socket |
//! | `outputs` | what the script wrote as the job's outputs |
//! | `script` | what a process job or a container job runs |
//! | `runner.err` | what the runner itself wrote to stderr |
//! | `work/` | the job's working directory |
//! | `artifacts.tar` | what the job left; gone once the coordinator has it |
//!
//! Invariant: `started` is in `state` before any program starts, and only the holder of the lock
//! writes to `state` and `log`.

mod lock;
pub mod state;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_core::lease::BootTime;
use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::output::Outputs;

pub use lock::Lock;
use state::{LeaseBase, Record, State, StateWriter};

use crate::{clock, spool};

const ORDER: &str = "order";

/// A handle on the directory of one attempt; cheap to clone, holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    id: AttemptId,
    dir: PathBuf,
}

/// Who has an attempt in hand, as its directory tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Provably nothing was started and no runner lives: it may be spawned or concluded.
    Unstarted,
    /// A runner lives: attach to it.
    Held,
    /// It was started, and its runner is dead without a verdict: bury it.
    Dead,
    /// It ended.
    Finished(Box<Verdict>),
}

/// Why an attempt's directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was created before.
    #[error("attempt {0} exists already")]
    Exists(AttemptId),
    /// No order rests there, so no attempt does.
    #[error("{0} holds no order, so it is no attempt's directory")]
    NoOrder(PathBuf),
    /// The directory's name is no attempt's id.
    #[error(transparent)]
    Name(#[from] pipelines::id::Error),
    /// The state file cannot be read.
    #[error("{path}: {source}")]
    State {
        /// The state file.
        path: PathBuf,
        /// Why not.
        source: state::Error,
    },
    /// Its runner lives, and only the runner may do that.
    #[error("attempt {0} has a living runner; attach to it instead")]
    Alive(AttemptId),
    /// It was started, so its end cannot be declared.
    #[error("attempt {0} was started; bury it instead")]
    Started(AttemptId),
    /// It was never started.
    #[error("attempt {0} was never started; spawn or conclude it instead")]
    Unstarted(AttemptId),
}

impl Attempt {
    /// Makes the directory `root/ID` with `order`, its exact bytes. Durable when it returns; after
    /// a crash in between there is no attempt, after an error nothing of it.
    pub fn create(root: &Path, id: AttemptId, order: &[u8]) -> Result<Self, Error> {
        Self::create_leased(root, id, order, None)
    }

    /// [`Attempt::create`], for an order that may have a lease, which counts from `base`.
    pub fn create_leased(
        root: &Path,
        id: AttemptId,
        order: &[u8],
        base: Option<BootTime>,
    ) -> Result<Self, Error> {
        let attempt = Self { id, dir: Self::path(root, id) };
        attempt.make_dir(root)?;
        attempt.fill(order, base).map_err(|source| {
            // What is left of it would be no attempt, only in the way.
            let _ = force_remove(&attempt.dir);
            Error::Io { action: "write an order to", path: attempt.dir.clone(), source }
        })?;
        sync_dir(root).map_err(io_error("sync", root))?;
        Ok(attempt)
    }

    /// Where the directory of an attempt is, or would be.
    pub fn path(root: &Path, id: AttemptId) -> PathBuf {
        root.join(id.to_string())
    }

    /// The attempt in `dir`, whose name is its id.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let id = dir.file_name().unwrap_or_default().to_string_lossy().parse()?;
        let attempt = Self { id, dir: dir.to_owned() };
        match attempt.has_order()? {
            true => Ok(attempt),
            false => Err(Error::NoOrder(attempt.dir)),
        }
    }

    /// All attempts under `root`, by id, each durable; directories that a crash left without an order
    /// are removed, so this must not run beside [`Attempt::create`].
    pub fn all(root: &Path) -> Result<Vec<Self>, Error> {
        let entries = match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error("list", root))?,
        };
        let mut attempts = Vec::new();
        for entry in entries {
            let dir = entry.map_err(io_error("list", root))?.path();
            match Self::open(&dir) {
                Ok(attempt) => {
                    // A killed agent may have named the order and not synced the name.
                    sync_dir(&dir).map_err(io_error("sync", &dir))?;
                    attempts.push(attempt);
                }
                Err(Error::NoOrder(dir)) => force_remove(&dir).map_err(io_error("remove", &dir))?,
                Err(Error::Name(_)) => {
                    tracing::warn!(?dir, "is no attempt's directory; left alone");
                }
                Err(error) => return Err(error),
            }
        }
        sync_dir(root).map_err(io_error("sync", root))?;
        attempts.sort_by_key(|attempt| attempt.id);
        Ok(attempts)
    }

    /// Removes the directory and all in it. A crash in between leaves a left-over, no attempt.
    pub fn remove(self) -> Result<(), Error> {
        let remove = || {
            fs::remove_file(self.dir.join(ORDER))?;
            sync_dir(&self.dir)?;
            force_remove(&self.dir)
        };
        remove().map_err(io_error("remove", &self.dir))
    }

    /// The attempt's id.
    pub fn id(&self) -> AttemptId {
        self.id
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The job's working directory.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// What the job left for others, as long as the coordinator does not have it; see
    /// [`proto::bundle`].
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts.tar")
    }

    /// Empties the working directory. For an attempt that has not started.
    pub fn clear_work(&self) -> Result<(), Error> {
        let work = self.work();
        let clear = || match fs::read_dir(&work)?.next() {
            None => Ok(()),
            Some(_) => force_remove(&work).and_then(|()| fs::create_dir(&work)),
        };
        clear().map_err(io_error("empty", &work))
    }

    /// The log's file; see [`spool::Reader`].
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Where the runner's own stderr goes.
    pub fn runner_err(&self) -> PathBuf {
        self.dir.join("runner.err")
    }

    /// The order's exact bytes.
    pub fn order(&self) -> Result<Vec<u8>, Error> {
        let path = self.dir.join(ORDER);
        fs::read(&path).map_err(io_error("read", &path))
    }

    /// What has happened so far; what a crash cut off is left out.
    pub fn state(&self) -> Result<State, Error> {
        State::read(&self.state_path()).map_err(self.state_error())
    }

    /// Opens the state file for appending; for the holder of `_lock` only.
    pub fn state_writer(&self, _lock: &Lock) -> Result<StateWriter, Error> {
        StateWriter::open(&self.state_path()).map_err(self.state_error())
    }

    /// Takes the lock and with it the attempt; none if somebody else holds it.
    pub fn lock(&self) -> Result<Option<Lock>, Error> {
        Lock::acquire(&self.lock_path()).map_err(io_error("lock", &self.lock_path()))
    }

    /// Whether a runner lives; the lock, not a pid, tells.
    pub fn is_alive(&self) -> Result<bool, Error> {
        Ok(self.probe()?.is_none())
    }

    /// Who has it in hand; a verdict that is found is durable.
    pub fn condition(&self) -> Result<Condition, Error> {
        // Held while reading, so that no runner starts or ends between the two questions.
        let Some(_probe) = self.probe()? else { return Ok(Condition::Held) };
        let state = self.state()?;
        Ok(match (state.verdict, state.started) {
            (Some(verdict), _) => {
                self.sync_state()?;
                Condition::Finished(Box::new(verdict))
            }
            (None, Some(_)) => Condition::Dead,
            (None, None) => Condition::Unstarted,
        })
    }

    /// Ends an attempt that was never started, such as one that was cancelled or refused before;
    /// durable when it returns. One that has a verdict keeps it.
    pub fn conclude(&self, outcome: Outcome) -> Result<Verdict, Error> {
        let lock = self.lock()?.ok_or(Error::Alive(self.id))?;
        let state = self.state()?;
        if let Some(verdict) = state.verdict {
            self.sync_state()?;
            return Ok(verdict);
        }
        if state.started.is_some() {
            return Err(Error::Started(self.id));
        }
        self.finish(&lock, spool::no_output(), None, outcome)
    }

    /// Writes the verdict of an attempt whose log ended with `log`.
    pub(crate) fn finish(
        &self,
        lock: &Lock,
        log: pipelines::outcome::LogEnd,
        started_us: Option<u64>,
        outcome: Outcome,
    ) -> Result<Verdict, Error> {
        let finished_us = clock::wall_us();
        let (artifacts, outputs, recap) = (Vec::new(), Outputs::new(), None);
        let verdict = Verdict { outcome, started_us, finished_us, log, artifacts, outputs, recap };
        self.write_verdict(lock, verdict)
    }

    /// Writes the verdict; durable when it returns, and so must be what it names.
    pub(crate) fn write_verdict(&self, lock: &Lock, verdict: Verdict) -> Result<Verdict, Error> {
        self.state_writer(lock)?
            .append(&Record::Finished { verdict: verdict.clone() })
            .map_err(self.state_error())?;
        Ok(verdict)
    }

    fn make_dir(&self, root: &Path) -> Result<(), Error> {
        fs::create_dir_all(root).map_err(io_error("make", root))?;
        let make = || DirBuilder::new().mode(0o700).create(&self.dir);
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.has_order()? {
                    return Err(Error::Exists(self.id));
                }
                force_remove(&self.dir).and_then(|()| make())
            }
            made => made,
        }
        .map_err(io_error("make", &self.dir))
    }

    /// The order comes last: once it has its name, all else is in place.
    fn fill(&self, order: &[u8], base: Option<BootTime>) -> io::Result<()> {
        fs::create_dir(self.work())?;
        File::create(self.lock_path())?;
        File::create(self.log())?;
        let lease = match base {
            Some(base) => Some(LeaseBase { boot_id: clock::boot_id()?, at_us: base.0 }),
            None => None,
        };
        let (at_us, mark) = (clock::wall_us(), uuid::Uuid::new_v4());
        let accepted = Record::Accepted { at_us, mark, lease };
        state::create(&self.state_path(), &accepted)?;
        let unnamed = self.dir.join("order.tmp");
        let mut file = File::create(&unnamed)?;
        file.write_all(order)?;
        file.sync_all()?;
        fs::rename(&unnamed, self.dir.join(ORDER))?;
        sync_dir(&self.dir)
    }

    fn has_order(&self) -> Result<bool, Error> {
        self.dir.join(ORDER).try_exists().map_err(io_error("look into", &self.dir))
    }

    fn probe(&self) -> Result<Option<Lock>, Error> {
        Lock::probe(&self.lock_path()).map_err(io_error("probe", &self.lock_path()))
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    fn state_path(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A runner that was killed may have written its verdict and not synced it.
    fn sync_state(&self) -> Result<(), Error> {
        let path = self.state_path();
        File::open(&path).and_then(|file| file.sync_data()).map_err(io_error("sync", &path))
    }

    fn state_error(&self) -> impl FnOnce(state::Error) -> Error + use<> {
        let path = self.state_path();
        move |source| Error::State { path, source }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a tree, also one in which a job took write permission from its directories.
fn force_remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            permit(dir)?;
            fs::remove_dir_all(dir)
        }
        removed => removed,
    }
}

fn permit(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            permit(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pipelines::id::RunId;

    use super::*;

    fn id(number: u32) -> AttemptId {
        RunId(17).job(3).attempt(number)
    }

    #[test]
    fn an_order_comes_back_byte_for_byte_and_only_once() {
        let root = tempfile::tempdir().unwrap();
        let attempt = Attempt::create(root.path(), id(1), b"\0order\xff").unwrap();
        assert_eq!(attempt.order().unwrap(), b"\0order\xff");
        assert!(attempt.dir().ends_with("17.3.1"));
        assert!(matches!(Attempt::create(root.path(), id(1), b""), Err(Error::Exists(_))));
        assert_eq!(attempt.condition().unwrap(), Condition::Unstarted);
        assert_eq!(Attempt::open(attempt.dir()).unwrap(), attempt);
    }

    #[test]
    fn a_directory_without_an_order_is_removed_or_made_anew() {
        let root = tempfile::tempdir().unwrap();
        for number in [1, 2] {
            fs::create_dir_all(root.path().join(id(number).to_string()).join("work/deep")).unwrap();
        }
        fs::create_dir(root.path().join("lost+found")).unwrap();
        let made = Attempt::create(root.path(), id(2), b"o").unwrap();
        assert_eq!(Attempt::all(root.path()).unwrap(), [made]);
        assert!(!root.path().join("17.3.1").exists());
        assert!(root.path().join("lost+found").exists());
        assert_eq!(Attempt::all(&root.path().join("none")).unwrap(), []);
    }

    #[test]
    fn attempts_are_listed_by_number_and_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        for number in [10, 9] {
            Attempt::create(root.path(), id(number), b"o").unwrap();
        }
        let all = Attempt::all(root.path()).unwrap();
        assert_eq!(all.iter().map(Attempt::id).collect::<Vec<_>>(), [id(9), id(10)]);
        let locked = all[0].work().join("read-only");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("file"), "x").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
        all[0].clone().remove().unwrap();
        assert_eq!(Attempt::all(root.path()).unwrap(), all[1..]);
    }

    #[test]
    fn the_lock_tells_who_lives() {
        let root = tempfile::tempdir().unwrap();
        let attempt = Attempt::create(root.path(), id(1), b"o").unwrap();
        assert!(!attempt.is_alive().unwrap());
        let lock = attempt.lock().unwrap().unwrap();
        assert!(attempt.is_alive().unwrap());
        assert!(attempt.lock().unwrap().is_none());
        assert_eq!(attempt.condition().unwrap(), Condition::Held);
        drop(lock);
        assert!(!attempt.is_alive().unwrap());
    }

    #[test]
    fn an_unstarted_attempt_is_concluded_once() {
        let root = tempfile::tempdir().unwrap();
        let attempt = Attempt::create(root.path(), id(1), b"o").unwrap();
        let verdict = attempt.conclude(Outcome::Cancelled).unwrap();
        assert_eq!(verdict.started_us, None);
        assert_eq!(attempt.conclude(Outcome::TimedOut).unwrap(), verdict);
        assert_eq!(attempt.condition().unwrap(), Condition::Finished(Box::new(verdict)));
    }

    #[test]
    fn a_started_attempt_cannot_be_concluded() {
        let root = tempfile::tempdir().unwrap();
        let attempt = Attempt::create(root.path(), id(1), b"o").unwrap();
        let lock = attempt.lock().unwrap().unwrap();
        let started = Record::Started { at_us: 1, boot_id: "b".into() };
        attempt.state_writer(&lock).unwrap().append(&started).unwrap();
        assert!(matches!(attempt.conclude(Outcome::Cancelled), Err(Error::Alive(_))));
        drop(lock);
        assert_eq!(attempt.condition().unwrap(), Condition::Dead);
        assert!(matches!(attempt.conclude(Outcome::Cancelled), Err(Error::Started(_))));
    }
}
