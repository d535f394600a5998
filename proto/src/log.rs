//! Logs as frames: one frame a read of output, never one a line.

use prost::Message;

use crate::framing;
pub use crate::v1::{Frame, Stream};

/// Why bytes are not a sequence of frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// See [`framing::Error`].
    #[error(transparent)]
    Framing(#[from] framing::Error),
    /// The record's payload is no frame.
    #[error("log frame cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A frame does not start where the one before it ends.
    #[error("log frame starts at byte {found} of the output, expected {expected}")]
    Offset {
        /// Where it should start.
        expected: u64,
        /// Where it says that it starts.
        found: u64,
    },
}

/// Appends `frame` as one record to `out`.
pub fn append(out: &mut Vec<u8>, frame: &Frame) {
    framing::append(out, &frame.encode_to_vec());
}

/// Reads the frame at the start of `bytes`; returns it and the bytes that follow it.
pub fn split(bytes: &[u8]) -> Result<(Frame, &[u8]), Error> {
    let (payload, rest) = framing::split(bytes)?;
    Ok((Frame::decode(payload)?, rest))
}

/// Reads all of `bytes` as frames that follow one another from `offset` on.
pub fn frames(mut bytes: &[u8], offset: u64) -> Result<Vec<Frame>, Error> {
    let mut frames = Vec::new();
    let mut expected = offset;
    while !bytes.is_empty() {
        let (frame, rest) = split(bytes)?;
        if frame.offset != expected {
            return Err(Error::Offset { expected, found: frame.offset });
        }
        expected = frame.end();
        frames.push(frame);
        bytes = rest;
    }
    Ok(frames)
}

impl Frame {
    /// Bytes of output up to and with this frame.
    pub fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}
