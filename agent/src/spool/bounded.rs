//! A log that never fills its disk and never holds its job up.
//!
//! Where there is no room, output is dropped and counted. The gap is marked where it is, by a frame of
//! its own that holds a line for people and the number of bytes; it is written as soon as there is
//! room again, at the latest in the end. Offsets, length and checksum are those of what is kept,
//! the line included.
//!
//! Invariant: a little more than the log's size is reserved on the disk, so that the mark of a gap
//! fits also when the disk is full.

use std::io;

use pipelines::outcome::LogEnd;
use proto::log::Stream;

use super::quota::{Full, Room};
use super::{FRAME, Writer};

/// Output that was not kept.
#[derive(Debug)]
struct Gap {
    bytes: u64,
    full: Full,
}

/// Appends to one log as long as there is room.
#[derive(Debug)]
pub struct Bounded {
    writer: Writer,
    room: Room,
    gap: Option<Gap>,
}

impl Bounded {
    pub(super) fn new(writer: Writer, room: Room) -> Self {
        Self { writer, room, gap: None }
    }

    /// Appends `data`, or counts it as dropped. The runner's own words are few, and no quota
    /// holds for them.
    ///
    /// # Errors
    /// The disk failed; that it is full is no error.
    pub fn append(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        for part in data.chunks(FRAME) {
            let bytes = part.len() as u64;
            let room = match stream {
                Stream::System => Ok(()),
                _ => self.room.check(self.writer.size(), bytes),
            };
            let reserved =
                |()| self.writer.reserve(bytes).map_err(|()| self.room.refuse(Full::Disk));
            let appended = room.and_then(reserved);
            match appended {
                Ok(()) => match self.mark().and_then(|()| self.writer.append(stream, part)) {
                    // On a file system that cannot reserve anything.
                    Err(error) if is_full(&error) => {
                        let full = self.room.refuse(Full::Disk);
                        self.dropped(bytes, full);
                    }
                    appended => appended?,
                },
                Err(full) => self.dropped(bytes, full),
            }
        }
        Ok(())
    }

    /// Bytes of output so far.
    pub fn length(&self) -> u64 {
        self.writer.length()
    }

    /// The log's end if nothing more is appended.
    pub fn end(&self) -> LogEnd {
        self.writer.end()
    }

    /// Marks a gap at the end, and makes the log durable; it is complete then.
    pub fn close(mut self) -> (LogEnd, io::Result<()>) {
        let marked = self.mark();
        let end = self.writer.end();
        (end, marked.and(self.writer.close().map(drop)))
    }

    fn dropped(&mut self, bytes: u64, full: Full) {
        let gap = self.gap.get_or_insert(Gap { bytes: 0, full });
        gap.bytes += bytes;
    }

    fn mark(&mut self) -> io::Result<()> {
        if let Some(Gap { bytes, full }) = &self.gap {
            let line = format!("{bytes} bytes of output are missing here: {full}\n");
            self.writer.append_gap(line.as_bytes(), *bytes)?;
            self.gap = None;
        }
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proto::log::{self, Frame};

    use super::*;
    use crate::spool::{Quota, Reader};

    fn frames(path: &std::path::Path) -> Vec<Frame> {
        let batch = Reader::open(path).unwrap().read(0, 1 << 30).unwrap();
        log::frames(&batch.frames, 0).unwrap()
    }

    fn sha256(frames: &[Frame]) -> String {
        use sha2::{Digest, Sha256};
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.data.to_vec()).collect();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_is_beyond_the_attempts_quota_is_one_gap_in_its_place() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        let quota = Quota { attempt: 10_000, ..Quota::default() };
        let mut log = Bounded::new(Writer::open(&path).unwrap(), Room::new(quota, root.path()));
        for _ in 0..100 {
            log.append(Stream::Stdout, &[b'x'; 1000]).unwrap();
        }
        log.append(Stream::System, b"cancelled\n").unwrap();
        log.append(Stream::Stderr, &[b'y'; 500]).unwrap();
        let (end, closed) = log.close();
        closed.unwrap();
        let frames = frames(&path);
        let kept = frames.iter().filter(|frame| frame.stream() == Stream::Stdout).count() as u64;
        assert!((8..=9).contains(&kept), "{kept}");
        let [.., gap, words, last] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((gap.stream(), gap.dropped), (Stream::Gap, (100 - kept) * 1000));
        let line = format!(
            "{} bytes of output are missing here: the attempt's log quota was reached\n",
            gap.dropped
        );
        assert_eq!(gap.data, line);
        assert_eq!(words.data, "cancelled\n");
        // It ends with a second one.
        assert_eq!((last.stream(), last.dropped), (Stream::Gap, 500));
        assert_eq!(end.length, frames.last().unwrap().end());
        assert_eq!(end.sha256, sha256(&frames));
        assert!(fs::metadata(&path).unwrap().len() < 11_000);
    }

    #[test]
    fn a_log_goes_on_when_others_have_made_room() {
        let root = tempfile::tempdir().unwrap();
        let [own, other] = ["1.0.1", "2.0.1"].map(|name| root.path().join(name));
        for dir in [&own, &other] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(other.join("log"), vec![0; 10_000]).unwrap();
        let quota = Quota { agent: 10_000, ..Quota::default() };
        let writer = Writer::open(&own.join("log")).unwrap();
        let mut log = Bounded::new(writer, Room::new(quota, root.path()));
        log.append(Stream::Stdout, b"dropped").unwrap();
        fs::remove_file(other.join("log")).unwrap();
        // Room is looked for once in a while, not at each write.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while log.length() == 0 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(10));
            log.append(Stream::Stdout, b"kept").unwrap();
        }
        log.close().1.unwrap();
        let frames = frames(&own.join("log"));
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].stream(), Stream::Gap);
        assert_eq!((frames[0].dropped - 7) % 4, 0);
        assert!(frames[0].data.ends_with(b"missing here: the agent's log quota was reached\n"));
        assert_eq!(frames[1].data, "kept");
    }

    #[test]
    fn logs_leave_the_reserve_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        let quota = Quota { reserve: u64::MAX, ..Quota::default() };
        let mut log = Bounded::new(Writer::open(&path).unwrap(), Room::new(quota, root.path()));
        log.append(Stream::Stdout, b"dropped").unwrap();
        log.close().1.unwrap();
        let line = "7 bytes of output are missing here: the agent's disk was full\n";
        assert_eq!(frames(&path)[0].data, line);
    }
}
