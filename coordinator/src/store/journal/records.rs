//! Batches in order across segments; every break of the order is refused.

use super::batch::{Epoch, Form, Head, PREFIX, Seq, Unreadable, decode};
use super::error::{Error, failed};
use super::segment;
use crate::store::disk::Disk;
use crate::store::reader::{Reader, Tail};

/// Reads batches from a given one on.
#[derive(Debug)]
pub(in crate::store) struct Records<D: Disk> {
    disk: D,
    /// Segments that were not opened yet, by their first batch.
    ahead: std::vec::IntoIter<Seq>,
    open: Option<(Seq, Reader<D::File>)>,
    /// The number that the next batch must have.
    expected: Seq,
    /// Batches before this one are passed over.
    from: Seq,
    /// The last batch to read; without it, all up to the end of the last segment.
    until: Option<Seq>,
    pub(super) epoch: Epoch,
    /// Start of the latest record in its segment.
    pub(super) start: u64,
    /// The last segment's end, once it was reached.
    pub(super) end: Option<(Seq, Tail)>,
}

impl<D: Disk> Records<D> {
    /// Reads from `from` to `until`, given all `segments`. A `from` before the first segment is
    /// refused, except that one behind the last batch reads nothing.
    pub(super) fn new(
        disk: D,
        segments: &[Seq],
        from: Seq,
        until: Option<Seq>,
    ) -> Result<Self, Error> {
        let from = from.max(Seq(1));
        let skipped = segments.partition_point(|first| *first <= from);
        if let (0, Some(first)) = (skipped, segments.first()) {
            return Err(Error::Missing { seq: from, first: *first });
        }
        let ahead = segments[skipped.saturating_sub(1)..].to_vec();
        Ok(Records {
            disk,
            expected: ahead.first().copied().unwrap_or(Seq(1)),
            ahead: ahead.into_iter(),
            open: None,
            from,
            until,
            epoch: Epoch(0),
            start: 0,
            end: None,
        })
    }

    /// Reads on to `until`, given all `segments` of now. What was read ahead may be zeros that are
    /// records by now, so it is read again.
    pub(super) fn extend(&mut self, segments: &[Seq], until: Seq) -> Result<(), Error> {
        let is_ahead = |first: &Seq| match &self.open {
            Some((open, _)) => first > open,
            None => *first >= self.expected,
        };
        let ahead: Vec<Seq> = segments.iter().copied().filter(is_ahead).collect();
        self.ahead = ahead.into_iter();
        self.until = Some(until);
        match &mut self.open {
            Some((first, reader)) => {
                reader.look_again().map_err(failed("read", &segment::name(*first)))
            }
            None => Ok(()),
        }
    }

    /// The batch before the one that comes next.
    pub(super) fn last(&self) -> Seq {
        self.expected.previous()
    }

    /// The next batch in the form `T`; none at the end.
    pub(in crate::store) fn next<T: Form>(&mut self) -> Result<Option<T>, Error> {
        while self.expected < self.from {
            if self.step::<Head>()?.is_none() {
                return Ok(None);
            }
        }
        self.step()
    }

    fn step<T: Form>(&mut self) -> Result<Option<T>, Error> {
        if self.until.is_some_and(|until| self.expected > until) {
            return Ok(None);
        }
        loop {
            let Some((first, reader)) = &mut self.open else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            let (first, offset) = (*first, reader.offset());
            let name = segment::name(first);
            let Some(payload) = reader.next().map_err(failed("read", &name))? else {
                self.finish_segment()?;
                continue;
            };
            let read: T =
                decode(payload).map_err(|error| unreadable(name.clone(), offset, error))?;
            let head = read.head();
            if head.seq != self.expected {
                let (expected, found) = (self.expected, head.seq);
                return Err(Error::Gap { file: name, offset, expected, found });
            }
            (self.expected, self.epoch, self.start) = (head.seq.next(), head.epoch, offset);
            return Ok(Some(read));
        }
    }

    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(first) = self.ahead.next() else { return Ok(false) };
        let name = segment::name(first);
        if first != self.expected {
            let (expected, found) = (self.expected, first);
            return Err(Error::Gap { file: name, offset: 0, expected, found });
        }
        let file = self.disk.open(&name).map_err(failed("open", &name))?;
        self.open = Some((first, Reader::new(file).map_err(failed("read", &name))?));
        Ok(true)
    }

    /// Judges what stands behind the last sound record. Only the last segment may end in a torn
    /// one, as a segment is synced as a whole before the next is begun.
    fn finish_segment(&mut self) -> Result<(), Error> {
        let Some((first, reader)) = self.open.take() else { return Ok(()) };
        let file = segment::name(first);
        let tail = reader.tail(PREFIX).map_err(failed("read", &file))?;
        let is_last = self.ahead.as_slice().is_empty();
        let what = match tail.sound {
            Some(sound) => format!("no record can be read there, but one can at byte {sound}"),
            None if !is_last && tail.torn > 0 => "its last record is cut off or damaged".to_owned(),
            None => {
                self.end = Some((first, tail));
                return Ok(());
            }
        };
        Err(Error::Damaged { file, offset: tail.offset, what })
    }
}

fn unreadable(file: String, offset: u64, error: Unreadable) -> Error {
    match error {
        Unreadable::Newer(version) => Error::Newer { file, offset, version },
        Unreadable::Malformed(error) => {
            Error::Damaged { file, offset, what: format!("the record there is {error}") }
        }
    }
}
