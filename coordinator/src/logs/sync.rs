//! The thread that makes logs durable, in rounds, and reports it.
//!
//! Each file synced costs a commit of the file system's journal, so that a round with many files
//! rather syncs the whole file system once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::syncfs;
use pipelines::id::AttemptId;
use tokio::sync::watch;

use super::Ended;
use super::live::{Live, Position, Reports, lock};
use super::request::{Answer, EndAnswer};
use crate::store::disk::sync_directory;

/// Most files that are synced one by one.
const FEW: usize = 8;

/// Logs that changed since they were last synced.
#[derive(Debug)]
pub(super) struct Unsynced {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    live: Arc<Live>,
    /// Where all of them are; open from the start, so that no failed write goes unnoticed.
    directory: File,
}

#[derive(Debug, Default)]
struct Waiting {
    logs: BTreeMap<AttemptId, Log>,
    /// In which names were added.
    directories: BTreeSet<PathBuf>,
    /// Complete logs that the writer may let go of.
    complete: Vec<AttemptId>,
    closed: bool,
}

/// One log that changed.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) file: Arc<File>,
    /// Bytes of output in the file.
    pub(super) written: u64,
    /// Of which beginning of the log.
    pub(super) generation: u64,
    pub(super) position: watch::Sender<Position>,
    /// Who is told.
    pub(super) reports: Arc<Reports>,
    /// Who waits to hear that the log is complete.
    pub(super) ends: Vec<EndAnswer>,
}

impl Unsynced {
    pub(super) fn new(live: Arc<Live>, directory: File) -> Self {
        Unsynced { waiting: Mutex::default(), changed: Condvar::new(), live, directory }
    }

    /// Adds a log that changed; it replaces what waits for the same log.
    pub(super) fn put(&self, attempt: AttemptId, mut log: Log) {
        let mut waiting = lock(&self.waiting);
        if let Some(mut before) = waiting.logs.remove(&attempt) {
            if before.generation == log.generation {
                log.ends.append(&mut before.ends);
            } else {
                before.rewind();
            }
        }
        waiting.logs.insert(attempt, log);
        self.changed.notify_one();
    }

    /// Adds directories in which names were added.
    pub(super) fn put_directories(&self, directories: impl IntoIterator<Item = PathBuf>) {
        lock(&self.waiting).directories.extend(directories);
    }

    /// Notes a complete log that is durable.
    pub(super) fn put_complete(&self, attempt: AttemptId) {
        lock(&self.waiting).complete.push(attempt);
    }

    /// Logs that became complete since the last call.
    pub(super) fn take_complete(&self) -> Vec<AttemptId> {
        mem::take(&mut lock(&self.waiting).complete)
    }

    /// Lets the thread end after a last round.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_one();
    }

    /// The thread: rounds that begin at least `every` apart, until closed or the disk fails.
    pub(super) fn run(&self, every: Duration) {
        let mut begun: Option<Instant> = None;
        while self.wait() {
            if let Some(begun) = begun {
                thread::sleep(every.saturating_sub(begun.elapsed()));
            }
            begun = Some(Instant::now());
            let (logs, directories) = {
                let mut waiting = lock(&self.waiting);
                (mem::take(&mut waiting.logs), mem::take(&mut waiting.directories))
            };
            if let Err(error) = self.sync(&logs, &directories) {
                self.live.fail(&format!("sync: {error}"));
                return;
            }
            let complete: Vec<_> = logs.into_iter().filter_map(report).collect();
            lock(&self.waiting).complete.extend(complete);
        }
    }

    fn sync(
        &self,
        logs: &BTreeMap<AttemptId, Log>,
        directories: &BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        if logs.len() > FEW {
            return Ok(syncfs(&self.directory)?);
        }
        logs.values().try_for_each(|log| log.file.sync_data())?;
        // Longer paths first: a name is durable before the one that leads to it.
        directories.iter().rev().try_for_each(|directory| sync_directory(directory))
    }

    /// Waits for logs; false once closed and none is left.
    fn wait(&self) -> bool {
        let waiting = lock(&self.waiting);
        let is_idle = |waiting: &mut Waiting| waiting.logs.is_empty() && !waiting.closed;
        let waiting = self.changed.wait_while(waiting, is_idle);
        !waiting.unwrap_or_else(PoisonError::into_inner).logs.is_empty()
    }
}

impl Log {
    fn rewind(&mut self) {
        for end in self.ends.drain(..) {
            let _ = end.send(Ok(Answer::Done(Ended::Rewind(0))));
        }
    }
}

/// Tells everybody that a log is durable; returns it if it is complete.
fn report((attempt, mut log): (AttemptId, Log)) -> Option<AttemptId> {
    let (is_end, mut is_current) = (!log.ends.is_empty(), false);
    // Inside, so that a log that is begun again meanwhile is not reported as it was.
    log.position.send_if_modified(|position| {
        is_current = position.generation == log.generation;
        if is_current {
            position.durable = position.durable.max(log.written);
            position.complete |= is_end;
            log.reports.put(attempt, log.written);
        }
        is_current
    });
    if !is_current {
        log.rewind();
        return None;
    }
    for end in log.ends.drain(..) {
        let _ = end.send(Ok(Answer::Done(Ended::Complete)));
    }
    is_end.then_some(attempt)
}
