//! Writing a log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use pipelines::name::DeviceName;
use pipelines::outcome::LogEnd;
use proto::log::{self, Frame, Stream};
use sha2::{Digest, Sha256};

use super::{FRAME, Reader};
use crate::clock;

/// Bytes that are reserved on the disk at once.
const STEP: u64 = 1 << 20;

/// More than the mark of a gap and what a frame adds to its output.
const MARGIN: u64 = 4 << 10;

/// Bytes read at once when a log is opened again.
const CHUNK: usize = 1 << 20;

/// Appends frames to one log; there is one writer at a time, who holds the attempt's lock.
#[derive(Debug)]
pub struct Writer {
    file: File,
    /// Bytes of the file.
    size: u64,
    /// Bytes of the file that the disk is known to have room for.
    reserved: u64,
    /// Bytes of output.
    length: u64,
    hash: Sha256,
    record: Vec<u8>,
    /// What the frames are from; empty for the agent's host.
    device: String,
}

impl Writer {
    /// Opens the log at `path`, made if missing, behind its last whole frame; what a crash cut off
    /// is removed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let (hash, record, device) = (Sha256::new(), Vec::new(), String::new());
        let mut writer = Self { file, size: 0, reserved: 0, length: 0, hash, record, device };
        if writer.file.metadata()?.len() > 0 {
            writer.catch_up(path)?;
        }
        Ok(writer)
    }

    /// The same, whose frames carry the name of the device that they are from.
    #[must_use]
    pub fn of_device(self, device: &DeviceName) -> Self {
        Self { device: device.to_string(), ..self }
    }

    /// Appends `data` as one frame, or several if it is longer than [`FRAME`]. After an error the
    /// log ends with its last whole frame.
    pub fn append(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        data.chunks(FRAME).try_for_each(|part| self.append_part(stream, part, 0))
    }

    /// Marks that `dropped` bytes of output are missing here, for people by `line`.
    pub(super) fn append_gap(&mut self, line: &[u8], dropped: u64) -> io::Result<()> {
        self.append_part(Stream::Gap, line, dropped)
    }

    /// Sees to it that `more` bytes of output fit on the disk and something like the mark of a gap
    /// behind them.
    pub(super) fn reserve(&mut self, more: u64) -> Result<(), ()> {
        let needed = self.size + more + MARGIN;
        if needed <= self.reserved {
            return Ok(());
        }
        let (start, length) = (self.size.max(self.reserved), STEP.max(more + MARGIN));
        let bytes = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.file, flags, bytes(start), bytes(length)) {
            Err(Errno::ENOSPC | Errno::EDQUOT) => Err(()),
            // Not every file system can: the write tells.
            Ok(()) | Err(_) => {
                self.reserved = start + length;
                Ok(())
            }
        }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of output so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The log's end if nothing more is appended.
    pub fn end(&self) -> LogEnd {
        LogEnd { length: self.length, sha256: hex(&self.hash.clone().finalize()) }
    }

    /// Makes the log durable; it is complete then.
    pub fn close(self) -> io::Result<LogEnd> {
        if self.reserved > self.size {
            // Gives back what was reserved behind the end.
            self.file.set_len(self.size)?;
        }
        self.file.sync_all()?;
        Ok(self.end())
    }

    fn append_part(&mut self, stream: Stream, data: &[u8], dropped: u64) -> io::Result<()> {
        self.append_frame(&Frame {
            offset: self.length,
            time_us: clock::wall_us(),
            stream: stream.into(),
            device: self.device.clone(),
            step: 0,
            data: prost::bytes::Bytes::copy_from_slice(data),
            dropped,
        })
    }

    fn append_frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.record.clear();
        log::append(&mut self.record, frame);
        if let Err(error) = self.file.write_all(&self.record) {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += self.record.len() as u64;
        self.length = frame.end();
        self.hash.update(&frame.data);
        Ok(())
    }

    fn catch_up(&mut self, path: &Path) -> io::Result<()> {
        let mut reader = Reader::open(path)?;
        // Whatever is damaged at the end was never acknowledged to anybody.
        while let Ok(batch) = reader.read(self.length, CHUNK) {
            if batch.frames.is_empty() {
                break;
            }
            for frame in log::frames(&batch.frames, batch.offset).map_err(io::Error::other)? {
                self.hash.update(&frame.data);
            }
            self.size += batch.frames.len() as u64;
            self.length = batch.end;
        }
        self.file.set_len(self.size)
    }
}

/// The end of a log into which nothing was ever written.
pub fn no_output() -> LogEnd {
    LogEnd { length: 0, sha256: hex(&Sha256::digest(b"")) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_opened_again_goes_on_behind_its_last_whole_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        writer.append(Stream::Stdout, b"first").unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        writer.append(Stream::Stderr, b"torn").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(whole + 11).unwrap();

        let mut again = Writer::open(&path).unwrap();
        assert_eq!(again.length(), 5);
        again.append(Stream::System, b"second").unwrap();
        let end = again.close().unwrap();
        assert_eq!(end.length, 11);
        assert_eq!(end.sha256, hex(&Sha256::digest(b"firstsecond")));
        assert_eq!(Writer::open(&path).unwrap().end(), end);
    }

    #[test]
    fn long_output_becomes_several_frames() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        writer.append(Stream::Stdout, &vec![b'x'; 2 * FRAME + 1]).unwrap();
        let batch = Reader::open(&path).unwrap().read(0, 1 << 20).unwrap();
        let sizes: Vec<_> =
            log::frames(&batch.frames, 0).unwrap().iter().map(|frame| frame.data.len()).collect();
        assert_eq!(sizes, [FRAME, FRAME, 1]);
    }
}
