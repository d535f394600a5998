//! Content by its hash, as it rests on both sides: `<first 2 digits>/<hash>` in one directory.
//!
//! Invariant: what has its name is complete, durable, and was of that hash when it was written.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Where content is until all of it is there.
const UNFINISHED: &str = "unfinished";

/// SHA-256 of content, as 64 lower-case hex digits; safe as a file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(String);

/// A text that is no [`struct@Hash`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SHA-256 in hex")]
pub struct NoHash(String);

impl Hash {
    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the digits stand for.
    pub fn bytes(&self) -> [u8; 32] {
        let byte = |at: usize| u8::from_str_radix(&self.0[2 * at..2 * at + 2], 16);
        std::array::from_fn(|at| byte(at).expect("they are hex digits"))
    }
}

impl FromStr for Hash {
    type Err = NoHash;
    fn from_str(text: &str) -> Result<Self, NoHash> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hex) {
            return Ok(Hash(text.to_owned()));
        }
        Err(NoHash(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Counts and hashes bytes.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    sha256: Sha256,
    length: u64,
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hash, and how many bytes it is of.
    pub fn finish(self) -> (Hash, u64) {
        let digest = self.sha256.finalize();
        (Hash(digest.iter().map(|byte| format!("{byte:02x}")).collect()), self.length)
    }
}

/// The hash of all that `input` gives, and how many bytes that is.
pub fn hash(input: impl Read) -> io::Result<(Hash, u64)> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut hasher = Hasher::default();
    loop {
        let bytes = io::BufRead::fill_buf(&mut input)?;
        if bytes.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(bytes);
        let length = bytes.len();
        io::BufRead::consume(&mut input, length);
    }
}

/// A directory of content; a clone is the same directory. Only one process may use it.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Why content was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what was announced.
    #[error("content has the hash {found}, announced was {announced}")]
    Differs {
        /// What was announced.
        announced: Hash,
        /// What came.
        found: Hash,
    },
    /// The disk refused.
    #[error("content cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl Store {
    /// The store in `root`, which is made if it is missing; removes what a crash left unfinished.
    pub fn open(root: &Path) -> io::Result<Store> {
        let unfinished = root.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(unfinished)?;
        Ok(Store { root: root.to_owned() })
    }

    /// Where content of that hash is, if it is there.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        self.root.join(&hash.0[..2]).join(&hash.0)
    }

    /// Whether content of that hash is there.
    pub fn has(&self, hash: &Hash) -> bool {
        self.path(hash).is_file()
    }

    /// Notes that content is used now, for [`Store::make_room`].
    pub fn touch(&self, hash: &Hash) -> io::Result<()> {
        File::open(self.path(hash))?.set_modified(SystemTime::now())
    }

    /// Removes what was used least recently, but not `except`, until all of it has at most `most` bytes; how many
    /// files that were. Who has one open can read it to its end.
    pub fn make_room(&self, most: u64, except: &Hash) -> io::Result<usize> {
        let mut entries = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            if folder.file_name() == UNFINISHED {
                continue;
            }
            for entry in fs::read_dir(folder.path())? {
                let entry = entry?;
                if let Some(about) = or_gone(entry.metadata())? {
                    entries.push((about.modified()?, about.len(), entry.path()));
                }
            }
        }
        entries.sort_unstable();
        let mut taken: u64 = entries.iter().map(|(_, length, _)| length).sum();
        let mut removed = 0;
        for (_, length, path) in entries {
            if taken <= most {
                break;
            }
            if path != self.path(except) {
                removed += usize::from(or_gone(fs::remove_file(path))?.is_some());
                taken -= length;
            }
        }
        Ok(removed)
    }

    /// Reads content again, and removes it if its disk no longer gives what was written; whether it
    /// is there.
    pub fn check(&self, hash: &Hash) -> io::Result<bool> {
        let path = self.path(hash);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let sound = self::hash(file)?.0 == *hash;
        if !sound {
            fs::remove_file(&path)?;
        }
        Ok(sound)
    }

    /// Begins to take content.
    pub fn begin(&self) -> io::Result<Incoming> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let path = self.root.join(UNFINISHED).join(name);
        let file = File::create(&path)?;
        Ok(Incoming { file, unfinished: Unfinished(path), hasher: Hasher::default() })
    }

    /// Keeps content under its hash, durably; it may be there already.
    ///
    /// # Errors
    /// It is not what was `announced`.
    pub fn keep(&self, content: Incoming, announced: Option<&Hash>) -> Result<Hash, Error> {
        let Incoming { file, unfinished, hasher } = content;
        let (found, _) = hasher.finish();
        if let Some(announced) = announced
            && *announced != found
        {
            return Err(Error::Differs { announced: announced.clone(), found });
        }
        file.sync_all()?;
        let path = self.path(&found);
        let folder = self.root.join(&found.0[..2]);
        if !folder.exists() {
            fs::create_dir_all(&folder)?;
            File::open(&self.root)?.sync_all()?;
        }
        fs::rename(&unfinished.0, &path)?;
        File::open(&folder)?.sync_all()?;
        Ok(found)
    }
}

/// Content on its way into a [`Store`]; dropping it drops what came.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    unfinished: Unfinished,
    hasher: Hasher,
}

impl Incoming {
    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone if it was kept; else the next start removes what cannot be removed now.
        let _ = fs::remove_file(&self.0);
    }
}

/// None of what somebody else has removed.
fn or_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn incoming(store: &Store, bytes: &[u8]) -> Incoming {
        let mut incoming = store.begin().unwrap();
        incoming.write_all(bytes).unwrap();
        incoming
    }

    #[test]
    fn content_is_kept_under_its_hash() {
        let (_dir, store) = store();
        let hash = store.keep(incoming(&store, b"abc"), None).unwrap();
        assert!(hash.as_str().starts_with("ba7816bf8f01cfea"));
        assert_eq!(fs::read(store.path(&hash)).unwrap(), b"abc");
        assert!(store.has(&hash) && store.check(&hash).unwrap());
        store.keep(incoming(&store, b"abc"), Some(&hash)).unwrap();
    }

    #[test]
    fn what_differs_from_what_was_announced_leaves_nothing() {
        let (dir, store) = store();
        let (announced, _) = hash(&b"abc"[..]).unwrap();
        let error = store.keep(incoming(&store, b"abd"), Some(&announced)).unwrap_err();
        assert!(matches!(error, Error::Differs { .. }), "{error}");
        assert!(!store.has(&announced));
        assert_eq!(fs::read_dir(dir.path().join(UNFINISHED)).unwrap().count(), 0);
    }

    #[test]
    fn damaged_content_is_removed_when_it_is_checked() {
        let (_dir, store) = store();
        let hash = store.keep(incoming(&store, b"abc"), None).unwrap();
        fs::write(store.path(&hash), b"abX").unwrap();
        assert!(!store.check(&hash).unwrap());
        assert!(!store.has(&hash));
    }

    #[test]
    fn what_was_used_least_recently_makes_room() {
        let (_dir, store) = store();
        let [one, two, three] = [b"one", b"two", b"san"].map(|bytes| {
            let hash = store.keep(incoming(&store, bytes), None).unwrap();
            store.touch(&hash).unwrap();
            hash
        });
        let there = || [&one, &two, &three].map(|hash| store.has(hash));
        assert_eq!(store.make_room(9, &three).unwrap(), 0);
        store.touch(&one).unwrap();
        let mut open = File::open(store.path(&two)).unwrap();
        assert_eq!(store.make_room(8, &three).unwrap(), 1);
        assert_eq!(there(), [true, false, true]);
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "two");
        // What must not go stays, however little there may be.
        assert_eq!(store.make_room(0, &three).unwrap(), 1);
        assert_eq!(there(), [false, false, true]);
    }

    #[test]
    fn a_hash_is_64_digits_and_nothing_else() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(good.parse::<Hash>().unwrap().as_str(), good);
        for bad in ["", "../../etc/passwd", &good[1..], &good.to_uppercase()] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }
}
