//! Where in the journal an event stands; that is also its id.

use std::fmt;
use std::str::FromStr;

use coordinator_core::event::Wall;
use serde::{Deserialize, Serialize};

use crate::store::journal::Seq;

/// A change's place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// Its batch.
    pub(super) seq: Seq,
    /// Its index in the batch.
    pub(super) index: u32,
}

/// The id of an event: its place in the journal, and when its batch was committed, in µs since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) position: Position,
    pub(super) time: Wall,
}

impl Position {
    /// Behind all of a batch.
    pub(super) fn end(seq: Seq) -> Position {
        Position { seq, index: u32::MAX }
    }

    /// The last batch of which nothing comes after it.
    pub(super) fn whole(self) -> Seq {
        if self == Position::end(self.seq) { self.seq } else { self.seq.previous() }
    }

    /// The id of the event there, of a batch of this time.
    pub(super) fn id(self, time: Wall) -> String {
        format!("{}.{}.{}", self.seq, self.index, time.0)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        let seq = Seq(part().parse()?);
        let position = Position { seq, index: part().parse()? };
        Ok(Id { position, time: Wall(part().parse()?) })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            u32::MAX => write!(f, "{}", self.seq),
            index => write!(f, "{}.{index}", self.seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_and_read_as_they_are_written() {
        let place = |seq, index| Position { seq: Seq(seq), index };
        assert!(place(1, 9) < Position::end(Seq(1)) && Position::end(Seq(1)) < place(2, 0));
        assert_eq!((place(7, 3).whole(), Position::end(Seq(7)).whole()), (Seq(6), Seq(7)));
        let id: Id = place(7, 3).id(Wall(99)).parse().unwrap();
        assert_eq!(id, Id { position: place(7, 3), time: Wall(99) });
        for other in ["", "7", "7.3", "7.3.x", "order-1234", "7.3.1.1"] {
            assert!(other.parse::<Id>().is_err(), "{other}");
        }
    }
}
