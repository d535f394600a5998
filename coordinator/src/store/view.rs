//! The view: what the journal's changes add up to, for queries. The only place that knows sled.
//!
//! All records live in one sled tree, told apart by the first byte of their keys; a record's value
//! is its latest [`Change`] as JSON. A batch is a row of plain inserts, its number the first and the
//! last of them: what sled recovers after a crash is a prefix of what was written, so the last
//! vouches for all before it, the first says what may be here in part, and applying such a batch
//! again gives the same. sled's
//! own batches would do no more here, at twice the CPU: each forces two writes to the file.
//!
//! Invariant: nothing is here that the journal does not hold; what is lost here is read again.
//! `flush_async` is never called (it deadlocks). Values beyond 128 KiB would become files of their
//! own, so plans are stored in pieces.

mod deployments;
mod keys;
mod query;

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use coordinator_core::change::Change;
use coordinator_core::{run, trigger};
use pipelines::id::RunId;

pub use self::deployments::{Deployment, Place};
use self::keys::Table;
pub use self::query::{Filter, Page};
use super::journal::Seq;

/// The form of keys and values; a view of another form is built anew.
const FORM: u32 = 3;

/// The value of an entry that says all with its key.
const NOTHING: &[u8] = &[];

/// Longest piece of a plan, in bytes.
const PIECE: usize = 32 << 10;

/// Why the view could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// sled failed.
    #[error("the view failed: {0}; stop the coordinator and run `garrison coordinator rebuild`")]
    Sled(#[from] sled::Error),
    /// A record is not what it should be.
    #[error(
        "the view is damaged: {0}; stop the coordinator and run `garrison coordinator rebuild`"
    )]
    Damaged(String),
    /// Its files could not be reached.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
}

/// A handle on the view. Clones are cheap and may be used from any thread; each
/// record read is that of the latest batch. The directory cannot be opened again before all of them are gone.
#[derive(Debug, Clone)]
pub struct View {
    db: sled::Db,
    directory: PathBuf,
}

impl View {
    /// Opens the view in `directory`, which is created if it is missing. Any error means that it
    /// has to be built anew.
    pub(super) fn open(directory: &Path, cache: u64) -> Result<View, Error> {
        fs::create_dir_all(directory).map_err(io_error("create", directory))?;
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(cache)
            // The journal is what is durable; sled writes when its buffers are full.
            .flush_every_ms(None);
        // Damage that sled does not expect makes it panic.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let db = opened.map_err(|_| Error::Damaged("it cannot be opened".to_owned()))??;
        let view = View { db, directory: directory.to_owned() };
        view.check_form()?;
        Ok(view)
    }

    /// Removes sled's snapshots of its own index. One that a crash left half written, or that does
    /// not fit, keeps sled from opening; without any it reads all of its log.
    pub(super) fn remove_snapshots(directory: &Path) -> Result<(), Error> {
        remove_files(directory, "snap.").map_err(io_error("tidy up", directory))
    }

    /// Removes the view in `directory`; no handle on it may be left.
    pub(super) fn remove(directory: &Path) -> Result<(), Error> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", directory)(error))
            }
            _ => Ok(()),
        }
    }

    /// The last batch that was applied; 0 before the first.
    pub fn applied(&self) -> Result<Seq, Error> {
        self.number(keys::applied())
    }

    /// The last batch of which anything may be here; 0 before the first.
    pub(super) fn begun(&self) -> Result<Seq, Error> {
        Ok(self.number(keys::begun())?.max(self.applied()?))
    }

    fn number(&self, key: Vec<u8>) -> Result<Seq, Error> {
        match self.db.get(key)? {
            None => Ok(Seq(0)),
            Some(bytes) => {
                let bytes = <[u8; 8]>::try_from(&*bytes);
                let bytes = bytes.map_err(|_| Error::Damaged("batch number".to_owned()))?;
                Ok(Seq(u64::from_be_bytes(bytes)))
            }
        }
    }

    /// Applies the changes of all batches up to `seq` that were not applied, in order.
    pub(super) fn apply<'a>(
        &self,
        seq: Seq,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), Error> {
        self.begin(seq)?;
        self.load(changes)?;
        self.db.insert(keys::applied(), &seq.0.to_be_bytes())?;
        Ok(())
    }

    /// Notes that something of the batches up to `seq` follows.
    pub(super) fn begin(&self, seq: Seq) -> Result<(), Error> {
        // What a checkpoint brought may be newer than the batches that follow.
        if seq > self.begun()? {
            self.db.insert(keys::begun(), &seq.0.to_be_bytes())?;
        }
        Ok(())
    }

    /// Applies changes that do not reach a known batch yet.
    pub(super) fn load<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), Error> {
        changes.into_iter().try_for_each(|change| self.put(change))
    }

    /// Every record as the JSON of its change, while batches go on being applied: each is at
    /// least as new as when this was called.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
        Table::RECORDS.into_iter().flat_map(move |table| {
            self.db.scan_prefix([table as u8]).filter_map(move |pair| match (pair, table) {
                (Err(error), _) => Some(Err(error.into())),
                (Ok((key, _)), Table::Plan) => {
                    keys::plan_begun(&key).map(|run| self.plan_bytes(run))
                }
                (Ok((_, value)), _) => Some(Ok(value.to_vec())),
            })
        })
    }

    /// Puts a record and its index entries.
    fn put(&self, change: &Change) -> Result<(), Error> {
        let value = serde_json::to_vec(change).expect("a change has only string keys");
        match change {
            Change::Trigger(trigger) => {
                let id = trigger.id;
                self.db.insert(keys::trigger_key(&trigger.key), &id.0.to_be_bytes())?;
                self.db.insert(keys::trigger_time(trigger.at, id), NOTHING)?;
                match trigger.state {
                    trigger::State::Pending => {
                        self.db.insert(keys::trigger_pending(id), NOTHING)?;
                    }
                    trigger::State::Resolved { .. } | trigger::State::Failed { .. } => {
                        self.db.remove(keys::trigger_pending(id))?;
                    }
                }
                self.db.insert(keys::trigger(id), value)?;
            }
            Change::Plan(run, plan) => {
                for (piece, bytes) in (0..).zip(value.chunks(PIECE)) {
                    self.db.insert(keys::plan_piece(*run, piece), bytes)?;
                }
                for job in &plan.jobs {
                    self.db.insert(keys::run_partition(&job.partition, *run), NOTHING)?;
                }
                self.note_targets(*run, plan)?;
            }
            Change::Run(run) => {
                match run.state {
                    run::State::Waiting { .. } | run::State::Active => {
                        self.db.insert(keys::run_active(run.id), NOTHING)?;
                    }
                    run::State::Finished { .. } | run::State::Invalid { .. } => {
                        self.db.remove(keys::run_active(run.id))?;
                    }
                }
                self.db.insert(keys::run(run.id), value)?;
            }
            Change::Job(job) => {
                self.db.insert(keys::job(job.id), value)?;
            }
            Change::Attempt(attempt) => {
                self.note_deployment(attempt)?;
                self.db.insert(keys::attempt(attempt.id), value)?;
            }
            Change::Agent(agent) => {
                self.db.insert(keys::agent(&agent.key), value)?;
            }
            Change::ApiToken(token) => {
                self.db.insert(keys::api_token(&token.name), value)?;
            }
            Change::JoinToken(token) => {
                self.db.insert(keys::join_token(&token.hash), value)?;
            }
            Change::Lock(lock) => {
                match lock.holder {
                    Some(_) => self.db.insert(keys::lock(&lock.key), value)?,
                    None => self.db.remove(keys::lock(&lock.key))?,
                };
            }
            Change::Secret(secret) => {
                self.db.insert(keys::secret(&secret.key), value)?;
            }
            Change::Schedule(scheduled) => {
                self.db.insert(keys::schedule(&scheduled.key), value)?;
            }
            Change::Subscriber(subscriber) => {
                self.db.insert(keys::subscriber(&subscriber.key), value)?;
            }
            Change::Audit(audit) => {
                self.db.insert(keys::audit(audit.number), value)?;
            }
        }
        Ok(())
    }

    /// A plan's pieces put together; empty if there is none.
    fn plan_bytes(&self, run: RunId) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for piece in self.db.scan_prefix(keys::plan(run)).values() {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Writes everything and syncs it.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.db.flush()?;
        // sled itself never waits for the disk.
        sync_files(&self.directory).map_err(io_error("sync", &self.directory))
    }

    fn check_form(&self) -> Result<(), Error> {
        let form = FORM.to_be_bytes();
        match self.db.get(keys::form())? {
            Some(found) if *found == form => Ok(()),
            Some(_) => Err(Error::Damaged("it was written by another version".to_owned())),
            None if self.db.is_empty() => {
                self.db.insert(keys::form(), &form)?;
                Ok(())
            }
            None => Err(Error::Damaged("its version is missing".to_owned())),
        }
    }
}

fn remove_files(directory: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_files(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    super::disk::sync_directory(directory)
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}
