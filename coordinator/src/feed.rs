//! Reading the journal's changes as they are committed, for whoever tells them to others.
//!
//! Invariant: the driver never waits for a feed; a feed reads the disk by itself, on blocking
//! threads, and only what is durable. It lets a burst of commits go first: a job that starts now
//! shall not share its processor with those who tell of it.

pub mod cursor;
pub mod progress;

pub use ::events::pause;

use std::time::Duration;

use coordinator_core::event::Wall;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::store::disk::Directory;
use crate::store::journal::{Changed, Error, Follower, Seq};

/// Most batches that are read at a time, and after how many changes no more are.
const BATCHES: usize = 64;
const CHANGES: usize = 4096;

/// How long a feed that is not behind lets commits gather before it reads them.
const LINGER: Duration = Duration::from_millis(20);

/// How long until a journal that cannot be read is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Where feeds read.
#[derive(Debug, Clone)]
pub struct Source {
    journal: Directory,
    committed: watch::Receiver<Seq>,
}

/// Batches in order, from a given one on, without end.
#[derive(Debug)]
pub struct Feed {
    source: Source,
    next: Seq,
    follower: Option<Follower>,
    reading: Option<JoinHandle<Read>>,
    /// When commits have gathered for long enough; none while there are none.
    due: Option<Instant>,
    /// When a journal that could not be read is tried again.
    again: Option<Instant>,
}

/// What a blocking thread brought.
type Read = (Option<Follower>, Result<Vec<Changed>, Error>);

impl Source {
    /// The journal in this directory, and the last of its batches that is durable.
    pub fn new(journal: Directory, committed: watch::Receiver<Seq>) -> Source {
        Source { journal, committed }
    }

    /// The last batch that is durable.
    pub fn last(&self) -> Seq {
        *self.committed.borrow()
    }

    /// When a batch was committed; none if there is none of that number, or no more.
    pub async fn time_of(&self, seq: Seq) -> Result<Option<Wall>, Error> {
        let (journal, last) = (self.journal.clone(), self.last());
        blocking(move || {
            let mut follower = match Follower::open(journal, seq) {
                Err(Error::Missing { .. }) => return Ok(None),
                opened => opened?,
            };
            follower.extend(last)?;
            Ok(follower.next().transpose()?.map(|batch| batch.now))
        })
        .await
    }

    /// The first batch that is not older than `time`; the one to come if all are.
    pub async fn since(&self, time: Wall) -> Result<Seq, Error> {
        let (journal, last) = (self.journal.clone(), self.last());
        blocking(move || Follower::since(&journal, time, last)).await
    }
}

impl Feed {
    /// A feed that begins with the batch `next`.
    pub fn new(source: Source, next: Seq) -> Feed {
        Feed {
            source,
            next: next.max(Seq(1)),
            follower: None,
            reading: None,
            due: None,
            again: None,
        }
    }

    /// Some batches, once there are any; dropping the future loses none. Never ready again once
    /// the driver ended.
    pub async fn next(&mut self) -> Vec<Changed> {
        loop {
            if let Some(again) = self.again {
                sleep_until(again).await;
                self.again = None;
            }
            match self.read().await {
                Ok(batches) => {
                    if let Some(last) = batches.last() {
                        self.next = last.seq.next();
                        return batches;
                    }
                }
                Err(Error::Missing { seq, first }) => {
                    error!(%seq, %first, "batches were archived before they were told; skipped");
                    self.next = first;
                }
                Err(error) => {
                    error!(%error, "the journal cannot be read; trying again in 30 s");
                    self.again = Some(Instant::now() + AGAIN);
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Changed>, Error> {
        let next = self.next;
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                let waited = self.source.committed.wait_for(|last| *last >= next).await;
                let Ok(last) = waited.map(|last| *last) else {
                    return std::future::pending().await;
                };
                if last.0 - next.0 < BATCHES as u64 {
                    let due = *self.due.get_or_insert_with(|| Instant::now() + LINGER);
                    sleep_until(due).await;
                }
                self.due = None;
                let until = self.source.last();
                let (follower, journal) = (self.follower.take(), self.source.journal.clone());
                let read = move || read(follower, journal, next, until);
                none.insert(tokio::task::spawn_blocking(read))
            }
        };
        let (follower, batches) = done(reading.await).await;
        self.reading = None;
        self.follower = follower;
        batches
    }
}

/// Reads some batches from `next` on, and keeps the place if there was no error.
fn read(follower: Option<Follower>, journal: Directory, next: Seq, until: Seq) -> Read {
    let opened = follower.map_or_else(|| Follower::open(journal, next), Ok);
    let mut follower = match opened {
        Ok(follower) => follower,
        Err(error) => return (None, Err(error)),
    };
    match take(&mut follower, until) {
        Ok(batches) => (Some(follower), Ok(batches)),
        Err(error) => (None, Err(error)),
    }
}

fn take(follower: &mut Follower, until: Seq) -> Result<Vec<Changed>, Error> {
    follower.extend(until)?;
    let (mut batches, mut changes) = (Vec::new(), 0);
    while batches.len() < BATCHES && changes < CHANGES {
        let Some(batch) = follower.next().transpose()? else { break };
        changes += batch.changes.len();
        batches.push(batch);
    }
    Ok(batches)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    done(tokio::task::spawn_blocking(work).await).await
}

/// What a blocking thread brought; it brings nothing while the runtime stops, and then nobody waits.
async fn done<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(brought) => brought,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
