//! A directory of one attempt on a file system in memory, for what must never reach a disk.
//!
//! It is named by the attempt's mark, which nobody can guess, so that whoever buries a dead runner
//! finds it without a note.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use uuid::Uuid;

/// Where it may be, the best first: the folder that must be there and in memory, and our own in it.
const ROOTS: [(&str, &str); 2] = [("/run", "garrison"), ("/dev/shm", "")];

/// The directory; removed with all in it when this is dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file system in memory can be written to.
    #[error(
        "neither /run nor /dev/shm is a tmpfs that the agent can write to, and a secret's file may \
         not rest on a disk: mount one, or take the secret without `as: file`"
    )]
    Nowhere,
    /// It could not be filled.
    #[error("cannot write secrets to {path}: {source}; see that the tmpfs there has room")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Directory {
    /// A new one, for this process's user alone.
    pub fn make(mark: Uuid) -> Result<Directory, Error> {
        let made = ROOTS.iter().find_map(|root| make_in(*root, mark));
        made.map(Directory).ok_or(Error::Nowhere)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory in it that everybody may look into who gets as far.
    pub fn open_folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        let made = fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
        made.map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

/// Writes a new file with these permissions, whatever the umask is.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Removes what a dead runner left of an attempt; fine if there is nothing.
pub fn remove(mark: Uuid) -> io::Result<()> {
    ROOTS.iter().try_for_each(|(root, own)| {
        match fs::remove_dir_all(path_in(Path::new(root), own, mark)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    })
}

fn make_in((root, own): (&str, &str), mark: Uuid) -> Option<PathBuf> {
    let root = Path::new(root);
    if statfs(root).ok()?.filesystem_type() != TMPFS_MAGIC {
        return None;
    }
    if !own.is_empty() {
        // Others may be there already, also those of other agents.
        let _ = DirBuilder::new().mode(0o711).create(root.join(own));
    }
    let path = path_in(root, own, mark);
    DirBuilder::new().mode(0o700).create(&path).ok()?;
    Some(path)
}

fn path_in(root: &Path, own: &str, mark: Uuid) -> PathBuf {
    root.join(own).join(format!("garrison-{mark}"))
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays is in memory only, and goes with the host's next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_memory_closed_and_gone_afterwards() {
        let mark = Uuid::new_v4();
        let directory = Directory::make(mark).unwrap();
        let path = directory.path().to_owned();
        assert_eq!(statfs(&path).unwrap().filesystem_type(), TMPFS_MAGIC);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let file = path.join("TOKEN");
        write(&file, b"hunter2", 0o600).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&file, b"hunter2", 0o600).is_err());
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_runner_left_is_found_by_its_mark() {
        let mark = Uuid::new_v4();
        let left = std::mem::ManuallyDrop::new(Directory::make(mark).unwrap());
        write(&left.path().join("TOKEN"), b"hunter2", 0o600).unwrap();
        remove(mark).unwrap();
        assert!(!left.path().exists());
        remove(mark).unwrap();
    }

    #[test]
    fn a_disk_is_no_place_for_it() {
        let disk = env!("CARGO_MANIFEST_DIR");
        assert_eq!(make_in((disk, ""), Uuid::new_v4()), None);
    }
}
