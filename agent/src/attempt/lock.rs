//! Who holds an attempt: an flock, which the kernel gives back when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Tries before a lock counts as taken; probes hold it for microseconds, a runner for its life.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(2);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes it for oneself; none if somebody else has it for longer than a probe.
    pub(super) fn acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { file })),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Keeps others from taking it; none if somebody has it.
    pub(super) fn probe(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started holds the file too, until
        // it executes its program.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}
