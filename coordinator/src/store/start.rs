//! Opening the store: a view that can be trusted is brought up to date, any other is built anew.

use std::fs;
use std::io;
use std::path::Path;

use coordinator_core::change::Change;

use super::disk::Directory;
use super::journal::{Changed, Journal, Seq};
use super::lock::{Lock, Refused};
use super::marker::{self, Left};
use super::{Error, Failure, Options, Store, checkpoint, view};

/// How many changes are applied at a time while the view catches up.
const APPLIED: usize = 1000;

/// What to do with the view that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Use it if it can be trusted.
    Keep,
    /// Delete it.
    Rebuild,
}

pub(super) fn open(directory: &Path, options: Options, keep: View) -> Result<Store, Error> {
    create_directories(directory).map_err(failure("create", directory))?;
    let lock = Lock::take(&directory.join("lock")).map_err(|refused| match refused {
        Refused::InUse(pid) => Error::InUse { directory: directory.to_owned(), pid },
        Refused::Io(error) => failure("lock", directory)(error).into(),
    })?;
    let checkpoints = directory.join("checkpoint");
    checkpoint::remove_unfinished(&checkpoints).map_err(Failure::from)?;

    let kept = match keep {
        View::Keep => trusted(directory, options)?,
        View::Rebuild => None,
    };
    let journal = open_journal(directory, options, kept.as_ref().map(|(_, applied)| *applied))?;
    let view = match kept {
        Some((view, applied)) if is_connected(&journal, applied, begun(&view)?) => view,
        kept => {
            drop(kept);
            rebuilt(directory, options, &journal)?
        }
    };
    catch_up(&view, &journal)?;
    Ok(Store {
        directory: directory.to_owned(),
        options,
        journal,
        view,
        checkpointing: None,
        _lock: lock,
    })
}

fn create_directories(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    Directory::open(directory.join("checkpoint"))?;
    Ok(())
}

/// The view as it was left and the last batch in it, if it can be trusted; marked as open.
fn trusted(directory: &Path, options: Options) -> Result<Option<(view::View, Seq)>, Failure> {
    let path = directory.join("view");
    if !path.exists() {
        return Ok(None);
    }
    match marker::read(directory).map_err(failure("read", directory))? {
        Left::Clean => {}
        Left::Open => view::View::remove_snapshots(&path)?,
        Left::Torn => {
            tracing::warn!("the host stopped while the view was open: it is built anew");
            return Ok(None);
        }
    }
    marker::open(directory).map_err(failure("mark", directory))?;
    let open = || {
        let view = view::View::open(&path, options.cache)?;
        let applied = view.applied()?;
        Ok((view, applied))
    };
    match open().or_else(|_| view::View::remove_snapshots(&path).and_then(|()| open())) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) => {
            tracing::warn!(%error, "the view cannot be opened: it is built anew");
            Ok(None)
        }
    }
}

/// Opens the journal and checks what the view, or a new one, will need of it.
fn open_journal(
    directory: &Path,
    options: Options,
    applied: Option<Seq>,
) -> Result<Journal<Directory>, Failure> {
    let path = directory.join("journal");
    let disk = Directory::open(path.clone()).map_err(failure("open", &path))?;
    let checkpoints = checkpoint::list(&directory.join("checkpoint"))?;
    let needed = applied.or(checkpoints.first().map(|(seq, _)| *seq)).unwrap_or(Seq(0)).next();
    let journal = Journal::open(disk, options.journal, needed).map_err(Failure::Journal)?;
    let held = applied.max(checkpoints.first().map(|(seq, _)| *seq)).unwrap_or(Seq(0));
    if journal.last() == Seq(0) && held > Seq(0) {
        return Err(incomplete(directory, format!("the journal's batches up to {held} are gone")));
    }
    Ok(journal)
}

fn begun(view: &view::View) -> Result<Seq, Failure> {
    Ok(view.begun()?)
}

/// Whether the batch after `applied` is in the journal, or is the next one, and nothing of a later one
/// than it holds was `begun`.
fn is_connected(journal: &Journal<Directory>, applied: Seq, begun: Seq) -> bool {
    let connected = journal.first().previous() <= applied && begun <= journal.last();
    if !connected {
        tracing::warn!(
            view = begun.0,
            first = journal.first().0,
            last = journal.last().0,
            "the view does not connect with the journal: it is built anew"
        );
    }
    connected
}

/// A new view from the newest checkpoint that is whole.
fn rebuilt(
    directory: &Path,
    options: Options,
    journal: &Journal<Directory>,
) -> Result<view::View, Failure> {
    let path = directory.join("view");
    view::View::remove(&path)?;
    marker::open(directory).map_err(failure("mark", directory))?;
    let view = view::View::open(&path, options.cache)?;
    let checkpoint = checkpoint::newest(&directory.join("checkpoint"), journal.last())?;
    let from = checkpoint.as_ref().map_or(Seq(0), |checkpoint| checkpoint.seq);
    if from < journal.first().previous() {
        let first = journal.first();
        let what =
            format!("the journal begins at batch {first}, and no whole checkpoint reaches it");
        return Err(incomplete(directory, what));
    }
    if let Some(checkpoint) = checkpoint {
        checkpoint.load(&view)?;
    }
    Ok(view)
}

/// Applies the batches that the view lacks.
fn catch_up(view: &view::View, journal: &Journal<Directory>) -> Result<(), Failure> {
    let applied = view.applied()?;
    let mut records = journal.records(applied.next()).map_err(Failure::Journal)?;
    let mut changes: Vec<Change> = Vec::new();
    let mut seq = applied;
    while let Some(batch) = records.next::<Changed>().map_err(Failure::Journal)? {
        seq = batch.seq;
        changes.extend(batch.changes);
        if changes.len() >= APPLIED {
            view.apply(seq, &changes)?;
            changes.clear();
        }
    }
    if seq > applied {
        view.apply(seq, &changes)?;
        tracing::info!(from = applied.0, to = seq.0, "view brought up to date from the journal");
    }
    Ok(())
}

fn incomplete(directory: &Path, what: String) -> Failure {
    Failure::Incomplete { directory: directory.to_owned(), what }
}

fn failure<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |source| Failure::Io { doing, path: path.to_owned(), source }
}
