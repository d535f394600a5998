//! Frames as they came from an agent, checked.

use std::ops::Range;

use bytes::{Buf, Bytes};
use prost::Message;
use proto::framing;
use proto::log::{self, Error, Frame};

/// Output that no log will ever reach, in bytes; offsets beyond are mistakes.
const MAX_OFFSET: u64 = 1 << 60;

/// Frames that follow one another, and the bytes that they came in. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    bytes: Bytes,
    frames: Vec<(Range<usize>, Frame)>,
    /// Bytes of output before them.
    pub(super) offset: u64,
}

impl Frames {
    /// Checks that `bytes` are whole frames, the first of which starts at `offset`.
    pub(super) fn check(bytes: Bytes, offset: u64) -> Result<Frames, Error> {
        let mut frames = Vec::new();
        let mut expected = offset;
        let mut at = 0;
        while at < bytes.len() {
            let (payload, rest) = framing::split(&bytes[at..])?;
            // Decoded from the shared bytes, the frame's data is a part of them, not a copy.
            let frame = Frame::decode(bytes.slice_ref(payload))?;
            if frame.offset != expected || expected > MAX_OFFSET {
                return Err(Error::Offset { expected, found: frame.offset });
            }
            expected = frame.end();
            let end = bytes.len() - rest.len();
            frames.push((at..end, frame));
            at = end;
        }
        Ok(Frames { bytes, frames, offset })
    }

    /// What a log that reaches to `written` lacks; none if it lacks nothing.
    pub(super) fn after(&self, written: u64) -> Option<New> {
        let first = self.frames.iter().position(|(_, frame)| frame.end() > written)?;
        let (range, frame) = &self.frames[first];
        let mut data: Vec<Bytes> =
            self.frames[first..].iter().map(|(_, frame)| frame.data.clone()).collect();
        let end = self.frames.last().map_or(written, |(_, frame)| frame.end());
        if frame.offset >= written {
            return Some(New { bytes: self.bytes.slice(range.start..), data, end });
        }
        // The log ends inside the frame, which therefore was another when it was first sent.
        let cut = cut(frame.clone(), written);
        data[0] = cut.data.clone();
        let mut bytes = Vec::new();
        log::append(&mut bytes, &cut);
        bytes.extend_from_slice(&self.bytes[range.end..]);
        Some(New { bytes: bytes.into(), data, end })
    }
}

/// Frames that are to be written as they are.
#[derive(Debug)]
pub(super) struct New {
    /// For the file.
    pub(super) bytes: Bytes,
    /// The output in them.
    pub(super) data: Vec<Bytes>,
    /// Bytes of output with them.
    pub(super) end: u64,
}

/// The part of a frame from output offset `offset` on.
pub(super) fn cut(mut frame: Frame, offset: u64) -> Frame {
    let before = offset.saturating_sub(frame.offset).min(frame.data.len() as u64);
    frame.data.advance(before as usize);
    frame.offset += before;
    frame
}
