//! `upgrade.json` in the state directory: which program runs this agent, and how the latest upgrade
//! ended.
//!
//! Whoever supervises the agent starts the installed program, which knows of a better one from here.
//! The installed program counts again as soon as its package brings another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use proto::content::{self, Hash};
use proto::v1::UpgradeReport;
use serde::{Deserialize, Serialize};

/// The version of [`Record`] that this build writes.
const VERSION: u32 = 1;

const FILE: &str = "upgrade.json";

/// The file's name of a program in its folder, and so of the agent's process.
const PROGRAM: &str = "garrison";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The program that the supervisor starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) installed: Option<Installed>,
    /// SHA-256 of the program that runs the agent instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<String>,
    /// The program that must show first that it can link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<Trial>,
    /// How the latest upgrade ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<Ended>,
}

/// The installed program as it was when another took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installed {
    pub(super) path: PathBuf,
    /// SHA-256.
    pub(super) program: String,
}

/// An upgrade that is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) number: u64,
    /// SHA-256.
    pub(super) program: String,
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) number: u64,
    /// Why the agent goes on as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

impl From<Ended> for UpgradeReport {
    fn from(ended: Ended) -> UpgradeReport {
        UpgradeReport { number: ended.number, failed: ended.failed }
    }
}

impl Record {
    /// The trial's end: the program is chosen, or the agent goes on as before.
    pub(super) fn end_trial(&mut self, failed: Option<String>) {
        let Some(Trial { number, program }) = self.trial.take() else { return };
        if failed.is_none() {
            self.chosen = Some(program);
        }
        self.ended = Some(Ended { number, failed });
    }
}

/// The record and the programs that it names, in a state directory.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    state: PathBuf,
}

impl Programs {
    pub(super) fn new(state: &Path) -> Programs {
        // As the kernel writes the path of the program that this process runs.
        Programs { state: fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()) }
    }

    /// Where the program of that hash is, or would be.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder().join(program).join(PROGRAM)
    }

    /// The hash of the program that this process runs, if it is one of these.
    pub(super) fn own(&self) -> Option<String> {
        let own = std::env::current_exe().ok()?;
        let hash = own.strip_prefix(self.folder()).ok()?.iter().next()?;
        Some(hash.to_str()?.to_owned())
    }

    /// The record; empty before the first upgrade.
    ///
    /// # Errors
    /// It cannot be read, or a newer build wrote it.
    pub(super) fn read(&self) -> io::Result<Record> {
        let text = match fs::read(self.state.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (installed, chosen, trial, ended) = Default::default();
                return Ok(Record { version: VERSION, installed, chosen, trial, ended });
            }
            text => text?,
        };
        let record: Record = serde_json::from_slice(&text)?;
        if record.version > VERSION {
            let text = format!("{FILE} has version {}, newer than this build", record.version);
            return Err(io::Error::other(text));
        }
        Ok(record)
    }

    /// Writes the record; durable when it returns.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let temporary = self.state.join("upgrade.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.state.join(FILE))?;
        File::open(&self.state)?.sync_all()
    }

    /// Keeps the program at `path` under its hash, executable; durable when it returns.
    pub(super) fn keep(&self, path: &Path, program: &Hash) -> io::Result<PathBuf> {
        let kept = self.path(program.as_str());
        let folder = self.folder().join(program.as_str());
        fs::create_dir_all(&folder)?;
        fs::rename(path, &kept)?;
        let file = OpenOptions::new().read(true).open(&kept)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        file.sync_all()?;
        File::open(&folder)?.sync_all()?;
        File::open(self.folder())?.sync_all()?;
        Ok(kept)
    }

    /// Whether the program is here and sound.
    pub(super) fn has(&self, program: &Hash) -> bool {
        let file = File::open(self.path(program.as_str()));
        file.and_then(content::hash).is_ok_and(|(found, _)| found == *program)
    }

    /// Removes all programs but those that the record names and the one that runs.
    pub(super) fn sweep(&self, record: &Record) {
        let own = self.own();
        let trial = record.trial.as_ref().map(|trial| &trial.program);
        let used = [own.as_ref(), record.chosen.as_ref(), trial];
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_used = used.iter().flatten().any(|used| name == used.as_str());
            if !is_used && let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(%error, path = %entry.path().display(), "cannot remove a program");
            }
        }
    }

    fn folder(&self) -> PathBuf {
        self.state.join("programs")
    }
}

/// The hash of the program that this process runs.
pub(super) fn running() -> io::Result<Hash> {
    Ok(content::hash(File::open("/proc/self/exe")?)?.0)
}
