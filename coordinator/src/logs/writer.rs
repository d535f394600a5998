//! The thread that writes all logs.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use super::file::{self, Found};
use super::frames::{Frames, New};
use super::live::{Live, Position, Reports};
use super::recent::Recent;
use super::request::{Answer, EndAnswer, Request};
use super::sync::{self, Unsynced};
use super::{Appended, Ended, Error, Options};
use crate::store::disk::{free, is_full};

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    directory: Arc<Path>,
    options: Options,
    logs: BTreeMap<AttemptId, Log>,
    /// All of `logs`.
    known: Recent,
    /// Those whose file is open.
    open: Recent,
    live: Arc<Live>,
    unsynced: Arc<Unsynced>,
}

/// What the writer knows of a log.
#[derive(Debug)]
struct Log {
    file: Option<Arc<File>>,
    /// Bytes of output.
    written: u64,
    /// Bytes of the file up to the last frame's end.
    size: u64,
    /// Over the output.
    hash: Sha256,
    /// Whether the seal stands in the file.
    is_sealed: bool,
    position: watch::Sender<Position>,
}

/// How a log compares with its end.
enum Compared {
    Same,
    Short,
    Different,
}

impl Writer {
    pub(super) fn new(
        directory: Arc<Path>,
        options: Options,
        live: Arc<Live>,
        unsynced: Arc<Unsynced>,
    ) -> Self {
        let (known, open) = (Recent::default(), Recent::default());
        Writer { directory, options, logs: BTreeMap::new(), known, open, live, unsynced }
    }

    /// The thread: carries out requests until it is told to close or nobody can ask any more.
    /// Whoever gave up waiting for an answer does not need it.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            for attempt in self.unsynced.take_complete() {
                self.forget_if_complete(attempt);
            }
            match request {
                Request::Append { attempt, frames, found, reports, answer } => {
                    let _ = answer.send(self.append(attempt, &frames, found, &reports));
                }
                Request::End { attempt, end, found, reports, answer } => {
                    self.end(attempt, &end, found, &reports, answer);
                }
                Request::Close => break,
            }
        }
        self.unsynced.close();
    }

    fn append(
        &mut self,
        attempt: AttemptId,
        frames: &Frames,
        found: Option<Found>,
        reports: &Arc<Reports>,
    ) -> Result<Answer<Appended>, Error> {
        let Some(mut log) = self.take(attempt, found)? else { return Ok(Answer::Unknown) };
        let appended = if frames.offset > log.written {
            Ok(Appended::Rewind(log.written))
        } else {
            let new = frames.after(log.written);
            let written = new.map_or(Ok(()), |new| self.write(attempt, &mut log, &new));
            written.map(|()| Appended::Written(log.written))
        };
        if let Ok(Appended::Written(_)) = appended {
            self.settle(attempt, &mut log, reports, None);
        }
        self.put(attempt, log);
        appended.map(Answer::Done)
    }

    fn end(
        &mut self,
        attempt: AttemptId,
        end: &LogEnd,
        found: Option<Found>,
        reports: &Arc<Reports>,
        answer: EndAnswer,
    ) {
        let mut log = match self.take(attempt, found) {
            Ok(Some(log)) => log,
            other => {
                let _ = answer.send(other.map(|_| Answer::Unknown));
                return;
            }
        };
        match log.compare(end) {
            Compared::Same => match self.seal(attempt, &mut log, end) {
                Ok(()) => self.settle(attempt, &mut log, reports, Some(answer)),
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            },
            Compared::Short => {
                let _ = answer.send(Ok(Answer::Done(Ended::Rewind(log.written))));
            }
            Compared::Different => {
                tracing::warn!(%attempt, "log differs from what its runner wrote: asked for again");
                let begun = self.begin_again(attempt, &mut log, reports);
                let _ = answer.send(begun.map(|()| Answer::Done(Ended::Rewind(0))));
            }
        }
        self.put(attempt, log);
    }

    /// Takes out a log to work on it; none if its file has to be read first.
    fn take(&mut self, attempt: AttemptId, found: Option<Found>) -> Result<Option<Log>, Error> {
        if let Some(failure) = self.live.failure() {
            return Err(failure);
        }
        if let Some(log) = self.logs.remove(&attempt) {
            return Ok(Some(log));
        }
        let path = file::path(&self.directory, attempt);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => {
                return Err(self.live.fail(&format!("look at {}: {error}", path.display())));
            }
        };
        // A file that changed since it was read has been written to meanwhile.
        let found = match found {
            None if length == 0 => Found::default(),
            Some(found) if found.length == length => found,
            _ => return Ok(None),
        };
        let position = self.live.write(attempt);
        position.send_modify(|position| position.size = Some(found.size));
        let Found { written, size, hash, is_sealed, .. } = found;
        let mut log = Log { file: None, written, size, hash, is_sealed, position };
        if length > size && !is_sealed {
            tracing::warn!(%attempt, bytes = length - size, "cut off a log's torn end");
            let cut = self.file(attempt, &mut log).and_then(|file| file.set_len(size));
            cut.map_err(|error| self.failed("truncate", attempt, &error))?;
        }
        Ok(Some(log))
    }

    /// Puts a log back as the one used last, and lets go of those that are too many.
    fn put(&mut self, attempt: AttemptId, log: Log) {
        if log.file.is_some() {
            self.open.touch(attempt);
        }
        self.known.touch(attempt);
        self.logs.insert(attempt, log);
        let least = self.open.oldest_first().next();
        if let Some(oldest) = least.filter(|_| self.open.len() > self.options.open_files) {
            self.open.remove(oldest);
            if let Some(log) = self.logs.get_mut(&oldest) {
                log.file = None;
            }
        }
        if self.known.len() > self.options.known {
            // Whoever uploads one that is not durable still has to be told.
            let oldest = self.known.oldest_first().find(|attempt| self.is_durable(*attempt));
            oldest.into_iter().for_each(|oldest| self.forget(oldest));
        }
    }

    fn is_durable(&self, attempt: AttemptId) -> bool {
        self.logs.get(&attempt).is_some_and(|log| log.position.borrow().durable == log.written)
    }

    fn forget_if_complete(&mut self, attempt: AttemptId) {
        if self.logs.get(&attempt).is_some_and(|log| log.position.borrow().complete) {
            self.forget(attempt);
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        self.logs.remove(&attempt);
        self.known.remove(attempt);
        self.open.remove(attempt);
        self.live.release(attempt);
    }

    fn write(&mut self, attempt: AttemptId, log: &mut Log, new: &New) -> Result<(), Error> {
        let free =
            free(&self.directory).map_err(|error| self.failed("look at", attempt, &error))?;
        if free < self.options.headroom {
            return Err(Error::Full);
        }
        let was_sealed = mem::take(&mut log.is_sealed);
        let written = self.file(attempt, log).and_then(|file| {
            if was_sealed {
                file.set_len(log.size)?;
            }
            file.write_all_at(&new.bytes, log.size).inspect_err(|_| {
                // What was written of it is overwritten later, but no reader should find it.
                let _ = file.set_len(log.size);
            })
        });
        match written {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Err(Error::Full),
            Err(error) => return Err(self.failed("write", attempt, &error)),
        }
        new.data.iter().for_each(|data| log.hash.update(data));
        log.written = new.end;
        log.size += new.bytes.len() as u64;
        log.position.send_modify(|position| {
            (position.size, position.complete) = (Some(log.size), false);
        });
        Ok(())
    }

    /// Marks a log as complete in its file.
    fn seal(&mut self, attempt: AttemptId, log: &mut Log, end: &LogEnd) -> Result<(), Error> {
        if log.is_sealed {
            return Ok(());
        }
        let seal = file::seal(end);
        let written = self.file(attempt, log).and_then(|file| file.write_all_at(&seal, log.size));
        match written {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Err(Error::Full),
            Err(error) => return Err(self.failed("write", attempt, &error)),
        }
        log.is_sealed = true;
        // To be synced, and only then complete. Without output nothing is lost with the seal.
        if log.written > 0 {
            log.position.send_modify(|position| position.durable = 0);
        }
        Ok(())
    }

    /// Has the log synced, unless it is durable already, and whoever waits for that told.
    fn settle(
        &mut self,
        attempt: AttemptId,
        log: &mut Log,
        reports: &Arc<Reports>,
        end: Option<EndAnswer>,
    ) {
        let Position { durable, generation, .. } = *log.position.borrow();
        if durable == log.written {
            reports.put(attempt, durable);
            if let Some(end) = end {
                log.position.send_modify(|position| position.complete = true);
                self.unsynced.put_complete(attempt);
                let _ = end.send(Ok(Answer::Done(Ended::Complete)));
            }
            return;
        }
        let file = match self.file(attempt, log) {
            Ok(file) => file,
            Err(error) => {
                self.failed("open", attempt, &error);
                return;
            }
        };
        let (reports, position) = (Arc::clone(reports), log.position.clone());
        let ends = end.into_iter().collect();
        let unsynced =
            sync::Log { file, written: log.written, generation, position, reports, ends };
        self.unsynced.put(attempt, unsynced);
    }

    /// Drops all of a log.
    fn begin_again(
        &mut self,
        attempt: AttemptId,
        log: &mut Log,
        reports: &Reports,
    ) -> Result<(), Error> {
        // First, so that nothing of the old is reported or followed any more.
        log.position.send_modify(|position| {
            let generation = position.generation + 1;
            *position = Position { size: Some(0), durable: 0, generation, complete: false };
            reports.forget(attempt);
        });
        (log.written, log.size, log.hash, log.is_sealed) = (0, 0, Sha256::new(), false);
        let emptied = self.file(attempt, log).and_then(|file| file.set_len(0));
        emptied.map_err(|error| self.failed("truncate", attempt, &error))
    }

    /// The log's file, opened, and created with its directory if it is missing.
    fn file(&mut self, attempt: AttemptId, log: &mut Log) -> io::Result<Arc<File>> {
        if let Some(file) = &log.file {
            return Ok(Arc::clone(file));
        }
        let path = file::path(&self.directory, attempt);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let opened = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(&self.directory);
                fs::create_dir_all(parent)?;
                let names = [parent.to_owned(), self.directory.to_path_buf()];
                self.unsynced.put_directories(names);
                options.create(true).open(&path)?
            }
            opened => opened?,
        };
        let file = Arc::new(opened);
        log.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn failed(&self, doing: &str, attempt: AttemptId, error: &io::Error) -> Error {
        let path = file::path(&self.directory, attempt);
        self.live.fail(&format!("{doing} {}: {error}", path.display()))
    }
}

impl Log {
    fn compare(&self, end: &LogEnd) -> Compared {
        if self.written < end.length {
            return Compared::Short;
        }
        let same = self.written == end.length && hex(&self.hash.clone().finalize()) == end.sha256;
        if same { Compared::Same } else { Compared::Different }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
