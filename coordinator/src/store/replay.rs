//! Repeating decisions: given the journal's events again, the same core must decide the same. A bug
//! from the field becomes a test this way, and a core that is not deterministic is found.
//!
//! A core's state is known for certain only when it was loaded, so what is repeated begins with
//! the first start of a coordinator that the journal still holds.

use std::path::{Path, PathBuf};

use coordinator_core::change::Change;
use coordinator_core::core::Core;
use coordinator_core::event::{Event, Wall};

use super::journal::{Batch, Epoch, Seq};
use super::start;
use super::view::View;
use super::{Failure, Options, Store, checkpoint};

/// What was repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The first batch that was decided anew.
    pub first: Seq,
    /// The last.
    pub last: Seq,
    /// How many events they held.
    pub events: u64,
}

/// Why decisions could not be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// This core decides otherwise.
    #[error(
        "batch {seq}: this build decides otherwise than the one that wrote it\n  \
         it wrote:  {recorded}\n  now it is: {decided}"
    )]
    Differs {
        /// The batch.
        seq: Seq,
        /// The first change that differs, as JSON, or that there is none.
        recorded: String,
        /// What this build makes of the same events.
        decided: String,
    },
    /// Nothing can be repeated.
    #[error("no coordinator was started since the last checkpoint: there is nothing to repeat")]
    Nothing,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        super::Error::from(failure).into()
    }
}

/// A scratch view, removed with its directory.
struct Scratch {
    view: Option<View>,
    path: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.view = None;
        let _ = View::remove(&self.path);
    }
}

/// Decides everything anew that the journal in `directory` holds. No coordinator may be running
/// on it.
pub(super) fn run(directory: &Path, options: Options) -> Result<Replayed, Error> {
    let store = start::open(directory, options, start::View::Keep)?;
    let path = directory.join("replay");
    View::remove(&path).map_err(Failure::from)?;
    let view = View::open(&path, options.cache).map_err(Failure::from)?;
    let scratch = Scratch { view: Some(view.clone()), path };
    let through = base(&store, directory, &view)?;
    let mut replay = Replay { view, core: None, epoch: None, replayed: None };
    let from = store.journal.first().max(replay.view.applied().map_err(Failure::from)?.next());
    let mut batches = store.journal.records(from).map_err(Failure::Journal)?;
    while let Some(batch) = batches.next::<Batch>().map_err(Failure::Journal)? {
        if batch.seq > through {
            replay.decide(&batch)?;
        }
        replay.view.apply(batch.seq, &batch.changes).map_err(Failure::from)?;
    }
    drop(scratch);
    replay.replayed.ok_or(Error::Nothing)
}

/// Fills the scratch view with what the journal does not hold any more; gives the batch up to which
/// it may be newer than it says.
fn base(store: &Store, directory: &Path, view: &View) -> Result<Seq, Error> {
    if store.journal.first() <= Seq(1) {
        return Ok(Seq(0));
    }
    let newest = checkpoint::newest(&directory.join("checkpoint"), store.journal.last());
    match newest.map_err(Failure::from)? {
        Some(checkpoint) => {
            checkpoint.load(view).map_err(Failure::from)?;
            Ok(checkpoint.through)
        }
        None => Err(Error::Nothing),
    }
}

struct Replay {
    view: View,
    /// None before the first start.
    core: Option<Core>,
    epoch: Option<Epoch>,
    replayed: Option<Replayed>,
}

impl Replay {
    fn decide(&mut self, batch: &Batch) -> Result<(), Error> {
        let is_start = self.epoch.is_none_or(|epoch| epoch != batch.epoch);
        // In the middle of an epoch that began before the first batch, nothing is known for certain.
        let is_known = self.epoch.is_some() || batch.seq == Seq(1);
        self.epoch = Some(batch.epoch);
        let mut decided = Vec::new();
        if is_start && is_known {
            decided = self.load(batch.now)?;
        }
        if let Some(Event::Reloaded { at }) = batch.events.first() {
            // What the core changes then is not remembered.
            self.load(*at)?;
        }
        let Some(core) = &mut self.core else { return Ok(()) };
        for event in &batch.events {
            decided.extend(core.handle(event, batch.now).changes);
        }
        if !batch.events.is_empty() {
            decided.extend(core.schedule(batch.now).changes);
        }
        compare(batch, &decided)?;
        let events = batch.events.len() as u64;
        let replayed =
            self.replayed.get_or_insert(Replayed { first: batch.seq, last: batch.seq, events: 0 });
        (replayed.last, replayed.events) = (batch.seq, replayed.events + events);
        Ok(())
    }

    fn load(&mut self, now: Wall) -> Result<Vec<Change>, Error> {
        let snapshot = self.view.snapshot(now).map_err(Failure::from)?;
        let (core, step) = Core::load(snapshot, now);
        self.core = Some(core);
        Ok(step.changes)
    }
}

fn compare(batch: &Batch, decided: &[Change]) -> Result<(), Error> {
    if batch.changes == decided {
        return Ok(());
    }
    let pairs = batch.changes.iter().zip(decided);
    let at = pairs.take_while(|(recorded, decided)| recorded == decided).count();
    let text = |change: Option<&Change>| match change {
        Some(change) => serde_json::to_string(change).expect("a change has only string keys"),
        None => "nothing more".to_owned(),
    };
    Err(Error::Differs {
        seq: batch.seq,
        recorded: text(batch.changes.get(at)),
        decided: text(decided.get(at)),
    })
}
