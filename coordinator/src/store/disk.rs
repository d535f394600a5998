//! The disk under the journal: one directory of files, and no more than the journal needs of it.

use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// A directory of files, named without a path. A clone is the same directory.
pub trait Disk: Clone + Debug {
    /// An open file.
    type File: File;

    /// Names of the files in it, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Creates a file, or empties the one of that name. Its name is durable after [`Disk::sync`].
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Moves a file out of the way, into `archive`, durably.
    fn archive(&self, name: &str) -> io::Result<()>;
    /// Returns once the names of created and removed files are durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. Offsets and lengths are bytes.
pub trait File: Debug {
    /// Its length, reserved space included.
    fn size(&self) -> io::Result<u64>;
    /// Reads into `buffer` from `offset` on; returns how many bytes, 0 at the end.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes sure that writes to these bytes will find space; where nothing was written they read
    /// as zeros.
    fn reserve(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Sets the length.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Returns once everything written is durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

/// Whether an error says that there is no space, or none for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that may still be written to the file system that holds `path`.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Makes the names in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Opens the directory, and creates it if it is missing; its parent must exist.
    pub fn open(path: PathBuf) -> io::Result<Directory> {
        match fs::create_dir(&path) {
            Ok(()) => sync_directory(path.parent().unwrap_or(Path::new("/")))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Directory { path })
    }
}

impl Disk for Directory {
    type File = fs::File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<fs::File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).open(self.path.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn archive(&self, name: &str) -> io::Result<()> {
        let archive = Directory::open(self.path.join("archive"))?;
        fs::rename(self.path.join(name), archive.path.join(name))?;
        archive.sync()?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        let signed = |n: u64| i64::try_from(n).map_err(|_| io::ErrorKind::FileTooLarge);
        match fallocate(self, FallocateFlags::empty(), signed(offset)?, signed(length)?) {
            Ok(()) => Ok(()),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => write_zeros(self, offset, length),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Reserves where the file system has no call for it.
fn write_zeros(file: &fs::File, offset: u64, length: u64) -> io::Result<()> {
    let zeros = [0; 16 << 10];
    let end = offset + length;
    let mut at = offset;
    while at < end {
        let n = zeros.len().min((end - at) as usize);
        file.write_all_at(&zeros[..n], at)?;
        at += n as u64;
    }
    Ok(())
}
