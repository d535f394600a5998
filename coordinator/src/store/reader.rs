//! A file of framed records, read one by one, and what stands behind its last sound one.

use std::io;

use proto::framing;

use super::disk::File;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// Reads the records of a file in order.
#[derive(Debug)]
pub(crate) struct Reader<F> {
    file: F,
    size: u64,
    /// Where the next record starts.
    offset: u64,
    /// Bytes of the file from `offset - used` on.
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that were returned already.
    used: usize,
}

/// What stands behind the last sound record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the sound records end.
    pub(crate) offset: u64,
    /// Bytes from there to the last one that is not zero: what a crash left of a record.
    pub(crate) torn: u64,
    /// Where a sound record stands nevertheless, which a crash cannot explain.
    pub(crate) sound: Option<u64>,
}

impl<F: File> Reader<F> {
    pub(crate) fn new(file: F) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Reader { file, size, offset: 0, buffer: Vec::new(), used: 0 })
    }

    /// Where the next record starts.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record's payload; none if no sound record follows.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.fill(framing::HEADER)?;
        if let Some(length) = self.buffer[self.used..].first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length <= framing::MAX_PAYLOAD {
                self.fill(framing::HEADER + length)?;
            }
        }
        let start = self.used;
        let Ok((payload, _)) = framing::split(&self.buffer[start..]) else { return Ok(None) };
        let length = framing::HEADER + payload.len();
        self.used += length;
        self.offset += length as u64;
        Ok(Some(&self.buffer[start + framing::HEADER..start + length]))
    }

    /// Forgets what was read ahead: the file may have been written since.
    pub(crate) fn look_again(&mut self) -> io::Result<()> {
        self.buffer.truncate(self.used);
        self.size = self.file.size()?;
        Ok(())
    }

    /// What stands behind the last record that was returned.
    ///
    /// A record's payload begins with `prefix`, and nothing else looks like it.
    pub(crate) fn tail(mut self, prefix: &[u8]) -> io::Result<Tail> {
        self.fill((self.size - self.offset) as usize)?;
        let rest = &self.buffer[self.used..];
        let torn = rest.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let sound = sound(&rest[..torn], prefix).map(|at| self.offset + at as u64);
        Ok(Tail { offset: self.offset, torn: torn as u64, sound })
    }

    /// Reads on until `wanted` bytes lie ahead, or the file ends.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.buffer.len() - self.used >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            let at = self.offset + have as u64;
            let left = self.size.saturating_sub(at) as usize;
            let ask = (wanted - have).max(CHUNK).min(left);
            self.buffer.resize(have + ask, 0);
            let read = if ask == 0 { 0 } else { self.file.read(&mut self.buffer[have..], at)? };
            self.buffer.truncate(have + read);
            if read == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where in `bytes` a sound record starts.
fn sound(bytes: &[u8], prefix: &[u8]) -> Option<usize> {
    let starts = bytes.windows(prefix.len()).enumerate().filter(|(_, window)| *window == prefix);
    starts
        .filter_map(|(at, _)| at.checked_sub(framing::HEADER))
        .find(|at| framing::split(&bytes[*at..]).is_ok())
}
