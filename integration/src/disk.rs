//! A file system of a few megabytes, to be filled.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// A file system of its own, gone with this.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

/// What takes a disk's room, until it is dropped.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl SmallDisk {
    /// One of that size, such as `16m`.
    ///
    /// # Panics
    /// If nothing can be mounted: it takes root.
    pub fn mount(size: &str) -> SmallDisk {
        let dir = tempfile::Builder::new().prefix("garrison-").tempdir().expect("a folder");
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path());
        assert!(mount.status().is_ok_and(|it| it.success()), "mounting a tmpfs needs root");
        SmallDisk(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all of its room but `left` bytes, whatever others take meanwhile.
    ///
    /// # Panics
    /// If it is not a file system that can.
    pub fn fill(&self, left: u64) -> Ballast {
        let path = self.path().join("ballast");
        let file = File::create(&path).expect("a file");
        loop {
            let stat = statvfs(self.path()).expect("a file system says what it has");
            let free = stat.blocks_available() * stat.fragment_size();
            let size = i64::try_from(free.saturating_sub(left)).expect("a small disk");
            match fallocate(&file, FallocateFlags::empty(), 0, size.max(1)) {
                Ok(()) => return Ballast(path),
                // Somebody else was faster.
                Err(Errno::ENOSPC) if size > 0 => {}
                Err(Errno::ENOSPC) => return Ballast(path),
                Err(error) => panic!("cannot fill {}: {error}", path.display()),
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
