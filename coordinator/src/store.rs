//! The store: the journal as the truth, and a view of it for queries.
//!
//! ```text
//! lock                                  held by the one coordinator; its pid, for people
//! journal/0000000000000001.log          batches from 1 on; closed at 64 MiB
//! journal/archive/                      closed segments that no start needs (option `archive`)
//! checkpoint/0000000000000042.checkpoint  all records as of batch 42; the newest two
//! view/                                 sled's files; may be deleted while nothing runs
//! view.state                            how the view was left
//! ```
//!
//! Invariant: a batch is applied to the view only after it is durable in the journal, so the view
//! holds nothing that the journal does not.

pub mod checkpoint;
pub mod disk;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod journal;
mod lock;
mod marker;
pub(crate) mod reader;
pub mod replay;
mod start;
pub mod view;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use coordinator_core::change::{Change, Snapshot};
use coordinator_core::event::{Event, Wall};

use self::disk::Directory;
use self::journal::{Epoch, Journal, Seq};
use self::lock::Lock;
use self::replay::Replayed;
use self::view::View;

/// How the store uses the disk. Sizes are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// See [`journal::Options`].
    pub journal: journal::Options,
    /// Below this much free space nothing is committed, so that the view, which cannot reserve
    /// space, still finds some. Default 64 MiB.
    pub headroom: u64,
    /// Memory for the view's cache. Default 32 MiB.
    pub cache: u64,
    /// Whether segments that no start needs any more are moved to `journal/archive`, from where
    /// they may be taken away. Otherwise all stay, which costs only space. Default no.
    pub archive: bool,
}

impl Default for Options {
    fn default() -> Self {
        let journal = journal::Options::default();
        Options { journal, headroom: 64 << 20, cache: 32 << 20, archive: false }
    }
}

/// Why the store could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no space. Nothing was changed; the same commit may be tried again.
    #[error(
        "no space is left in {}: free some, the coordinator goes on by itself",
        directory.display()
    )]
    Full {
        /// The data directory.
        directory: PathBuf,
    },
    /// The batch is too long. Nothing was changed; its parts can be committed one by one.
    #[error("{}", journal::Error::TooLong)]
    TooLong,
    /// Something failed that only a new start can mend. The process must end, and the last batch
    /// may or may not be there afterwards.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Another coordinator has the directory.
    #[error("{} is already in use by pid {pid}: stop that one first", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// Who.
        pid: String,
    },
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The journal.
    #[error(transparent)]
    Journal(journal::Error),
    /// The view.
    #[error(transparent)]
    View(#[from] view::Error),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A file of the store itself.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// The journal is gone or begins too late, and what is left cannot stand for it.
    #[error(
        "{}: {what}; restore the journal and the checkpoints together from a backup",
        directory.display()
    )]
    Incomplete {
        /// The data directory.
        directory: PathBuf,
        /// What is missing.
        what: String,
    },
}

/// The store, open. Dropped without [`Store::close`] it loses nothing, but the next start may
/// have more to read.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    options: Options,
    journal: Journal<Directory>,
    view: View,
    checkpointing: Option<Checkpointing>,
    /// Dropped last, after all that uses the directory.
    _lock: Lock,
}

/// A checkpoint being written on a thread of its own.
#[derive(Debug)]
struct Checkpointing {
    thread: JoinHandle<Result<Seq, checkpoint::Error>>,
    give_up: Arc<AtomicBool>,
}

impl Store {
    /// Opens the store in `directory`, which is created if it is missing, brings the view up to
    /// date or builds it anew, and returns what the core starts from at `now`.
    ///
    /// # Errors
    /// [`Error::InUse`], or [`Error::Failed`] with what to do.
    pub fn open(directory: &Path, options: Options, now: Wall) -> Result<(Store, Snapshot), Error> {
        let store = start::open(directory, options, start::View::Keep)?;
        let snapshot = store.view.snapshot(now).map_err(Failure::from)?;
        Ok((store, snapshot))
    }

    /// Deletes the view and builds it from the newest checkpoint and the journal; returns the
    /// last batch. No coordinator may be running on the directory.
    pub fn rebuild(directory: &Path, options: Options) -> Result<Seq, Error> {
        let store = start::open(directory, options, start::View::Rebuild)?;
        let last = store.journal.last();
        store.close()?;
        Ok(last)
    }

    /// Decides everything anew that the journal holds, and compares. No coordinator may be running
    /// on the directory.
    ///
    /// # Errors
    /// The first decision that is another now.
    pub fn replay(directory: &Path, options: Options) -> Result<Replayed, replay::Error> {
        replay::run(directory, options)
    }

    /// Makes a batch durable, then visible. Blocks for one write and one fdatasync.
    ///
    /// # Errors
    /// After [`Error::Full`] and [`Error::TooLong`] nothing was changed and the store can still
    /// be used. After [`Error::Failed`] the process must end.
    pub fn commit(
        &mut self,
        now: Wall,
        events: &[Event],
        changes: &[Change],
    ) -> Result<Seq, Error> {
        self.ready()?;
        let appended = self.journal.append(now, events, changes);
        let appended = appended.map_err(|error| self.refused(error))?;
        self.view.apply(appended.seq, changes).map_err(Failure::from)?;
        if appended.begun {
            self.start_checkpoint()?;
        }
        self.finish_checkpoint(thread::JoinHandle::is_finished)?;
        Ok(appended.seq)
    }

    /// Whether there is room for a commit.
    ///
    /// # Errors
    /// [`Error::Full`], or [`Error::Failed`] if the disk does not answer.
    pub fn ready(&self) -> Result<(), Error> {
        let free = disk::free(&self.directory).map_err(self.failure("look at", ""))?;
        if free < self.options.headroom {
            return Err(Error::Full { directory: self.directory.clone() });
        }
        Ok(())
    }

    /// A handle for queries.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The last batch; 0 before the first.
    pub fn last(&self) -> Seq {
        self.journal.last()
    }

    /// Which opening of the journal this is.
    pub fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    /// Where the journal lies, for a [`journal::Follower`] on another thread.
    pub fn journal(&self) -> Directory {
        self.journal.disk()
    }

    /// Closes the store: a last checkpoint if one is worth it, the view synced and marked clean.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish_checkpoint(|_| true)?;
        if self.checkpoint_is_due()? {
            self.start_checkpoint()?;
            self.finish_checkpoint(|_| true)?;
        }
        self.view.sync().map_err(Failure::from)?;
        marker::clean(&self.directory).map_err(self.failure("write", "view.state"))?;
        Ok(())
    }

    /// Begins a checkpoint if it is worth writing and none is being written.
    fn start_checkpoint(&mut self) -> Result<(), Failure> {
        if self.checkpointing.is_some() || !self.checkpoint_is_due()? {
            return Ok(());
        }
        let (view, directory) = (self.view.clone(), self.path("checkpoint"));
        let give_up = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn({
            let give_up = Arc::clone(&give_up);
            move || checkpoint::write(&view, &directory, &give_up)
        });
        let thread = thread.map_err(self.failure("start a thread for", "checkpoint"))?;
        self.checkpointing = Some(Checkpointing { thread, give_up });
        Ok(())
    }

    /// Whether the journal has grown by as much as a checkpoint is long since the last one was
    /// begun, and there is room for another. So all checkpoints together write no more than the
    /// journal, and a rebuild reads no more than twice the length of one.
    fn checkpoint_is_due(&self) -> Result<bool, Failure> {
        let newest = checkpoint::list(&self.path("checkpoint"))?.into_iter().next();
        let (seq, length) = match newest {
            Some((seq, path)) => {
                (seq, path.metadata().map_err(self.failure("look at", "checkpoint"))?.len())
            }
            None => (Seq(0), 0),
        };
        let grown = self.journal.bytes_after(seq).map_err(Failure::Journal)?;
        if self.journal.last() <= seq || grown < length {
            return Ok(false);
        }
        let free = disk::free(&self.directory).map_err(self.failure("look at", ""))?;
        let has_room = free.saturating_sub(length + grown) > self.options.headroom;
        if !has_room {
            tracing::warn!(free, "no space for a checkpoint: it is put off");
        }
        Ok(has_room)
    }

    /// Takes the result of a checkpoint if `ready`. One that failed is tried again with the next
    /// segment: nothing depends on it but the time of a rebuild.
    fn finish_checkpoint(
        &mut self,
        ready: impl Fn(&JoinHandle<Result<Seq, checkpoint::Error>>) -> bool,
    ) -> Result<(), Failure> {
        let Some(checkpointing) = self.checkpointing.take_if(|it| ready(&it.thread)) else {
            return Ok(());
        };
        match checkpointing.thread.join() {
            Ok(Ok(seq)) => tracing::debug!(seq = seq.0, "checkpoint written"),
            Ok(Err(error)) => tracing::warn!(%error, "checkpoint failed"),
            Err(_) => tracing::warn!("checkpoint failed: its thread panicked"),
        }
        self.archive()
    }

    /// Moves away the segments that no kept checkpoint needs.
    fn archive(&mut self) -> Result<(), Failure> {
        if !self.options.archive {
            return Ok(());
        }
        match checkpoint::list(&self.path("checkpoint"))?.as_slice() {
            [_, .., (oldest, _)] => self.journal.archive(*oldest).map_err(Failure::Journal),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn refused(&self, error: journal::Error) -> Error {
        match error {
            journal::Error::Full => Error::Full { directory: self.directory.clone() },
            journal::Error::TooLong => Error::TooLong,
            error => Error::Failed(Failure::Journal(error)),
        }
    }

    fn failure(&self, doing: &'static str, name: &str) -> impl FnOnce(io::Error) -> Failure {
        let path = self.path(name);
        move |source| Failure::Io { doing, path, source }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(Checkpointing { thread, give_up }) = self.checkpointing.take() {
            give_up.store(true, Ordering::Relaxed);
            // Its handle on the view must be gone before the directory is let go.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
