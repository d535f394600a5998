//! How far a feed was told, and what keeps it from going on; for metrics and `garrison status`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coordinator_core::event::Wall;

use crate::store::journal::Seq;

/// Set by the one who tells, read by anybody. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    told: Seq,
    /// When the first batch after `told` was committed, once it was seen.
    waiting: Option<Wall>,
    trouble: Option<Trouble>,
}

/// Why nothing is told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when it is so.
    pub since: Wall,
    /// In words.
    pub reason: String,
}

impl Progress {
    /// Everything up to `seq` is told.
    pub fn told(&self, seq: Seq) {
        let mut state = self.state();
        (state.told, state.waiting) = (seq, None);
    }

    /// The first batch that is not told was committed at `time`.
    pub fn waiting(&self, time: Wall) {
        self.state().waiting = Some(time);
    }

    /// Nothing can be told, seen at `now`; it counts from when that was said first.
    pub fn fails(&self, reason: String, now: Wall) {
        let mut state = self.state();
        let since = state.trouble.as_ref().map_or(now, |trouble| trouble.since);
        state.trouble = Some(Trouble { since, reason });
    }

    /// Others can be told again.
    pub fn works(&self) {
        self.state().trouble = None;
    }

    /// Why nothing is told now, if that is so.
    pub fn trouble(&self) -> Option<Trouble> {
        self.state().trouble.clone()
    }

    /// How many batches are not told of those up to `last`, and for how long the first of them has
    /// waited at `now`.
    pub fn lag(&self, last: Seq, now: Wall) -> (u64, Duration) {
        let state = self.state();
        let batches = last.0.saturating_sub(state.told.0);
        let waiting = state.waiting.filter(|_| batches > 0);
        let waited = waiting.map_or(0, |time| now.0.saturating_sub(time.0));
        (batches, Duration::from_micros(waited))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
