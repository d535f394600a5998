//! Checkpoints: all records of the view in one file, to build a view from without the whole
//! journal.
//!
//! A file is a sequence of framed JSON records: a header, a [`Change`] for every record, a footer.
//! It is written while batches go on being applied, so a record may be newer than the header's
//! batch, but never than the footer's: once the journal's batches up to the footer's are applied
//! to it, it is the state. The footer shows that the file is whole; the name appears only after
//! the file was synced.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coordinator_core::change::Change;
use proto::framing;
use serde::{Deserialize, Serialize};

use super::disk::sync_directory;
use super::journal::Seq;
use super::reader::Reader;
use super::view::{self, View};

/// The version that this build writes; it reads this one and all before it.
const VERSION: u32 = 1;

/// How many are kept.
const KEPT: usize = 2;

/// How many records the view takes at a time.
const LOADED: usize = 1000;

/// Why a checkpoint could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be reached.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// It is not whole.
    #[error("checkpoint {} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage starts, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The version is not known to this build.
    #[error("checkpoint {} was written by a newer garrison (format {version}): upgrade", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The view could not be read or written.
    #[error(transparent)]
    View(#[from] view::Error),
    /// The store was closed meanwhile.
    #[error("given up: the store is being closed")]
    GivenUp,
}

/// A whole checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    path: PathBuf,
    /// Everything up to this batch is in it.
    pub(super) seq: Seq,
    /// Nothing after this batch is in it.
    pub(super) through: Seq,
    records: u64,
}

/// The records around the changes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    Header { version: u32, seq: Seq },
    Footer { records: u64, through: Seq },
}

/// Writes a checkpoint of the view into `directory` and removes all but the newest two; returns
/// the batch that it begins with. Once `give_up` is set, it stops and leaves nothing.
pub(super) fn write(view: &View, directory: &Path, give_up: &AtomicBool) -> Result<Seq, Error> {
    let seq = view.applied()?;
    let path = directory.join(name(seq));
    let temporary = path.with_extension("tmp");
    let written = write_file(view, seq, &temporary, give_up).and_then(|()| {
        fs::rename(&temporary, &path).map_err(io_error("rename", &temporary))?;
        sync_directory(directory).map_err(io_error("sync", directory))
    });
    if written.is_err() {
        // What is left is removed at the next start at the latest.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    for (_, old) in list(directory)?.into_iter().skip(KEPT) {
        fs::remove_file(&old).map_err(io_error("remove", &old))?;
    }
    Ok(seq)
}

/// The checkpoints in `directory` by their batch, newest first, whole or not.
pub(super) fn list(directory: &Path) -> Result<Vec<(Seq, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let path = entry.map_err(io_error("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(Ok(seq)) = name.strip_suffix(".checkpoint").map(str::parse) {
            found.push((Seq(seq), path));
        }
    }
    found.sort();
    found.reverse();
    Ok(found)
}

/// Removes what checkpoints that were never finished left behind.
pub(super) fn remove_unfinished(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let path = entry.map_err(io_error("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

/// The newest whole checkpoint that reaches no further than the journal's last batch.
///
/// # Errors
/// [`Error::Newer`]; damaged ones are passed over.
pub(super) fn newest(directory: &Path, last: Seq) -> Result<Option<Checkpoint>, Error> {
    for (_, path) in list(directory)? {
        match verify(&path) {
            Ok(checkpoint) if checkpoint.through <= last => return Ok(Some(checkpoint)),
            Ok(checkpoint) => tracing::warn!(
                path = %path.display(), through = checkpoint.through.0, last = last.0,
                "checkpoint reaches further than the journal and is not used",
            ),
            Err(error @ Error::Newer { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "checkpoint is not used"),
        }
    }
    Ok(None)
}

impl Checkpoint {
    /// Puts its records into an empty view.
    pub(super) fn load(&self, view: &View) -> Result<(), Error> {
        view.begin(self.through)?;
        let mut reader = open(&self.path)?;
        payload(&mut reader, &self.path)?;
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..self.records {
            let offset = reader.offset();
            let read = serde_json::from_slice(payload(&mut reader, &self.path)?);
            changes.push(read.map_err(|error| damaged(&self.path, offset, error))?);
            if changes.len() == LOADED {
                view.load(&changes)?;
                changes.clear();
            }
        }
        Ok(view.apply(self.seq, &changes)?)
    }
}

fn name(seq: Seq) -> String {
    format!("{:016}.checkpoint", seq.0)
}

fn write_file(view: &View, seq: Seq, path: &Path, give_up: &AtomicBool) -> Result<(), Error> {
    let file = File::create(path).map_err(io_error("create", path))?;
    let mut file = BufWriter::with_capacity(256 << 10, file);
    let mut record = Vec::new();
    let mut put = |payload: &[u8]| {
        record.clear();
        framing::append(&mut record, payload);
        file.write_all(&record).map_err(io_error("write", path))
    };
    put(&json(&Bound::Header { version: VERSION, seq }))?;
    let mut records = 0;
    for change in view.records() {
        if give_up.load(Ordering::Relaxed) {
            return Err(Error::GivenUp);
        }
        put(&change?)?;
        records += 1;
    }
    put(&json(&Bound::Footer { records, through: view.begun()? }))?;
    let file = file.into_inner().map_err(|error| io_error("write", path)(error.into_error()))?;
    file.sync_all().map_err(io_error("sync", path))
}

/// Reads all of a checkpoint and checks that it is whole.
fn verify(path: &Path) -> Result<Checkpoint, Error> {
    let mut reader = open(path)?;
    let Some(Bound::Header { version, seq }) = bound(payload(&mut reader, path)?) else {
        return Err(damaged(path, 0, "its header is missing"));
    };
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), version });
    }
    let mut count = 0;
    loop {
        let offset = reader.offset();
        match bound(payload(&mut reader, path)?) {
            Some(Bound::Footer { records, through }) if records == count => {
                return Ok(Checkpoint { path: path.to_owned(), seq, through, records });
            }
            Some(_) => return Err(damaged(path, offset, "its footer does not fit")),
            None => count += 1,
        }
    }
}

fn open(path: &Path) -> Result<Reader<File>, Error> {
    let file = File::open(path).map_err(io_error("open", path))?;
    Reader::new(file).map_err(io_error("read", path))
}

fn payload<'a>(reader: &'a mut Reader<File>, path: &Path) -> Result<&'a [u8], Error> {
    let offset = reader.offset();
    let payload = reader.next().map_err(io_error("read", path))?;
    payload.ok_or_else(|| damaged(path, offset, "the record there is cut off or changed"))
}

/// Header or footer; none for a change.
fn bound(payload: &[u8]) -> Option<Bound> {
    let is_bound = payload.starts_with(b"{\"header\"") || payload.starts_with(b"{\"footer\"");
    if is_bound { serde_json::from_slice(payload).ok() } else { None }
}

fn json(bound: &Bound) -> Vec<u8> {
    serde_json::to_vec(bound).expect("a bound has only string keys")
}

fn damaged(path: &Path, offset: u64, what: impl ToString) -> Error {
    Error::Damaged { path: path.to_owned(), offset, what: what.to_string() }
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}
