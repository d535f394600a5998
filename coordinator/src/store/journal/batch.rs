//! The codec of batches: JSON inside the framing that all our files share.

use std::fmt;

use coordinator_core::change::Change;
use coordinator_core::event::{Event, Wall};
use proto::framing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of [`Batch`] that this build writes; it reads this one and all before it.
pub const VERSION: u32 = 1;

/// How every payload begins; inside JSON text these bytes cannot occur, as quotes are escaped.
pub(super) const PREFIX: &[u8] = b"{\"version\":";

/// The number of a batch: from 1, without gaps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, Hash,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Which opening of the journal wrote a batch: from 1, higher each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// What was decided in one go: the events as they came, and the changes that they made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// [`VERSION`].
    pub version: u32,
    /// Who wrote it; a change from one batch to the next is a restart.
    pub epoch: Epoch,
    /// Its number.
    pub seq: Seq,
    /// When the core handled the events.
    pub now: Wall,
    /// What happened; enough to repeat the decision.
    pub events: Vec<Event>,
    /// What is to be remembered; enough to know the state.
    pub changes: Vec<Change>,
}

/// A batch about to be written, borrowed; its fields are those of [`Batch`] in the same order.
#[derive(Debug, Serialize)]
pub(super) struct Draft<'a> {
    pub(super) version: u32,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    pub(super) now: Wall,
    pub(super) events: &'a [Event],
    pub(super) changes: &'a [Change],
}

/// What the order of batches is checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(in crate::store) struct Head {
    version: u32,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// A batch without its events, for whoever needs only the state.
#[derive(Debug, Deserialize)]
pub struct Changed {
    version: u32,
    epoch: Epoch,
    /// Its number.
    pub seq: Seq,
    /// When the core handled the events.
    pub now: Wall,
    /// What is to be remembered.
    pub changes: Vec<Change>,
}

/// A form in which a batch can be read.
pub(in crate::store) trait Form: DeserializeOwned {
    fn head(&self) -> Head;
}

impl Form for Batch {
    fn head(&self) -> Head {
        Head { version: self.version, epoch: self.epoch, seq: self.seq }
    }
}

impl Form for Head {
    fn head(&self) -> Head {
        *self
    }
}

impl Form for Changed {
    fn head(&self) -> Head {
        Head { version: self.version, epoch: self.epoch, seq: self.seq }
    }
}

/// Why a payload is not a batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("version {0}")]
    Newer(u32),
    #[error("not the JSON of a batch: {0}")]
    Malformed(serde_json::Error),
}

/// Writes `draft` as one record over what is in `out`. `None` if it is longer than a record may be.
pub(super) fn encode(draft: &Draft<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<()> {
    scratch.clear();
    serde_json::to_writer(&mut *scratch, draft).expect("a batch has only string keys");
    if scratch.len() > framing::MAX_PAYLOAD {
        return None;
    }
    out.clear();
    framing::append(out, scratch);
    Some(())
}

/// Reads a payload; a newer version is told apart from damage even if its fields are others.
pub(super) fn decode<T: Form>(payload: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_slice::<T>(payload) {
        Ok(read) if read.head().version <= VERSION => Ok(read),
        Ok(read) => Err(Unreadable::Newer(read.head().version)),
        Err(error) => match serde_json::from_slice::<Version>(payload) {
            Ok(Version { version }) if version > VERSION => Err(Unreadable::Newer(version)),
            _ => Err(Unreadable::Malformed(error)),
        },
    }
}

impl Seq {
    /// The number after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// The number before this one; 0 stays 0.
    pub fn previous(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
