//! Groups: runs of one repository of which one at a time is under way.

use std::collections::BTreeMap;
use std::fmt;

use pipelines::id::RunId;
use pipelines::name::{GroupName, RepositoryName};

use crate::run::{self, Run};

/// Which group; its name is its repository's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Whose runs.
    pub repository: RepositoryName,
    /// Its name.
    pub name: GroupName,
}

/// The runs of a group that are not over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The one that is under way.
    pub(crate) started: Option<RunId>,
    /// Those that wait, by their places.
    pub(crate) waiting: BTreeMap<u64, RunId>,
}

impl Group {
    /// Takes a run in, if it is not over.
    pub(crate) fn insert(&mut self, run: &Run) {
        match run.state {
            run::State::Waiting { place } => drop(self.waiting.insert(place, run.id)),
            run::State::Active => self.started = Some(run.id),
            run::State::Finished { .. } | run::State::Invalid { .. } => {}
        }
    }

    /// Forgets a run.
    pub(crate) fn remove(&mut self, id: RunId) {
        self.started = self.started.filter(|started| *started != id);
        self.waiting.retain(|_, waiting| *waiting != id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.started.is_none() && self.waiting.is_empty()
    }

    /// The place behind all that wait.
    pub(crate) fn next_place(&self) -> u64 {
        self.waiting.keys().last().map_or(1, |last| last + 1)
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repository, self.name)
    }
}
