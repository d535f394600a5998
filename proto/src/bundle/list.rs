//! What is in a bundle, without unpacking it.

use std::io::{self, Read};

use super::form::{Kind, Rules, head};
use super::read::Reader;
use super::{Error, Packed};
use crate::content::{Hash, Hasher};

/// A file or symlink of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What is at a path of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// Its length in bytes.
        size: u64,
        /// SHA-256 of its bytes.
        hash: Hash,
        /// Where in the bundle they begin.
        offset: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symlink.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

/// The files and symlinks of the bundle that `input` gives, by their paths, and the bundle itself. All of it is read.
///
/// # Errors
/// Everything that is not in canonical form.
pub fn list(input: impl Read) -> Result<(Vec<Listed>, Packed), Error> {
    let mut reader = Reader::new(input);
    let mut rules = Rules::default();
    let mut listed = Vec::new();
    while let Some(entry) = reader.entry()? {
        let kind = entry.kind()?;
        rules.admit(&entry.path, &kind)?;
        if head(&entry.path, &kind) != entry.head {
            return Err(reader.malformed());
        }
        let content = match kind {
            Kind::Directory => continue,
            Kind::Symlink { target } => Content::Symlink { target: target.to_owned() },
            Kind::File { size, executable } => {
                let offset = reader.position();
                let mut hasher = Hashing(Hasher::default());
                reader.content(size, &mut hasher, Error::Bundle)?;
                Content::File { size, hash: hasher.0.finish().0, offset, executable }
            }
        };
        listed.push(Listed { path: entry.path, content });
    }
    let files = listed.len() as u64;
    let (hash, size) = reader.finish();
    Ok((listed, Packed { hash, size, files }))
}

struct Hashing(Hasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
