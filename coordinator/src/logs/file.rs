//! A log's file: where it is, and what it holds.
//!
//! Behind the last frame of a complete log stands its seal: a record with the JSON of its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use prost::Message;
use proto::framing;
use proto::log::Frame;
use sha2::{Digest, Sha256};

use super::Error;
use crate::store::reader::Reader;

/// How a seal's payload starts.
const SEAL_START: &[u8] = b"{\"length\":";

/// More than the bytes of any seal.
const SEAL_MAX: u64 = 256;

/// Where the log of `attempt` is.
pub(super) fn path(directory: &Path, attempt: AttemptId) -> PathBuf {
    let AttemptId { job, number } = attempt;
    directory.join(job.run.to_string()).join(format!("{}.{number}.log", job.index))
}

/// What a file holds before whatever a crash left behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Bytes of output.
    pub(super) written: u64,
    /// Bytes of the file up to the last frame's end.
    pub(super) size: u64,
    /// Over the output.
    pub(super) hash: Sha256,
    /// Whether the seal follows.
    pub(super) is_sealed: bool,
    /// Bytes of the file, with what a crash left behind.
    pub(super) length: u64,
}

/// Reads a whole file.
pub(super) fn find(path: &Path) -> Result<Found, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        file => file.map_err(read_error(path))?,
    };
    let length = file.metadata().map_err(read_error(path))?.len();
    let mut reader = Reader::new(file).map_err(read_error(path))?;
    let mut found = Found { length, ..Found::default() };
    while let Some(payload) = reader.next().map_err(read_error(path))? {
        if is_seal(payload) {
            found.is_sealed = true;
            break;
        }
        match Frame::decode(payload) {
            Ok(frame) if frame.offset == found.written => {
                found.written = frame.end();
                found.hash.update(&frame.data);
            }
            _ => break,
        }
        found.size = reader.offset();
    }
    Ok(found)
}

/// The seal of a log with that end, as it stands in the file.
pub(super) fn seal(end: &LogEnd) -> Vec<u8> {
    let mut seal = Vec::new();
    framing::append(&mut seal, &serde_json::to_vec(end).expect("an end has only string keys"));
    seal
}

/// Whether a record is a seal. As the start of a frame its first byte would be an unknown field.
pub(super) fn is_seal(payload: &[u8]) -> bool {
    payload.first() == SEAL_START.first()
}

/// Whether a file ends with a seal. Reads only its last bytes.
pub(super) fn is_sealed(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SEAL_MAX)))?;
    let mut tail = Vec::new();
    file.take(SEAL_MAX).read_to_end(&mut tail)?;
    let start = tail.windows(SEAL_START.len()).rposition(|window| window == SEAL_START);
    let record = start.and_then(|start| start.checked_sub(framing::HEADER));
    Ok(record.is_some_and(|at| matches!(framing::split(&tail[at..]), Ok((_, [])))))
}

pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Read { path: path.to_owned(), source: Arc::new(source) }
}
