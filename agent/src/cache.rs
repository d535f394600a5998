//! What jobs keep on this host for later jobs of the same repository that name the same key.
//!
//! An entry is one file, named by the hash of partition, repository and key: a line with the SHA-256 of
//! what follows, and a bundle. Runners read and write entries side by side; who changes what there is
//! holds the lock of the folder, and who reads an entry holds that of the entry.
//!
//! Invariant: what has an entry's name is whole and durable, and is never changed.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pipelines::order::Order;
use proto::bundle::{self, Packed};
use proto::content;
use serde::{Deserialize, Serialize};

/// Most bytes of all entries, if nothing else is configured.
pub const BYTES: u64 = 10 << 30;

/// Bytes before the bundle: a hash in hex, and the line's end.
const HEAD: u64 = 65;

/// The cache of an agent; a clone is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Where the entries are; made with the first one.
    pub folder: PathBuf,
    /// Most bytes of all of them.
    pub bytes: u64,
}

/// The name of an entry, which may be there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

/// What came of looking for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its files are in place.
    Hit(Packed),
    /// There is none.
    Miss,
    /// There was one; it is removed.
    Damaged,
}

/// Why an entry could not be used or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its files cannot be packed or put in their places.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// Another job was faster.
    #[error("another job has stored something under this key meanwhile")]
    Exists,
    /// The agent's setting is too small.
    #[error("its {size} bytes do not fit into the {room} that other jobs leave of `cache_bytes`")]
    NoRoom {
        /// Bytes of the entry.
        size: u64,
        /// What is not in use of the setting.
        room: u64,
    },
}

impl Name {
    /// The entry of `key` for the repository of `order`, and for no other.
    pub(crate) fn of(order: &Order, key: &str) -> io::Result<Name> {
        let parts = [order.partition.as_str(), order.repository.as_str(), key];
        let (hash, _) = content::hash(serde_json::to_vec(&parts)?.as_slice())?;
        Ok(Name(hash.to_string()))
    }
}

impl Cache {
    /// Puts the files of an entry into the directory `into`, over what is there.
    ///
    /// # Errors
    /// Some of its files may be there then.
    pub(crate) fn restore(&self, name: &Name, into: &Path) -> Result<Found, Error> {
        let path = self.path(name);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Miss),
            file => file?,
        };
        // Until it is closed, nobody removes it for want of room.
        file.lock_shared()?;
        if !is_sound(&mut file)? {
            fs::remove_file(&path)?;
            return Ok(Found::Damaged);
        }
        file.seek(SeekFrom::Start(HEAD))?;
        let packed = bundle::unpack(BufReader::with_capacity(64 << 10, &file), into)?;
        // By this it is known what was used last.
        file.set_modified(SystemTime::now())?;
        Ok(Found::Hit(packed))
    }

    /// Keeps what `wanted` says of the files in `from` as an entry, which `unfinished` becomes, a path
    /// on the same file system; durable when it returns. None if there is no such file.
    ///
    /// # Errors
    /// Nothing of it is kept then.
    pub(crate) fn store(
        &self,
        name: &Name,
        from: &Path,
        wanted: impl Fn(&str) -> bool,
        unfinished: &Path,
    ) -> Result<Option<Packed>, Error> {
        let stored = match pack(from, wanted, unfinished) {
            Ok(Packed { files: 0, .. }) => Ok(None),
            Ok(packed) => self.publish(name, unfinished, &packed).map(|()| Some(packed)),
            Err(error) => Err(error.into()),
        };
        if !matches!(stored, Ok(Some(_))) {
            // Otherwise it goes with the attempt.
            let _ = fs::remove_file(unfinished);
        }
        stored
    }

    fn publish(&self, name: &Name, unfinished: &Path, packed: &Packed) -> Result<(), Error> {
        fs::create_dir_all(&self.folder)?;
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock()?;
        let path = self.path(name);
        if path.try_exists()? {
            return Err(Error::Exists);
        }
        self.make_room(HEAD + packed.size)?;
        fs::rename(unfinished, &path)?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    /// Removes what was used least recently, and is not in use, until `size` bytes fit.
    fn make_room(&self, size: u64) -> Result<(), Error> {
        let mut entries = self.entries()?;
        entries.sort_unstable();
        let mut taken: u64 = entries.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in entries {
            if taken.saturating_add(size) <= self.bytes || size > self.bytes {
                break;
            }
            let entry = File::open(&path)?;
            match entry.try_lock() {
                Ok(()) => {
                    fs::remove_file(&path)?;
                    taken -= length;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        let room = self.bytes.saturating_sub(taken);
        if size > room { Err(Error::NoRoom { size, room }) } else { Ok(()) }
    }

    /// When each entry was used last, its length, and where it is.
    fn entries(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() == "lock" {
                continue;
            }
            match entry.metadata() {
                // A reader found it damaged.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                about => {
                    let about = about?;
                    entries.push((about.modified()?, about.len(), entry.path()));
                }
            }
        }
        Ok(entries)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(&name.0)
    }
}

/// Whether an entry is as it was written.
fn is_sound(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    let (hash, _) = content::hash(file)?;
    Ok(head == format!("{hash}\n").as_bytes())
}

fn pack(
    from: &Path,
    wanted: impl Fn(&str) -> bool,
    unfinished: &Path,
) -> Result<Packed, bundle::Error> {
    let mut file = BufWriter::with_capacity(64 << 10, File::create(unfinished)?);
    file.write_all(&[0; HEAD as usize])?;
    let (packed, file) = bundle::pack(from, wanted, file)?;
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", packed.hash).as_bytes())?;
    file.sync_all()?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Host {
        dir: TempDir,
        cache: Cache,
    }

    impl Host {
        fn new(bytes: u64) -> Host {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("work")).unwrap();
            let cache = Cache { folder: dir.path().join("cache"), bytes };
            Host { dir, cache }
        }

        fn work(&self) -> PathBuf {
            self.dir.path().join("work")
        }

        /// Stores an entry of one file.
        fn store(&self, name: &str, text: &str) -> Result<Option<Packed>, Error> {
            fs::write(self.work().join("kept"), text).unwrap();
            let unfinished = self.dir.path().join("unfinished");
            let stored =
                self.cache.store(&named(name), &self.work(), |it| it == "kept", &unfinished);
            assert!(!unfinished.exists());
            stored
        }

        /// What an entry's file holds.
        fn restored(&self, name: &str) -> Option<String> {
            let into = tempfile::tempdir().unwrap();
            match self.cache.restore(&named(name), into.path()).unwrap() {
                Found::Hit(_) => Some(fs::read_to_string(into.path().join("kept")).unwrap()),
                Found::Miss => None,
                Found::Damaged => panic!("{name} is damaged"),
            }
        }
    }

    fn named(name: &str) -> Name {
        Name(name.repeat(64))
    }

    #[test]
    fn an_entry_comes_back_and_is_never_changed() {
        let host = Host::new(BYTES);
        assert_eq!(host.restored("a"), None);
        assert_eq!(host.store("a", "first").unwrap().unwrap().files, 1);
        assert!(matches!(host.store("a", "second"), Err(Error::Exists)));
        assert_eq!(host.restored("a").as_deref(), Some("first"));
        let nothing =
            host.cache.store(&named("b"), &host.work(), |_| false, &host.dir.path().join("x"));
        assert_eq!(nothing.unwrap(), None);
        assert!(!host.dir.path().join("x").exists());
        assert_eq!(host.restored("b"), None);
    }

    #[test]
    fn what_is_damaged_anywhere_is_a_miss_and_removed() {
        let host = Host::new(BYTES);
        host.store("a", "text").unwrap();
        let path = host.cache.path(&named("a"));
        let whole = fs::read(&path).unwrap();
        for at in [0, 64, 70, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let found = host.cache.restore(&named("a"), &host.work()).unwrap();
            assert_eq!(found, Found::Damaged, "{at}");
            assert!(!path.exists());
        }
        fs::write(&path, &whole[..10]).unwrap();
        assert_eq!(host.cache.restore(&named("a"), &host.work()).unwrap(), Found::Damaged);
        assert!(host.store("a", "again").unwrap().is_some());
    }

    #[test]
    fn what_was_used_least_recently_goes_first_and_nothing_that_is_in_use() {
        let host = Host::new(BYTES);
        host.store("a", "a").unwrap();
        let length = fs::metadata(host.cache.path(&named("a"))).unwrap().len();
        let cache = Cache { bytes: 3 * length, ..host.cache.clone() };
        let host = Host { cache, ..host };
        let pause = || std::thread::sleep(std::time::Duration::from_millis(15));
        for name in ["b", "c"] {
            pause();
            host.store(name, name).unwrap();
        }
        pause();
        assert_eq!(host.restored("a").as_deref(), Some("a"));
        host.store("d", "d").unwrap();
        assert_eq!(
            ["a", "b", "c", "d"].map(|it| host.restored(it).is_some()),
            [true, false, true, true]
        );

        let used = File::open(host.cache.path(&named("a"))).unwrap();
        used.lock_shared().unwrap();
        host.store("e", "e").unwrap();
        assert!(host.restored("a").is_some());
        let all: Vec<File> =
            host.cache.entries().unwrap().iter().map(|it| File::open(&it.2).unwrap()).collect();
        all.iter().for_each(|entry| entry.lock_shared().unwrap());
        assert!(matches!(host.store("f", "f"), Err(Error::NoRoom { room: 0, .. })));
    }

    #[test]
    fn partition_repository_and_key_name_an_entry() {
        let order = |partition: &str, repository: &str| Order {
            version: 1,
            attempt: pipelines::id::RunId(1).job(0).attempt(1),
            partition: partition.parse().unwrap(),
            pipeline: "deploy".parse().unwrap(),
            repository: repository.parse().unwrap(),
            commit: String::new(),
            reference: String::new(),
            job: serde_json::from_value(serde_json::json!({
                "name": "a", "partition": partition, "task": {"kind": "process"}, "run": [],
                "timeout_s": 1,
            }))
            .unwrap(),
            source: None,
            artifacts: Vec::new(),
            inventory: None,
        };
        let of = |partition, repository, key| Name::of(&order(partition, repository), key).unwrap();
        let name = of("fra", "infra", "roles");
        assert_eq!(name, of("fra", "infra", "roles"));
        for other in
            [of("muc", "infra", "roles"), of("fra", "other", "roles"), of("fra", "infra", "../x")]
        {
            assert_ne!(name, other);
            assert_eq!(other.0.len(), 64);
        }
    }

    #[test]
    fn what_can_never_fit_drives_nothing_out() {
        let host = Host::new(4096);
        host.store("a", "a").unwrap();
        assert!(matches!(host.store("b", &"b".repeat(5000)), Err(Error::NoRoom { .. })));
        assert!(host.restored("a").is_some());
    }
}
