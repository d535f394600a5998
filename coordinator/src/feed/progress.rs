//! How far a feed was told; for metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coordinator_core::event::Wall;

use crate::store::journal::Seq;

/// Set by the one who tells, read by anybody. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    told: Seq,
    /// When the first batch after `told` was committed, once it was seen.
    waiting: Option<Wall>,
}

impl Progress {
    /// Everything up to `seq` is told.
    pub fn told(&self, seq: Seq) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { told: seq, waiting: None };
    }

    /// The first batch that is not told was committed at `time`.
    pub fn waiting(&self, time: Wall) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting = Some(time);
    }

    /// How many batches are not told of those up to `last`, and for how long the first of them has
    /// waited at `now`.
    pub fn lag(&self, last: Seq, now: Wall) -> (u64, Duration) {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = last.0.saturating_sub(state.told.0);
        let waiting = state.waiting.filter(|_| batches > 0);
        let waited = waiting.map_or(0, |time| now.0.saturating_sub(time.0));
        (batches, Duration::from_micros(waited))
    }
}
