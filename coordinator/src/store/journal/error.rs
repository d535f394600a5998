//! What can go wrong with the journal, and what to do about it.

use std::io;

use super::{Seq, VERSION};
use crate::store::disk::is_full;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no space. Nothing was written; the same may be tried again.
    #[error("no space is left for the journal: free some, the coordinator goes on by itself")]
    Full,
    /// A batch does not fit into a record. Nothing was written.
    #[error("batch is longer than the {} MiB that a record can hold: commit fewer changes at a time", proto::framing::MAX_PAYLOAD >> 20)]
    TooLong,
    /// The disk failed. The process must end: what the disk holds is unknown until it starts again.
    #[error("could not {doing} {file}: {source}; check the disk, then start the coordinator again")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// On which file of the journal.
        file: String,
        /// How it failed.
        source: io::Error,
    },
    /// An earlier call failed.
    #[error("the journal failed before: start the coordinator again")]
    Broken,
    /// A record is damaged, and not by a crash while it was written.
    #[error(
        "journal segment {file} is damaged at byte {offset}: {what}; restore the file from a \
         backup, or move it and the segments after it away to lose what they hold"
    )]
    Damaged {
        /// The segment.
        file: String,
        /// Where the damage starts, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Batches are missing between two that are there.
    #[error(
        "journal segment {file} has batch {found} at byte {offset} where {expected} should be; \
         restore the missing segment or the file from a backup"
    )]
    Gap {
        /// The segment.
        file: String,
        /// Where the wrong batch starts, in bytes.
        offset: u64,
        /// The number after the batch before it.
        expected: Seq,
        /// The number found.
        found: Seq,
    },
    /// The version is not known to this build.
    #[error(
        "journal segment {file} was written by a newer garrison (format {version} at byte \
         {offset}, this one knows {VERSION}): upgrade"
    )]
    Newer {
        /// The segment.
        file: String,
        /// Where the batch starts, in bytes.
        offset: u64,
        /// Its version.
        version: u32,
    },
    /// The segment was archived or removed.
    #[error("batch {seq} is no longer in the journal, which begins at {first}")]
    Missing {
        /// The batch asked for.
        seq: Seq,
        /// The first that is there.
        first: Seq,
    },
}

pub(super) fn failed(doing: &'static str, file: &str) -> impl FnOnce(io::Error) -> Error {
    let file = file.to_owned();
    move |source| Error::Failed { doing, file, source }
}

pub(super) fn full_or_failed(doing: &'static str, file: &str) -> impl FnOnce(io::Error) -> Error {
    let failed = failed(doing, file);
    move |error| if is_full(&error) { Error::Full } else { failed(error) }
}
