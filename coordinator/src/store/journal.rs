//! The journal: every batch, in order, forever. The truth.
//!
//! A segment holds batches from the number in its name on. One write and one fdatasync make a
//! batch durable. Space is reserved ahead of the writes, in zeros, so that a full disk shows
//! before a batch is half written; the end is found again by reading.
//!
//! Invariant: once a write or a sync failed, nothing is written any more: what the disk then
//! holds is unknown until the journal is opened again.

mod batch;
mod error;
mod follow;
mod records;
mod segment;

use std::io;

use coordinator_core::change::Change;
use coordinator_core::event::{Event, Wall};

pub use self::batch::{Batch, Changed, Epoch, Seq, VERSION};
pub use self::error::Error;
pub use self::follow::Follower;
pub(super) use self::records::Records;

use self::batch::{Draft, Head, encode};
use self::error::{failed, full_or_failed};
use super::disk::{Disk, File};

/// How the journal lies on the disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment that would grow beyond this is closed and another begun. Default 64 MiB.
    pub segment: u64,
    /// How much space is reserved at a time. Default 1 MiB.
    pub reserve: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment: 64 << 20, reserve: 1 << 20 }
    }
}

/// The journal, open for appending. One process at a time; the store's lock sees to that.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    options: Options,
    /// First batches of all segments, ascending.
    segments: Vec<Seq>,
    /// The last segment; none before the first batch.
    tip: Option<Tip<D::File>>,
    epoch: Epoch,
    last: Seq,
    broken: bool,
    scratch: Vec<u8>,
    record: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
struct Tip<F> {
    name: String,
    file: F,
    /// Where the records end.
    end: u64,
    /// Up to where space is certain.
    reserved: u64,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal and checks every batch from `needed` on, and the last segment in any
    /// case. A torn record at the very end is cut off; other damage is refused.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Gap`], [`Error::Newer`], or [`Error::Failed`].
    pub fn open(disk: D, options: Options, needed: Seq) -> Result<Self, Error> {
        let names = disk.list().map_err(failed("list", "journal"))?;
        let segments: Vec<Seq> = names.iter().filter_map(|name| segment::parse(name)).collect();
        let mut records = check(&disk, &segments, needed)?;
        if records.epoch == Epoch(0) && segments.len() > 1 {
            // The last segment was begun, but nothing written: its epoch stands in the one before.
            records = check(&disk, &segments, segments[segments.len() - 2])?;
        }
        let mut journal = Journal {
            disk,
            options,
            segments,
            tip: None,
            epoch: Epoch(records.epoch.0 + 1),
            last: records.last(),
            broken: false,
            scratch: Vec::new(),
            record: Vec::new(),
        };
        journal.open_tip(&records)?;
        Ok(journal)
    }

    /// Makes one batch durable: one write, one fdatasync.
    ///
    /// # Errors
    /// After [`Error::Full`] and [`Error::TooLong`] nothing was written. After any other the
    /// process must end, and the batch may or may not be there when the journal is opened again.
    pub fn append(
        &mut self,
        now: Wall,
        events: &[Event],
        changes: &[Change],
    ) -> Result<Appended, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        let seq = self.last.next();
        let draft = Draft { version: VERSION, epoch: self.epoch, seq, now, events, changes };
        encode(&draft, &mut self.scratch, &mut self.record).ok_or(Error::TooLong)?;
        let written = self.make_room(seq).and_then(|begun| self.write().map(|()| begun));
        match written {
            Ok(begun) => {
                self.last = seq;
                Ok(Appended { seq, begun })
            }
            Err(error) => {
                self.broken = !matches!(error, Error::Full);
                Err(error)
            }
        }
    }

    /// The last batch; 0 before the first.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The first batch that is still there; 1 if there is none yet.
    pub fn first(&self) -> Seq {
        self.segments.first().copied().unwrap_or(Seq(1))
    }

    /// The directory that it lies in.
    pub(super) fn disk(&self) -> D {
        self.disk.clone()
    }

    /// Which opening this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The batches from `from` on, with their events, for whoever judges decisions.
    pub fn batches(
        &self,
        from: Seq,
    ) -> Result<impl Iterator<Item = Result<Batch, Error>> + use<D>, Error> {
        let mut records = self.records(from)?;
        Ok(std::iter::from_fn(move || records.next().transpose()))
    }

    pub(super) fn records(&self, from: Seq) -> Result<Records<D>, Error> {
        Records::new(self.disk.clone(), &self.segments, from, Some(self.last))
    }

    /// Bytes of the segments that hold batches after `seq`.
    pub(super) fn bytes_after(&self, seq: Seq) -> Result<u64, Error> {
        let mut bytes = 0;
        let ends = self.segments.iter().skip(1).map(|next| next.previous()).chain([self.last]);
        for (first, _) in self.segments.iter().zip(ends).filter(|(_, end)| *end > seq) {
            let name = segment::name(*first);
            let file = self.disk.open(&name).map_err(failed("open", &name))?;
            bytes += file.size().map_err(failed("read", &name))?;
        }
        Ok(bytes)
    }

    /// Moves segments that hold only batches up to `seq` to the archive.
    pub(super) fn archive(&mut self, seq: Seq) -> Result<(), Error> {
        while self.segments.get(1).is_some_and(|second| second.previous() <= seq) {
            let name = segment::name(self.segments[0]);
            self.disk.archive(&name).map_err(failed("archive", &name))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn open_tip(&mut self, records: &Records<D>) -> Result<(), Error> {
        let Some((first, tail)) = records.end else { return Ok(()) };
        let name = segment::name(first);
        let file = self.disk.open(&name).map_err(failed("open", &name))?;
        if tail.torn > 0 {
            tracing::warn!(
                segment = name,
                offset = tail.offset,
                bytes = tail.torn,
                "cut off a torn record at the journal's end; it was never acknowledged"
            );
            file.truncate(tail.offset).map_err(failed("truncate", &name))?;
        }
        rewrite(&file, records.start.min(tail.offset), tail.offset)
            .map_err(failed("sync", &name))?;
        let reserved = file.size().map_err(failed("read", &name))?;
        self.tip = Some(Tip { name, file, end: tail.offset, reserved });
        Ok(())
    }

    /// Returns whether a new segment was begun.
    fn make_room(&mut self, seq: Seq) -> Result<bool, Error> {
        let length = self.record.len() as u64;
        let segment = self.options.segment;
        let fits = |tip: &Tip<_>| tip.end == 0 || tip.end + length <= segment;
        let begin = !self.tip.as_ref().is_some_and(fits);
        if begin {
            self.begin_segment(seq)?;
        }
        let Some(tip) = &mut self.tip else { return Err(Error::Broken) };
        let wanted = tip.end + length;
        if wanted > tip.reserved {
            let reserved = tip.end + self.options.reserve.max(length);
            reserve(&tip.file, &tip.name, tip.reserved, reserved - tip.reserved)?;
            tip.reserved = reserved;
        }
        Ok(begin)
    }

    /// Begins the segment of batch `first`. The new file is complete before the old one is left,
    /// so that a full disk leaves everything as it was.
    fn begin_segment(&mut self, first: Seq) -> Result<(), Error> {
        let name = segment::name(first);
        let file = self.disk.create(&name).map_err(full_or_failed("create", &name))?;
        let reserved = self.options.reserve.max(self.record.len() as u64);
        if let Err(error) = reserve(&file, &name, 0, reserved) {
            self.disk.remove(&name).map_err(failed("remove", &name))?;
            return Err(error);
        }
        self.disk.sync().map_err(failed("sync", "the journal's directory"))?;
        if let Some(old) = &self.tip {
            old.file.truncate(old.end).map_err(failed("truncate", &old.name))?;
            old.file.sync().map_err(failed("sync", &old.name))?;
        }
        self.segments.push(first);
        self.tip = Some(Tip { name, file, end: 0, reserved });
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        let Some(tip) = &mut self.tip else { return Err(Error::Broken) };
        tip.file.write(&self.record, tip.end).map_err(failed("write", &tip.name))?;
        tip.file.sync().map_err(failed("sync", &tip.name))?;
        tip.end += self.record.len() as u64;
        Ok(())
    }
}

/// A durable batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: Seq,
    /// Whether it is the first of its segment.
    pub begun: bool,
}

/// Reads all batches from `needed`, or the start of the last segment if that is earlier.
fn check<D: Disk>(disk: &D, segments: &[Seq], needed: Seq) -> Result<Records<D>, Error> {
    let (first, last) = (segments.first().copied(), segments.last().copied());
    let from = needed.min(last.unwrap_or(Seq(1))).max(first.unwrap_or(Seq(1)));
    let mut records = Records::new(disk.clone(), segments, from, None)?;
    while records.next::<Head>()?.is_some() {}
    Ok(records)
}

fn reserve(file: &impl File, name: &str, offset: u64, length: u64) -> Result<(), Error> {
    file.reserve(offset, length).map_err(full_or_failed("reserve space in", name))
}

/// Writes the last record once more and syncs it. If the process before ended because its sync
/// failed, the record may be readable and yet on no disk, and another sync would not write it.
fn rewrite(file: &impl File, start: u64, end: u64) -> io::Result<()> {
    let mut bytes = vec![0; (end - start) as usize];
    let mut have = 0;
    while have < bytes.len() {
        match file.read(&mut bytes[have..], start + have as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => have += read,
        }
    }
    file.write(&bytes, start)?;
    file.sync()
}

#[cfg(test)]
mod tests;
