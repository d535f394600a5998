//! Up to where a feed was told to others, in a small file: what comes after is told again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::disk::sync_directory;

/// The version of the file that this build writes.
const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone)]
pub struct Cursor {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content<T> {
    version: u32,
    #[serde(flatten)]
    place: T,
}

/// Why there is no cursor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} is not a cursor of this version; remove it to begin anew", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

impl Cursor {
    /// The cursor in the file `name` of `directory`, whatever that holds.
    pub fn in_file(directory: &Path, name: &str) -> Cursor {
        Cursor { path: directory.join(name) }
    }

    /// The cursor in the file `name` of `directory`, and where it stands; none if it was never
    /// written.
    pub fn open<T: DeserializeOwned>(
        directory: &Path,
        name: &str,
    ) -> Result<(Cursor, Option<T>), Error> {
        let cursor = Cursor::in_file(directory, name);
        let bytes = match fs::read(&cursor.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((cursor, None)),
            Err(error) => return Err(cursor.failed("read")(error)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(Content { version: VERSION, place }) => Ok((cursor, Some(place))),
            _ => Err(Error::Unreadable { path: cursor.path }),
        }
    }

    /// Sets it, durably. Blocks for two syncs.
    pub fn write<T: Serialize>(&self, place: &T) -> Result<(), Error> {
        self.replace(&encode(place)).map_err(self.failed("write"))
    }

    /// Sets it on a blocking thread.
    pub async fn save<T: Serialize>(&self, place: &T) -> Result<(), Error> {
        let (cursor, bytes) = (self.clone(), encode(place));
        let saved = tokio::task::spawn_blocking(move || cursor.replace(&bytes)).await;
        saved.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(self.failed("write"))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        sync_directory(self.path.parent().unwrap_or(Path::new("/")))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Io { doing, path, source }
    }
}

fn encode<T: Serialize>(place: &T) -> Vec<u8> {
    serde_json::to_vec(&Content { version: VERSION, place }).expect("a place has only string keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Place {
        seq: u64,
    }

    #[test]
    fn it_remembers_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Cursor::open::<Place>(folder.path(), "x.cursor").unwrap();
        assert_eq!(open().1, None);
        open().0.write(&Place { seq: 7 }).unwrap();
        assert_eq!(open().1, Some(Place { seq: 7 }));
        let text = fs::read_to_string(folder.path().join("x.cursor")).unwrap();
        assert_eq!(text, r#"{"version":1,"seq":7}"#);
    }

    #[test]
    fn other_files_are_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "42", r#"{"version":2,"seq":1}"#, r#"{"version":1}"#] {
            fs::write(folder.path().join("x.cursor"), text).unwrap();
            let error = Cursor::open::<Place>(folder.path(), "x.cursor").unwrap_err();
            assert!(error.to_string().contains("remove it to begin anew"), "{error}");
        }
    }
}
