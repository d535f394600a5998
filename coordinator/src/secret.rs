//! Secrets that rest in files of this host: they are in their file and in this process, and in no
//! message.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Permission bits of everybody else.
const OTHERS: u32 = 0o007;

/// A secret's text. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the secret in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is open to everybody.
    #[error("{0} holds a secret, and everybody may read it: chmod o-rwx {0}")]
    Open(PathBuf),
    /// There is nothing in the file.
    #[error("{0} holds no secret: it is empty")]
    Empty(PathBuf),
}

/// The bytes of a file that nobody but its owner and group may be able to read.
pub(crate) fn read_closed(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(Error::Open(path.to_owned()));
    }
    fs::read(path).map_err(failed)
}

impl Secret {
    /// Reads a file whose text, without spaces around it, is a secret. Nobody but its owner and
    /// group may be able to read it.
    pub fn read(path: &Path) -> Result<Secret, Error> {
        let text = String::from_utf8(read_closed(path)?).map_err(|_| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
            Error::Read { path: path.to_owned(), source }
        })?;
        let secret = text.trim().to_owned();
        if secret.is_empty() {
            return Err(Error::Empty(path.to_owned()));
        }
        Ok(Secret(secret))
    }

    /// The text, for whoever must be shown it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_closed_to_others_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secret::read(&path)
        };
        let secret = read("hunter2\n", 0o640).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?}"), "…");
        assert!(matches!(read("hunter2", 0o644), Err(Error::Open(_))));
        assert!(matches!(read(" \n", 0o600), Err(Error::Empty(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Secret::read(&path), Err(Error::Read { .. })));
    }
}
