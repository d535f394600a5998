//! Following the journal while it is written, without its writer: the one way to read it from
//! another thread.

use coordinator_core::event::Wall;

use super::batch::{Changed, Seq};
use super::error::{Error, failed};
use super::records::Records;
use super::segment;
use crate::store::disk::{Directory, Disk};

/// Reads on where it stopped, from any thread, while the journal is appended to: what was read once
/// is not read again to find the place.
#[derive(Debug)]
pub struct Follower {
    disk: Directory,
    records: Records<Directory>,
}

impl Follower {
    /// Reads from the batch `from` on, once [`Follower::extend`] says how far.
    ///
    /// # Errors
    /// [`Error::Missing`] if `from` was archived.
    pub fn open(disk: Directory, from: Seq) -> Result<Follower, Error> {
        let records = Records::new(disk.clone(), &segments(&disk)?, from, Some(Seq(0)))?;
        Ok(Follower { disk, records })
    }

    /// Lets it read up to `until`, which must be durable.
    pub fn extend(&mut self, until: Seq) -> Result<(), Error> {
        self.records.extend(&segments(&self.disk)?, until)
    }

    /// The first batch up to `until` that is not older than `time`; the one after `until` if all
    /// are. Reads one segment, and the first batch of each one after it. `until` must be durable.
    pub fn since(disk: &Directory, time: Wall, until: Seq) -> Result<Seq, Error> {
        let batches = |from: Seq| -> Result<Follower, Error> {
            let mut follower = Follower::open(disk.clone(), from)?;
            follower.extend(until)?;
            Ok(follower)
        };
        let segments = segments(disk)?;
        let mut from = segments.first().copied().unwrap_or(Seq(1));
        for first in segments.into_iter().rev().filter(|first| *first <= until) {
            if batches(first)?.next().transpose()?.is_some_and(|batch| batch.now < time) {
                from = first;
                break;
            }
        }
        for batch in batches(from)? {
            let batch = batch?;
            if batch.now >= time {
                return Ok(batch.seq);
            }
        }
        Ok(until.next())
    }
}

impl Iterator for Follower {
    type Item = Result<Changed, Error>;

    /// The next batch; none at the last one that it may read. More may follow after
    /// [`Follower::extend`], but not after an error.
    fn next(&mut self) -> Option<Self::Item> {
        self.records.next().transpose()
    }
}

fn segments(disk: &Directory) -> Result<Vec<Seq>, Error> {
    let names = disk.list().map_err(failed("list", "journal"))?;
    Ok(names.iter().filter_map(|name| segment::parse(name)).collect())
}
