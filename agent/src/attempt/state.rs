//! The state file: what happened to an attempt, as appended records that survive a crash.
//!
//! A sequence of [`proto::framing`] records, each the JSON of one [`Record`] with a version.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use pipelines::outcome::{Progress, Verdict};
use proto::framing;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of [`Record`] that this build writes.
pub const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// The order is on disk.
    Accepted {
        /// Wall clock, µs since 1970.
        at_us: u64,
        /// Stands in the environment of the attempt's processes as `GARRISON_MARK`.
        mark: Uuid,
        /// From when a lease would count; none before the coordinator acknowledged anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<LeaseBase>,
    },
    /// The job's program may have been started from here on.
    Started {
        /// Wall clock, µs since 1970.
        at_us: u64,
        /// See [`crate::clock::boot_id`].
        boot_id: String,
    },
    /// Where the attempt can be found again without its runner.
    Noted {
        /// What the executor noted.
        note: Note,
    },
    /// It ended; nothing follows.
    Finished {
        /// How.
        verdict: Verdict,
    },
}

/// From when an attempt's lease counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseBase {
    /// See [`crate::clock::boot_id`].
    pub boot_id: String,
    /// µs of that boot; see [`crate::clock::boot_time`].
    pub at_us: u64,
}

/// What an executor needs to end a job whose runner died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The process group of the job's program, and the session of its runner.
    ProcessGroup {
        /// Process group.
        group: i32,
        /// Session; a number taken anew by others would have to be so for both.
        session: i32,
    },
    /// The job's container.
    Container {
        /// The engine's id.
        id: String,
    },
    /// A process group on a device.
    RemoteGroup {
        /// Process group on the device.
        group: i32,
    },
    /// Lines for the command line of a device, which are sent one after the other from here on.
    RemoteLines,
    /// The device is asked to reboot from here on.
    Reboot,
}

/// When and in which boot an attempt was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Wall clock, µs since 1970.
    pub at_us: u64,
    /// See [`crate::clock::boot_id`].
    pub boot_id: String,
}

/// All that a state file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Wall clock when the order was on disk, µs since 1970.
    pub accepted_us: u64,
    /// See [`Record::Accepted`].
    pub mark: Uuid,
    /// See [`Record::Accepted`].
    pub lease: Option<LeaseBase>,
    /// None as long as provably nothing was started.
    pub started: Option<Started>,
    /// In the order in which they were noted.
    pub notes: Vec<Note>,
    /// How it ended.
    pub verdict: Option<Verdict>,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A sound record holds something else.
    #[error("state record cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer build.
    #[error("state record has version {0}; this build knows up to {VERSION}: upgrade the agent")]
    Version(u32),
    /// The first record is missing.
    #[error("state does not begin with 'accepted'")]
    NotAccepted,
}

/// Appends to a state file.
#[derive(Debug)]
pub struct StateWriter {
    file: File,
    length: u64,
}

/// Bytes that each state file has on the disk from the start, so that a disk which the job has
/// filled still takes its verdict.
const RESERVED: i64 = 16 << 10;

/// Makes a state file with its first record; durable when it returns.
pub(super) fn create(path: &Path, accepted: &Record) -> io::Result<()> {
    let mut file = File::create(path)?;
    // Not every file system can.
    let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, RESERVED);
    file.write_all(&encode(accepted))?;
    file.sync_all()
}

impl State {
    /// Reads the file at `path`; a record that a crash cut off, and what follows it, is left out.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path)?;
        let mut records = framing::records(&bytes).map(decode);
        let Some(Record::Accepted { at_us: accepted_us, mark, lease }) =
            records.next().transpose()?
        else {
            return Err(Error::NotAccepted);
        };
        let (started, notes, verdict) = (None, Vec::new(), None);
        let mut state = Self { accepted_us, mark, lease, started, notes, verdict };
        for record in records {
            state.apply(record?);
        }
        Ok(state)
    }

    /// The same as the coordinator is told it.
    pub fn progress(&self) -> Progress {
        match (&self.verdict, &self.started) {
            (Some(verdict), _) => Progress::Finished(Box::new(verdict.clone())),
            (None, Some(started)) => Progress::Running { started_us: started.at_us },
            (None, None) => Progress::Accepted,
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { .. } => {}
            Record::Started { at_us, boot_id } => self.started = Some(Started { at_us, boot_id }),
            Record::Noted { note } => self.notes.push(note),
            // The first verdict stands: others may have heard of it.
            Record::Finished { verdict } => {
                self.verdict.get_or_insert(verdict);
            }
        }
    }
}

impl StateWriter {
    /// Opens the file at `path` behind its last sound record.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut records = framing::records(&bytes);
        records.by_ref().for_each(drop);
        let length = records.valid() as u64;
        if length < bytes.len() as u64 {
            file.set_len(length)?;
        }
        Ok(Self { file, length })
    }

    /// Appends `record`; durable when it returns. What was half written because of an error, such
    /// as a full disk, is taken back.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let bytes = encode(record);
        if let Err(error) = self.file.write_all(&bytes) {
            self.file.set_len(self.length)?;
            return Err(error.into());
        }
        self.file.sync_data()?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Versioned<R> {
    version: u32,
    #[serde(flatten)]
    record: R,
}

fn encode(record: &Record) -> Vec<u8> {
    let json = serde_json::to_vec(&Versioned { version: VERSION, record })
        .expect("a record has only string keys");
    let mut bytes = Vec::new();
    framing::append(&mut bytes, &json);
    bytes
}

fn decode(json: &[u8]) -> Result<Record, Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(json)?;
    if version > VERSION {
        return Err(Error::Version(version));
    }
    Ok(serde_json::from_slice::<Versioned<Record>>(json)?.record)
}

#[cfg(test)]
mod tests {
    use pipelines::outcome::{LogEnd, Outcome};

    use super::*;

    fn accepted() -> Record {
        Record::Accepted { at_us: 5, mark: Uuid::from_u128(7), lease: None }
    }

    fn finished(outcome: Outcome) -> Record {
        let log = LogEnd { length: 0, sha256: String::new() };
        let verdict = Verdict {
            outcome,
            started_us: None,
            finished_us: 9,
            log,
            artifacts: vec![],
            outputs: Default::default(),
            recap: None,
        };
        Record::Finished { verdict }
    }

    #[test]
    fn records_of_version_1_are_read() {
        for (json, record) in [
            (
                r#"{"version":1,"kind":"accepted","at_us":5,"mark":"00000000-0000-0000-0000-000000000007"}"#,
                accepted(),
            ),
            (
                r#"{"version":1,"kind":"accepted","at_us":5,"mark":"00000000-0000-0000-0000-000000000007","lease":{"boot_id":"b","at_us":3}}"#,
                Record::Accepted {
                    at_us: 5,
                    mark: Uuid::from_u128(7),
                    lease: Some(LeaseBase { boot_id: "b".into(), at_us: 3 }),
                },
            ),
            (
                r#"{"version":1,"kind":"started","at_us":6,"boot_id":"b"}"#,
                Record::Started { at_us: 6, boot_id: "b".into() },
            ),
            (
                r#"{"version":1,"kind":"noted","note":{"process_group":{"group":8,"session":7}}}"#,
                Record::Noted { note: Note::ProcessGroup { group: 8, session: 7 } },
            ),
            (
                r#"{"version":1,"kind":"noted","note":{"container":{"id":"c"}}}"#,
                Record::Noted { note: Note::Container { id: "c".into() } },
            ),
            (
                r#"{"version":1,"kind":"noted","note":{"remote_group":{"group":8}}}"#,
                Record::Noted { note: Note::RemoteGroup { group: 8 } },
            ),
            (
                r#"{"version":1,"kind":"finished","verdict":{"outcome":{"kind":"timed_out"},"started_us":null,"finished_us":9,"log":{"length":0,"sha256":""}}}"#,
                finished(Outcome::TimedOut),
            ),
        ] {
            assert_eq!(decode(json.as_bytes()).unwrap(), record);
            assert_eq!(String::from_utf8_lossy(&encode(&record)[framing::HEADER..]), json);
        }
        assert!(matches!(decode(br#"{"version":2,"kind":"new"}"#), Err(Error::Version(2))));
    }

    #[test]
    fn a_torn_record_is_ignored_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        create(&path, &accepted()).unwrap();
        let torn = encode(&Record::Started { at_us: 6, boot_id: "b".into() });
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&torn[..torn.len() - 1]).unwrap();
        assert_eq!(State::read(&path).unwrap().progress(), Progress::Accepted);

        let mut writer = StateWriter::open(&path).unwrap();
        writer.append(&Record::Started { at_us: 6, boot_id: "b".into() }).unwrap();
        assert_eq!(State::read(&path).unwrap().progress(), Progress::Running { started_us: 6 });
    }

    #[test]
    fn the_first_verdict_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        create(&path, &accepted()).unwrap();
        let mut writer = StateWriter::open(&path).unwrap();
        writer.append(&finished(Outcome::Succeeded)).unwrap();
        writer.append(&finished(Outcome::TimedOut)).unwrap();
        assert_eq!(State::read(&path).unwrap().verdict.unwrap().outcome, Outcome::Succeeded);
    }

    #[test]
    fn a_file_without_its_first_record_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(State::read(&path), Err(Error::NotAccepted)));
    }
}
