//! For which run of its group a run waits.

use std::collections::BTreeMap;

use coordinator_core::group::GroupKey;
use coordinator_core::run::{self, Run};
use pipelines::id::RunId;

use crate::store::view::{self, View};

/// The run that is under way, of each group that has one.
#[derive(Debug, Default)]
pub(super) struct Started(BTreeMap<GroupKey, RunId>);

impl Started {
    /// Looks it up, if any of these runs waits.
    pub(super) fn beside<'r>(
        view: &View,
        runs: impl IntoIterator<Item = &'r Run>,
    ) -> Result<Started, view::Error> {
        let mut started = BTreeMap::new();
        if runs.into_iter().any(is_waiting) {
            for id in view.active()? {
                let run = view.run(id)?.filter(|run| run.state == run::State::Active);
                started.extend(run.and_then(|run| Some((run.group_key()?, id))));
            }
        }
        Ok(Started(started))
    }

    /// The run that this one waits for.
    pub(super) fn before(&self, run: &Run) -> Option<RunId> {
        let key = run.group_key().filter(|_| is_waiting(run))?;
        self.0.get(&key).copied()
    }
}

fn is_waiting(run: &Run) -> bool {
    matches!(run.state, run::State::Waiting { .. })
}
