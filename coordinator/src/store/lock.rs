//! One coordinator per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A coordinator that was killed just as it started a program leaves its lock with that for a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The data directory, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why the directory cannot be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// By the process with this id, if it could be read.
    InUse(String),
    /// The lock file cannot be opened.
    Io(io::Error),
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Lock, Refused> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(Refused::Io)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).map_err(Refused::Io)?;
                    return Err(Refused::InUse(holder.trim().to_owned()));
                }
                Err(TryLockError::Error(error)) => return Err(Refused::Io(error)),
            }
        }
        // Only for the message above: the lock itself is the kernel's.
        let name = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        name.map_err(Refused::Io)?;
        Ok(Lock { _file: file })
    }
}
