//! Groups: a run of one begins when no other of it is under way.
//!
//! Invariant: of a group's runs one at most is under way, and one is while any waits. A run that
//! waits has queued nothing, so it has neither attempts nor new locks.

use std::sync::Arc;

use pipelines::id::RunId;
use pipelines::plan::{Mode, Plan};

use crate::actor::Actor;
use crate::change::Change;
use crate::group::GroupKey;
use crate::run::{self, Run};

use super::Core;

impl Core {
    /// How a run of this group begins: behind all that wait, if another is under way.
    pub(super) fn first_state(&self, group: Option<&GroupKey>) -> run::State {
        match group.and_then(|key| self.state.groups.get(key)) {
            Some(group) => run::State::Waiting { place: group.next_place() },
            None => run::State::Active,
        }
    }

    /// A run is on record with its jobs: begins it, or does to the others of its group what its mode
    /// says.
    pub(super) fn begin(&mut self, id: RunId, plan: &Plan) {
        let Some(active) = self.state.runs.get(&id) else { return };
        if active.run.state == run::State::Active {
            return self.advance_all(id, plan);
        }
        let (Some(key), Some(concurrency)) = (active.run.group_key(), &plan.concurrency) else {
            return;
        };
        let Some(group) = self.state.groups.get(&key) else { return };
        let (waiting, started) = (group.waiting.values(), group.started);
        // Those that wait first: else one of them would begin in place of the one that is cancelled.
        let others: Vec<RunId> = match concurrency.mode {
            Mode::Queue => Vec::new(),
            Mode::NewestOnly => waiting.copied().collect(),
            Mode::CancelRunning => waiting.copied().chain(started).collect(),
        };
        for other in others.into_iter().filter(|other| *other != id) {
            self.supersede(other, id);
        }
    }

    /// Cancels a run because of a newer one, unless somebody has cancelled it before.
    fn supersede(&mut self, old: RunId, new: RunId) {
        let Some(active) = self.state.runs.get(&old) else { return };
        if active.run.cancelled_by.is_none() {
            let run = Run { superseded_by: Some(new), ..active.run.clone() };
            self.end_run(run, &Actor::Coordinator);
        }
    }

    /// A run of a group has ended: begins the one that waits at the first place.
    pub(super) fn begin_next(&mut self, key: &GroupKey) {
        let Some(group) = self.state.groups.get(key) else { return };
        let first = group.waiting.values().next().filter(|_| group.started.is_none());
        let Some(active) = first.and_then(|first| self.state.runs.get(first)) else { return };
        let (id, plan) = (active.run.id, Arc::clone(&active.plan));
        let (state, step) = (run::State::Active, Some(run::Step::Begun));
        let run = Run { state, step, ..active.run.clone() };
        self.put(Change::Run(run));
        self.advance_all(id, &plan);
    }
}
