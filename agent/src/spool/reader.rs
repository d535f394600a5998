//! Reading a log, also while it is being written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proto::framing;
use proto::log::{self, Frame};

use super::FRAME;

/// Largest record that a writer makes: a frame and room for its other fields.
const RECORD: usize = FRAME + 4096;

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
    /// A frame is damaged. After a power failure the last one may be: a burial removes it.
    #[error("log is damaged at byte {position} of its file: {source}")]
    Damaged {
        /// Where the frame starts in the file.
        position: u64,
        /// What is wrong with it.
        source: log::Error,
    },
}

/// Frames that follow one another, as they travel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Bytes of output before the first frame.
    pub offset: u64,
    /// The frames as [`proto::log`] records; empty if there is no more at present.
    pub frames: Vec<u8>,
    /// Bytes of output up to and with the last frame: where to read on.
    pub end: u64,
}

/// Reads one log; remembers where it stopped, so that reading on costs no search.
#[derive(Debug)]
pub struct Reader {
    file: File,
    /// Where the next frame starts in the file.
    position: u64,
    /// Bytes of output before that frame.
    offset: u64,
}

impl Reader {
    /// Opens the log at `path`. It need not be there before its attempt was started.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, position: 0, offset: 0 })
    }

    /// The frames from byte `offset` of the output on, at most `most` bytes of them but at least
    /// one if there is one. A frame that begins before `offset` is cut to begin there; a frame that
    /// is not yet whole is left for later.
    pub fn read(&mut self, offset: u64, most: usize) -> Result<Batch, Error> {
        if offset < self.offset {
            (self.position, self.offset) = (0, 0);
        }
        if let Some(cut) = self.skip_to(offset)? {
            let mut frames = Vec::new();
            log::append(&mut frames, &cut);
            return Ok(Batch { offset, frames, end: cut.end() });
        }
        if self.offset < offset {
            return Ok(Batch { offset, frames: Vec::new(), end: offset });
        }
        let mut frames = self.chunk(most)?;
        let (size, last) = self.whole_frames(&frames)?;
        frames.truncate(size);
        self.position += size as u64;
        self.offset = last.map_or(offset, |frame| frame.end());
        Ok(Batch { offset, frames, end: self.offset })
    }

    /// Goes to the frame that begins at `offset`, or behind the one that `offset` lies in, of which
    /// it returns the rest.
    fn skip_to(&mut self, offset: u64) -> Result<Option<Frame>, Error> {
        while self.offset < offset {
            let chunk = self.chunk(16 * FRAME)?;
            let mut rest = &chunk[..];
            while self.offset < offset {
                let (frame, following) = match log::split(rest) {
                    Ok(split) => split,
                    Err(log::Error::Framing(framing::Error::Incomplete)) => break,
                    Err(source) => return Err(self.damaged(source)),
                };
                self.position += (rest.len() - following.len()) as u64;
                self.offset = frame.end();
                rest = following;
                if self.offset > offset {
                    return Ok(Some(cut(frame, offset)));
                }
            }
            if rest.len() == chunk.len() {
                break;
            }
        }
        Ok(None)
    }

    /// Bytes of the file from the next frame on: `most`, or more if that frame is longer.
    fn chunk(&self, most: usize) -> Result<Vec<u8>, Error> {
        let mut chunk = self.bytes(most)?;
        if let Some(length) = chunk.first_chunk::<4>() {
            let needed = framing::HEADER + u32::from_le_bytes(*length) as usize;
            if needed > RECORD {
                return Err(self.damaged(framing::Error::Damaged.into()));
            }
            if needed > chunk.len() {
                chunk = self.bytes(needed)?;
            }
        }
        Ok(chunk)
    }

    fn bytes(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most.max(framing::HEADER)];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], self.position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// How many bytes of `chunk` are whole frames, and the last of them.
    fn whole_frames(&self, chunk: &[u8]) -> Result<(usize, Option<Frame>), Error> {
        let mut rest = chunk;
        let mut last = None;
        loop {
            match log::split(rest) {
                Ok((frame, following)) => {
                    rest = following;
                    last = Some(frame);
                }
                Err(log::Error::Framing(framing::Error::Incomplete)) => break,
                // What precedes it is sound and goes first.
                Err(_) if last.is_some() => break,
                Err(source) => return Err(self.damaged(source)),
            }
        }
        Ok((chunk.len() - rest.len(), last))
    }

    fn damaged(&self, source: log::Error) -> Error {
        Error::Damaged { position: self.position, source }
    }
}

/// The part of `frame` from byte `offset` of the output on.
fn cut(mut frame: Frame, offset: u64) -> Frame {
    let before = usize::try_from(offset - frame.offset).unwrap_or(usize::MAX);
    frame.data = frame.data.slice(before.min(frame.data.len())..);
    frame.offset = offset;
    frame
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use proto::log::Stream;

    use super::*;
    use crate::spool::Writer;

    fn text(batch: &Batch) -> Vec<u8> {
        let frames = log::frames(&batch.frames, batch.offset).unwrap();
        frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn any_offset_and_any_portion_give_the_same_output(
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
            start: prop::sample::Index,
            most in 0..300usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut writer = Writer::open(&path).unwrap();
            for write in &writes {
                writer.append(Stream::Stdout, write).unwrap();
            }
            let whole = writes.concat();
            let start = start.index(whole.len() + 1);
            let mut reader = Reader::open(&path).unwrap();
            reader.read(0, 1 << 20).unwrap();
            let (mut read, mut offset) = (Vec::new(), start as u64);
            loop {
                let batch = reader.read(offset, most).unwrap();
                if batch.frames.is_empty() {
                    break;
                }
                prop_assert_eq!(batch.offset, offset);
                read.extend(text(&batch));
                offset = batch.end;
            }
            prop_assert_eq!(&read[..], &whole[start..]);
        }
    }

    #[test]
    fn a_frame_that_is_still_being_written_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let (path, model) = (dir.path().join("log"), dir.path().join("model"));
        let mut writer = Writer::open(&model).unwrap();
        writer.append(Stream::Stdout, b"one").unwrap();
        let first = std::fs::metadata(&model).unwrap().len() as usize;
        writer.append(Stream::Stdout, b"two").unwrap();
        let bytes = std::fs::read(&model).unwrap();
        for cut in first..bytes.len() {
            let mut file = File::create(&path).unwrap();
            file.write_all(&bytes[..cut]).unwrap();
            let mut reader = Reader::open(&path).unwrap();
            assert_eq!(text(&reader.read(0, 1000).unwrap()), b"one");
            assert_eq!(reader.read(3, 1000).unwrap().frames, b"");
            file.write_all(&bytes[cut..]).unwrap();
            assert_eq!(text(&reader.read(3, 1000).unwrap()), b"two");
        }
    }

    #[test]
    fn an_offset_that_is_not_yet_there_is_empty_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        writer.append(Stream::Stdout, b"one").unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.read(7, 100).unwrap(), Batch { offset: 7, frames: vec![], end: 7 });
        File::options().append(true).open(&path).unwrap().write_all(&[0; 64]).unwrap();
        assert_eq!(text(&reader.read(0, 1000).unwrap()), b"one");
        assert!(matches!(reader.read(3, 1000), Err(Error::Damaged { .. })));
    }
}
