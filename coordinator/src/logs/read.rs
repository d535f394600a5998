//! Reading logs, apart from the writer, also while they are written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pipelines::id::AttemptId;
use prost::Message;
use proto::framing;
use proto::log::Frame;
use tokio::sync::watch;

use super::file::{is_seal, read_error};
use super::frames::cut;
use super::live::{Live, Position};
use super::{Error, blocking};

/// Bytes of the file read at a time.
const CHUNK: usize = 256 << 10;

/// Some frames of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The frames, one after the other.
    pub frames: Vec<Frame>,
    /// The output offset after them, from which to read on.
    pub next: u64,
}

/// What a follower sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// The frames that follow.
    Frames(Vec<Frame>),
    /// The log was dropped and comes again from its start: what was seen of it may differ.
    Restarted,
}

/// Follows one log. Sees bytes as soon as they are written, before they are durable.
#[derive(Debug)]
pub struct Follower {
    attempt: AttemptId,
    path: PathBuf,
    /// Output before this was seen.
    offset: u64,
    /// Where in the file the next frame starts.
    at: u64,
    generation: u64,
    /// Whether the seal stands at `at`.
    is_complete: bool,
    file: Option<Arc<File>>,
    position: watch::Receiver<Position>,
    live: Arc<Live>,
}

/// Frames from output offset `offset` on; see [`super::Logs::read`].
pub(super) fn chunk(path: &Path, offset: u64, limit: usize) -> Result<Chunk, Error> {
    let mut chunk = Chunk { frames: Vec::new(), next: offset };
    let Some(file) = open(path).map_err(read_error(path))? else { return Ok(chunk) };
    let (mut at, mut size) = (0, 0);
    loop {
        let Piece { frames, next, .. } = piece(&file, at, None).map_err(read_error(path))?;
        if next == at {
            return Ok(chunk);
        }
        at = next;
        for frame in frames {
            if size > 0 && size + frame.data.len() > limit {
                return Ok(chunk);
            }
            if frame.end() > offset {
                let frame = cut(frame, offset);
                size += frame.data.len();
                chunk.next = frame.end();
                chunk.frames.push(frame);
            }
        }
    }
}

impl Follower {
    pub(super) fn new(attempt: AttemptId, path: PathBuf, offset: u64, live: Arc<Live>) -> Self {
        let position = live.follow(attempt);
        let generation = position.borrow().generation;
        let (at, is_complete, file) = (0, false, None);
        Follower { attempt, path, offset, at, generation, is_complete, file, position, live }
    }

    /// Output before this was seen, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits for more; none once the log is complete. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn next(&mut self) -> Result<Option<Followed>, Error> {
        loop {
            if let Some(followed) = self.arrived().await? {
                return Ok(Some(followed));
            }
            let is_complete = self.is_complete || self.position.borrow().complete;
            // What arrived since `arrived` looked counts as a change.
            if is_complete && !self.position.has_changed().unwrap_or(false) {
                return Ok(None);
            }
            if self.position.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// What has arrived and was not seen, or the next part of it; none if that is all for now.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn arrived(&mut self) -> Result<Option<Followed>, Error> {
        loop {
            let position = *self.position.borrow_and_update();
            if position.generation != self.generation {
                (self.offset, self.at, self.generation) = (0, 0, position.generation);
                return Ok(Some(Followed::Restarted));
            }
            let Piece { frames, next, is_sealed } = self.read(position.size).await?;
            if self.position.borrow().generation != self.generation {
                continue;
            }
            self.is_complete = is_sealed && next == self.at;
            if next == self.at {
                return Ok(None);
            }
            self.at = next;
            let unseen = frames.into_iter().filter(|frame| frame.end() > self.offset);
            let unseen: Vec<_> = unseen.map(|frame| cut(frame, self.offset)).collect();
            if let Some(last) = unseen.last() {
                self.offset = last.end();
                return Ok(Some(Followed::Frames(unseen)));
            }
        }
    }

    /// The frames at `at` in a file of `size` known bytes.
    async fn read(&mut self, size: Option<u64>) -> Result<Piece, Error> {
        let at = self.at;
        let nothing = Piece { frames: Vec::new(), next: at, is_sealed: false };
        if size.is_some_and(|size| size <= at) {
            return Ok(nothing);
        }
        let (path, file) = (self.path.clone(), self.file.clone());
        let read = blocking(move || {
            let opened = match file {
                Some(file) => Some(file),
                None => open(&path).map_err(read_error(&path))?.map(Arc::new),
            };
            let Some(file) = opened else { return Ok((None, nothing)) };
            let piece = piece(&file, at, size).map_err(read_error(&path))?;
            Ok((Some(file), piece))
        });
        let (file, piece) = read.await?;
        self.file = file;
        Ok(piece)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.live.unfollow(self.attempt);
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A part of a file.
struct Piece {
    /// Whole frames, at least one if there is one.
    frames: Vec<Frame>,
    /// Where in the file the frame after them starts.
    next: u64,
    /// Whether the seal stands there.
    is_sealed: bool,
}

/// What stands in a file from `at` on, of which `size` bytes are known to be sound.
fn piece(file: &File, at: u64, size: Option<u64>) -> io::Result<Piece> {
    let mut wanted = CHUNK;
    loop {
        let most = size.map_or(u64::MAX, |size| size - at);
        let bytes = read_at(file, at, most.min(wanted as u64) as usize)?;
        let mut frames = Vec::new();
        let (mut used, mut is_sealed) = (0, false);
        while let Ok((payload, rest)) = framing::split(&bytes[used..]) {
            is_sealed = is_seal(payload);
            if is_sealed {
                break;
            }
            let Ok(frame) = Frame::decode(bytes.slice_ref(payload)) else { break };
            frames.push(frame);
            used = bytes.len() - rest.len();
        }
        let needed = bytes
            .first_chunk::<4>()
            .map_or(0, |length| framing::HEADER + u32::from_le_bytes(*length) as usize);
        let is_cut = used == 0 && bytes.len() == wanted && needed > wanted;
        if !is_cut || needed > framing::HEADER + framing::MAX_PAYLOAD {
            return Ok(Piece { frames, next: at + used as u64, is_sealed });
        }
        wanted = needed;
    }
}

fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    let mut have = 0;
    while have < length {
        match file.read_at(&mut bytes[have..], at + have as u64)? {
            0 => break,
            read => have += read,
        }
    }
    bytes.truncate(have);
    Ok(bytes.into())
}
