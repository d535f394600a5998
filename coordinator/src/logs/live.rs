//! What others may know of the logs being written: how far each is, and what failed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipelines::id::AttemptId;
use tokio::sync::{Notify, watch};

use super::Error;

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// Bytes of its file that hold whole frames; unknown as long as nobody wrote to it.
    pub(super) size: Option<u64>,
    /// Bytes of output that are durable.
    pub(super) durable: u64,
    /// How often it was begun again.
    pub(super) generation: u64,
    /// Whether no more will come.
    pub(super) complete: bool,
}

/// The logs that somebody writes or follows.
#[derive(Debug)]
pub(super) struct Live {
    logs: Mutex<BTreeMap<AttemptId, Entry>>,
    failure: watch::Sender<Option<Error>>,
}

#[derive(Debug)]
struct Entry {
    position: watch::Sender<Position>,
    /// Whether the writer has it.
    written: bool,
}

impl Default for Live {
    fn default() -> Self {
        Live { logs: Mutex::default(), failure: watch::Sender::new(None) }
    }
}

impl Live {
    /// The position of a log that the writer takes up, for it to change.
    pub(super) fn write(&self, attempt: AttemptId) -> watch::Sender<Position> {
        let mut logs = lock(&self.logs);
        let entry = logs.entry(attempt).or_insert_with(Entry::new);
        entry.written = true;
        entry.position.clone()
    }

    /// The writer lets go of a log.
    pub(super) fn release(&self, attempt: AttemptId) {
        let mut logs = lock(&self.logs);
        if let Some(entry) = logs.get_mut(&attempt) {
            entry.written = false;
            if entry.position.receiver_count() == 0 {
                logs.remove(&attempt);
            }
        }
    }

    /// The position of a log, to wait for its changes.
    pub(super) fn follow(&self, attempt: AttemptId) -> watch::Receiver<Position> {
        lock(&self.logs).entry(attempt).or_insert_with(Entry::new).position.subscribe()
    }

    /// A follower lets go of a log, just before its receiver is dropped.
    pub(super) fn unfollow(&self, attempt: AttemptId) {
        let mut logs = lock(&self.logs);
        let is_unused = |entry: &Entry| !entry.written && entry.position.receiver_count() == 1;
        if logs.get(&attempt).is_some_and(is_unused) {
            logs.remove(&attempt);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.logs).len()
    }

    /// Notes that the disk failed; the first failure stays.
    pub(super) fn fail(&self, reason: &str) -> Error {
        tracing::error!(reason, "log store failed");
        let error = Error::Failed(reason.into());
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            is_first
        });
        error
    }

    /// What failed, if anything did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.borrow().clone()
    }

    /// Waits for a failure.
    pub(super) async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                return Error::Closed;
            }
        }
    }
}

impl Entry {
    fn new() -> Entry {
        Entry { position: watch::Sender::new(Position::default()), written: false }
    }
}

/// What a session is still to be told: for each attempt the latest durable offset.
#[derive(Debug, Default)]
pub(super) struct Reports {
    durable: Mutex<BTreeMap<AttemptId, u64>>,
    changed: Notify,
}

impl Reports {
    pub(super) fn put(&self, attempt: AttemptId, durable: u64) {
        lock(&self.durable).insert(attempt, durable);
        self.changed.notify_one();
    }

    pub(super) fn forget(&self, attempt: AttemptId) {
        lock(&self.durable).remove(&attempt);
    }

    pub(super) async fn next(&self) -> (AttemptId, u64) {
        loop {
            let changed = self.changed.notified();
            if let Some(report) = lock(&self.durable).pop_first() {
                return report;
            }
            changed.await;
        }
    }
}

/// A panic elsewhere leaves these maps whole, as each is changed in one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
