//! Which logs were used when.

use std::collections::BTreeMap;

use pipelines::id::AttemptId;

/// A set of logs in the order of their latest use.
#[derive(Debug, Default)]
pub(super) struct Recent {
    uses: u64,
    by_log: BTreeMap<AttemptId, u64>,
    by_use: BTreeMap<u64, AttemptId>,
}

impl Recent {
    /// Makes a log the one used last.
    pub(super) fn touch(&mut self, attempt: AttemptId) {
        self.uses += 1;
        if let Some(before) = self.by_log.insert(attempt, self.uses) {
            self.by_use.remove(&before);
        }
        self.by_use.insert(self.uses, attempt);
    }

    pub(super) fn remove(&mut self, attempt: AttemptId) {
        if let Some(used) = self.by_log.remove(&attempt) {
            self.by_use.remove(&used);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_log.len()
    }

    /// All, the one used longest ago first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = AttemptId> {
        self.by_use.values().copied()
    }
}
