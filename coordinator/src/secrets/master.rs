//! The master key: 32 random bytes in a file that is closed to others.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret;
use crate::store::disk::sync_directory;

/// Length of the key, in bytes.
const LENGTH: usize = 32;

/// Stands before the key where its name is made of it.
const NAMED: &[u8] = b"garrison master key\0";

/// A master key. Its `Debug` shows its name alone.
pub(super) struct MasterKey {
    id: String,
    pub(super) key: LessSafeKey,
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file cannot be read, or is open to everybody.
    #[error(transparent)]
    File(#[from] secret::Error),
    /// The file holds something else.
    #[error(
        "{path} holds {length} bytes, and a master key has {LENGTH}: make one with 'head -c {LENGTH} \
         /dev/urandom', or put the right file there"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// How many bytes it holds.
        length: usize,
    },
    /// It cannot be made.
    #[error("cannot make the master key {path}: {source}")]
    Make {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Error::File(secret::Error::Read { source, .. }) => {
                source.kind() == io::ErrorKind::NotFound
            }
            Error::File(_) | Error::Length { .. } | Error::Make { .. } => false,
        }
    }
}

impl MasterKey {
    /// The key in a file.
    pub(super) fn read(path: &Path) -> Result<MasterKey, Error> {
        let bytes = Zeroizing::new(secret::read_closed(path)?);
        MasterKey::of(&bytes)
            .ok_or_else(|| Error::Length { path: path.to_owned(), length: bytes.len() })
    }

    /// Makes a key and its file; durable when it returns.
    pub(super) fn make(path: &Path) -> Result<MasterKey, Error> {
        let failed = |source| Error::Make { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new([0; LENGTH]);
        let random = SystemRandom::new().fill(&mut *bytes);
        random.map_err(|_| failed(io::Error::other("there are no random numbers")))?;
        write(path, &*bytes).map_err(failed)?;
        MasterKey::read(path)
    }

    /// What tells it from other keys.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn of(bytes: &[u8]) -> Option<MasterKey> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        let digest = Sha256::new().chain_update(NAMED).chain_update(bytes).finalize();
        let id = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(MasterKey { id, key })
    }
}

/// The file has its name only once it is whole.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unnamed = path.with_extension("new");
    // An earlier try may have left it.
    let _ = fs::remove_file(&unnamed);
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(0o600).open(&unnamed)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unnamed, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}
