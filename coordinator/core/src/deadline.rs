//! What is due when, by a clock that never jumps.

use std::collections::{BTreeMap, BTreeSet};

use pipelines::id::{AttemptId, JobId, RunId};
use serde::{Deserialize, Serialize};

/// A moment by the driver's steady clock: µs since the core was loaded. It goes on while the host
/// is suspended, and never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Steady(pub u64);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The pause before a job's next attempt is over.
    Again(JobId),
    /// The pause before the next wave of a run's rollout is over.
    Wave(RunId, u32),
    /// An attempt is waited for no more.
    Lost(AttemptId),
    /// A look whether queued jobs wait although an agent has room.
    Check,
}

/// All that is due some time. Not a part of the state: it is made of it anew, in full, after a
/// restart.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_time: BTreeSet<(Steady, Due)>,
    times: BTreeMap<Due, Steady>,
}

impl Steady {
    /// So many seconds later.
    pub(crate) fn plus_s(self, seconds: u64) -> Steady {
        Steady(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl Deadlines {
    /// Sets when something is due; it is due once.
    pub(crate) fn set(&mut self, due: Due, at: Steady) {
        self.clear(due);
        self.times.insert(due, at);
        self.by_time.insert((at, due));
    }

    /// Sets when something is due, unless it is due before.
    pub(crate) fn set_if_none(&mut self, due: Due, at: Steady) {
        if !self.times.contains_key(&due) {
            self.set(due, at);
        }
    }

    pub(crate) fn clear(&mut self, due: Due) {
        if let Some(at) = self.times.remove(&due) {
            self.by_time.remove(&(at, due));
        }
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Steady> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes what is due by now, the earliest first.
    pub(crate) fn pop(&mut self, now: Steady) -> Option<Due> {
        let (at, due) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(due);
        Some(due)
    }
}
