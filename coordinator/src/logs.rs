//! The log store: the output of every attempt, in a file of its own.
//!
//! `<directory>/<run>/<job>.<attempt>.log` is a sequence of [`proto::log`] frames, as the agent
//! sent them, and once it is complete a record with its length and checksum. One thread writes all files, another syncs those that changed, at most every 100 ms
//! and all in one go; only then an agent hears that its output is durable. Followers see bytes as
//! soon as they are written. Offsets count bytes of output, not of the file.
//!
//! Invariant: a file holds whole frames without a gap up to what the writer knows of it; what a
//! crash left behind that is cut off when the attempt is next written to.

mod file;
mod frames;
mod live;
mod read;
mod recent;
mod request;
mod sync;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use tokio::sync::{mpsc, oneshot};

use self::file::Found;
use self::frames::Frames;
use self::live::{Live, Reports};
pub use self::read::{Chunk, Followed, Follower};
use self::request::{Answer, Request};
use self::sync::Unsynced;
use self::writer::Writer;

/// Requests that may wait for the writer: enough to keep it busy while sessions validate more;
/// each holds at most one message of frames.
const WAITING: usize = 64;

/// How the log store uses the system.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most files that are open for writing at a time. Default 256.
    pub open_files: usize,
    /// Most unfinished logs of which the state is kept in memory, about 500 bytes each; the file
    /// of any other is read again when it is written to. Default 16,384.
    pub known: usize,
    /// Shortest time between two rounds of syncing. Default 100 ms.
    pub sync_every: Duration,
    /// Below this much free space, in bytes, no output is taken, so that the journal does not run
    /// out of space because of it. Default 128 MiB, more than the store's own headroom.
    pub headroom: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            open_files: 256,
            known: 16 << 10,
            sync_every: Duration::from_millis(100),
            headroom: 128 << 20,
        }
    }
}

/// Why a log could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What came is not a sequence of frames; whoever sent it is at fault.
    #[error(transparent)]
    Frames(#[from] proto::log::Error),
    /// There is no space. Nothing was kept of what came; it may be sent again.
    #[error("no space is left for logs: free some, and the output is taken")]
    Full,
    /// The disk failed. The process must end: what the files hold is unknown.
    #[error("log store failed: {0}; check the disk, then start the coordinator again")]
    Failed(Arc<str>),
    /// A log could not be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// How it failed.
        source: Arc<io::Error>,
    },
    /// The log store was closed.
    #[error("the log store is closed")]
    Closed,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The log now reaches this far; [`Uploads::durable`] tells when that is durable.
    Written(u64),
    /// Output before the frames is missing: they were dropped. Send again from here.
    Rewind(u64),
}

/// What became of a log's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Length and checksum are right, and all is durable.
    Complete,
    /// Send again from here: the log is too short, or was dropped because it differs.
    Rewind(u64),
}

/// The log store itself; keep it until the end and close it.
#[derive(Debug)]
pub struct LogStore {
    logs: Logs,
    threads: [JoinHandle<()>; 2],
}

/// A handle on the log store. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Logs {
    directory: Arc<Path>,
    writer: mpsc::Sender<Request>,
    live: Arc<Live>,
    received: Arc<AtomicU64>,
}

/// One agent's session, as the log store sees it: what it uploads is reported to it.
#[derive(Debug, Clone)]
pub struct Uploads {
    logs: Logs,
    reports: Arc<Reports>,
}

impl LogStore {
    /// Opens the log store in `directory`, which is created if it is missing.
    pub fn open(directory: &Path, options: Options) -> io::Result<LogStore> {
        std::fs::create_dir_all(directory)?;
        let directory: Arc<Path> = directory.into();
        let live = Arc::new(Live::default());
        let opened = std::fs::File::open(&directory)?;
        let unsynced = Arc::new(Unsynced::new(Arc::clone(&live), opened));
        let (sender, requests) = mpsc::channel(WAITING);
        let writer = Writer::new(directory.clone(), options, Arc::clone(&live), unsynced.clone());
        let threads = [
            thread::Builder::new().name("log-writer".to_owned()).spawn(|| writer.run(requests))?,
            thread::Builder::new()
                .name("log-sync".to_owned())
                .spawn(move || unsynced.run(options.sync_every))?,
        ];
        Ok(LogStore {
            logs: Logs { directory, writer: sender, live, received: Arc::default() },
            threads,
        })
    }

    /// A handle on it.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// Returns once all that was written is durable; later requests are refused.
    pub async fn close(self) -> Result<(), Error> {
        let _ = self.logs.writer.send(Request::Close).await;
        let joined = tokio::task::spawn_blocking(move || self.threads.map(JoinHandle::join));
        let panicked = || Error::Failed("a thread panicked".into());
        for thread in joined.await.map_err(|_| panicked())? {
            thread.map_err(|_| panicked())?;
        }
        self.logs.live.failure().map_or(Ok(()), Err)
    }
}

impl Logs {
    /// A session of uploads.
    pub fn uploads(&self) -> Uploads {
        Uploads { logs: self.clone(), reports: Arc::new(Reports::default()) }
    }

    /// Bytes of frames that came since the start.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns when the disk failed: then the process must end.
    pub async fn failed(&self) -> Error {
        self.live.failed().await
    }

    /// Frames from output offset `offset` on, at least one if there is one, else about `limit`
    /// bytes. The first is cut so that it starts at `offset`.
    ///
    /// # Errors
    /// [`Error::Read`]. An attempt without a log has no frames.
    pub async fn read(
        &self,
        attempt: AttemptId,
        offset: u64,
        limit: usize,
    ) -> Result<Chunk, Error> {
        let path = file::path(&self.directory, attempt);
        blocking(move || read::chunk(&path, offset, limit)).await
    }

    /// Follows a log from output offset `offset` on, whether it exists yet or not. Also the way to
    /// read a long log in one go, see [`Follower::arrived`]: [`Logs::read`] looks for its offset
    /// from the start of the file each time.
    pub fn follow(&self, attempt: AttemptId, offset: u64) -> Follower {
        let path = file::path(&self.directory, attempt);
        Follower::new(attempt, path, offset, Arc::clone(&self.live))
    }

    /// Whether all output of an attempt is here, with the right length and checksum. Reads the
    /// last bytes of its file.
    pub fn is_complete(&self, attempt: AttemptId) -> bool {
        file::is_sealed(&file::path(&self.directory, attempt)).unwrap_or(false)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request,
    ) -> Result<T, Error> {
        let closed = || self.live.failure().unwrap_or(Error::Closed);
        let (sender, answer) = oneshot::channel();
        self.writer.send(request(sender)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// What the file of an attempt holds, read apart from the writer.
    async fn find(&self, attempt: AttemptId) -> Result<Found, Error> {
        let path = file::path(&self.directory, attempt);
        blocking(move || file::find(&path)).await
    }
}

impl Uploads {
    /// Appends frames that start at output offset `offset`. What the log has already is dropped.
    /// Cancel-safe: a call that was given up may still be carried out.
    ///
    /// # Errors
    /// [`Error::Frames`], [`Error::Full`], or [`Error::Failed`]; nothing was kept then.
    pub async fn append(
        &self,
        attempt: AttemptId,
        offset: u64,
        frames: Bytes,
    ) -> Result<Appended, Error> {
        self.logs.received.fetch_add(frames.len() as u64, Ordering::Relaxed);
        let frames = Frames::check(frames, offset)?;
        let mut found = None;
        loop {
            let (frames, reports) = (frames.clone(), Arc::clone(&self.reports));
            let request = |answer| Request::Append { attempt, frames, found, reports, answer };
            match self.logs.ask(request).await? {
                Answer::Done(appended) => return Ok(appended),
                Answer::Unknown => found = Some(self.logs.find(attempt).await?),
            }
        }
    }

    /// Compares a log with the end that its runner gave it; returns when that is durable.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub async fn end(&self, attempt: AttemptId, end: LogEnd) -> Result<Ended, Error> {
        let mut found = None;
        loop {
            let (end, reports) = (end.clone(), Arc::clone(&self.reports));
            let request = |answer| Request::End { attempt, end, found, reports, answer };
            match self.logs.ask(request).await? {
                Answer::Done(ended) => return Ok(ended),
                Answer::Unknown => found = Some(self.logs.find(attempt).await?),
            }
        }
    }

    /// Waits for output of this session to become durable: an attempt, and up to which offset.
    /// Only the latest offset of each attempt is kept for whoever asks late. Cancel-safe; one
    /// caller at a time.
    pub async fn durable(&self) -> (AttemptId, u64) {
        self.reports.next().await
    }
}

/// Runs blocking work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Closed))
}

#[cfg(test)]
mod tests;
