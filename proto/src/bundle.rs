//! Bundles: source and artifacts as one canonical tar, known by its SHA-256.
//!
//! The same files give the same bytes: an uncompressed GNU tar with its paths in byte order, every
//! folder before what it holds, times and owners 0, modes 0644 or 0755. There are regular files,
//! directories, and symlinks that stay inside; everything else is refused with its path. Reading is
//! as strict as writing, so that a bundle which unpacks packs again to the same bytes.
//!
//! A symlink's target is relative and has its `..` at the front, no more of them than the link lies
//! deep. Since folders are never symlinks, no chain of links leads outside.

mod form;
mod list;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::PathBuf;

use crate::content::Hash;

pub use list::{Content, Listed, list};
pub use read::unpack;
pub use write::{Writer, pack};

/// Largest bundle, in bytes.
pub const MAX_SIZE: u64 = 1 << 30;

/// Most files, directories and symlinks of a bundle.
pub const MAX_ENTRIES: usize = 200_000;

/// Longest path and longest symlink target in a bundle, in bytes.
pub const MAX_PATH: usize = 1024;

/// A bundle that was written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// Its length in bytes.
    pub size: u64,
    /// How many files and symlinks are in it.
    pub files: u64,
}

/// Why there is no bundle, or none was unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something cannot stand in a bundle.
    #[error("{path}: {problem}")]
    Refused {
        /// Its path in the bundle.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("more than {MAX_ENTRIES} files")]
    TooMany,
    /// More than [`MAX_SIZE`].
    #[error("more than {} MiB", MAX_SIZE >> 20)]
    TooLarge,
    /// The bytes are no canonical tar.
    #[error("no bundle: byte {at} is not as it should be")]
    Malformed {
        /// Where the entry stands, in bytes from the start.
        at: u64,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The bundle itself cannot be read or written.
    #[error("bundle cannot be read or written: {0}")]
    Bundle(#[from] io::Error),
}

/// What is wrong with an entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Absolute, with `.`, `..`, NUL or an empty part.
    #[error("a path must be relative and hold neither `.` nor `..`")]
    Path,
    /// Longer than [`MAX_PATH`], or with a part of more than 255 bytes.
    #[error("its path is too long")]
    TooLong,
    /// No UTF-8.
    #[error("its name is not UTF-8: rename it")]
    NotUtf8,
    /// A symlink that leads, or could lead, outside.
    #[error(
        "a symlink to {0} does not stay inside: its target must be relative, with `..` only at the \
         front"
    )]
    Outside(String),
    /// A device, socket, pipe or hard link.
    #[error("it is neither a file, nor a directory, nor a symlink")]
    Kind,
    /// It stands twice, or not in its place.
    #[error("it stands twice, or out of order")]
    Order,
    /// What it lies in is no directory of the bundle.
    #[error("the directory that it lies in is missing")]
    Orphan,
    /// Where it is unpacked to there is a directory, or there is none where one should be.
    #[error("something of another kind is there already")]
    InTheWay,
}

fn refused(path: impl Into<String>, problem: Problem) -> Error {
    Error::Refused { path: path.into(), problem }
}

fn file_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}
