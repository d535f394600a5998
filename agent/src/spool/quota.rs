//! How much output an agent keeps on its disk, and whether there is room for more.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

/// Bytes that one log may grow by before the whole spool is looked at again, so that all running
/// jobs together may go beyond [`Quota::agent`] by so much each.
const STRIDE: u64 = 4 << 20;

/// Once there was no room, for how long it is not looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// Limits in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Of one attempt's log.
    pub attempt: u64,
    /// Of all logs that the agent holds.
    pub agent: u64,
    /// What logs leave free on their disk, so that orders and verdicts find room.
    pub reserve: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { attempt: 1 << 30, agent: 8 << 30, reserve: 128 << 20 }
    }
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The attempt's quota is reached; it stays so.
    Attempt,
    /// The agent's is.
    Agent,
    /// The disk has no more than the reserve, or nothing.
    Disk,
}

/// Tells whether one log may grow.
#[derive(Debug)]
pub(super) struct Room {
    quota: Quota,
    /// Where the attempts are.
    root: PathBuf,
    /// Up to this size of the log there is room.
    granted: u64,
    refused: Option<(Full, Instant)>,
}

impl Room {
    /// For a log of an attempt under `root`.
    pub(super) fn new(quota: Quota, root: &Path) -> Self {
        Self { quota, root: root.to_owned(), granted: 0, refused: None }
    }

    /// Whether the log, of `size` bytes, may grow by `more`. What cannot be looked at does not
    /// speak against it: the write itself tells.
    pub(super) fn check(&mut self, size: u64, more: u64) -> Result<(), Full> {
        if let Some((full, since)) = self.refused
            && (full == Full::Attempt || since.elapsed() < PAUSE)
        {
            return Err(full);
        }
        if size + more > self.quota.attempt {
            return Err(self.refuse(Full::Attempt));
        }
        if size + more > self.granted {
            self.look()?;
            self.granted = size + STRIDE.max(more);
        }
        Ok(())
    }

    /// Notes that there is no room, by what a look or a write showed.
    pub(super) fn refuse(&mut self, full: Full) -> Full {
        (self.granted, self.refused) = (0, Some((full, Instant::now())));
        full
    }

    fn look(&mut self) -> Result<(), Full> {
        self.refused = None;
        if spooled(&self.root).is_ok_and(|bytes| bytes >= self.quota.agent) {
            return Err(self.refuse(Full::Agent));
        }
        let disk = statvfs(&self.root);
        let free = disk.map(|disk| disk.blocks_available() * disk.fragment_size());
        if free.is_ok_and(|free| free < self.quota.reserve) {
            return Err(self.refuse(Full::Disk));
        }
        Ok(())
    }
}

/// Bytes of all logs under `root`.
fn spooled(root: &Path) -> io::Result<u64> {
    let attempts = fs::read_dir(root)?.flatten();
    Ok(attempts.filter_map(|it| fs::metadata(it.path().join("log")).ok()).map(|it| it.len()).sum())
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Attempt => "the attempt's log quota was reached",
            Full::Agent => "the agent's log quota was reached",
            Full::Disk => "the agent's disk was full",
        })
    }
}
