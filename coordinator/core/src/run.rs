//! Runs: one pipeline at one commit for one trigger.

use pipelines::id::RunId;
use pipelines::name::{GroupName, PipelineName, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::event::Wall;
use crate::group::GroupKey;
use crate::trigger::TriggerId;

/// What is remembered of a run; its jobs and its plan are records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which one.
    pub id: RunId,
    /// What caused it.
    pub trigger: TriggerId,
    /// Who caused it.
    pub actor: Actor,
    /// The pipeline's repository.
    pub repository: RepositoryName,
    /// Full git reference, such as `refs/heads/main`.
    pub reference: String,
    /// The commit in hex.
    pub commit: String,
    /// The pipeline's name; the file's stem where the file could not be read.
    pub pipeline: PipelineName,
    /// The pipeline's file in the repository.
    pub file: String,
    /// SHA-256 (hex) of the source bundle that its jobs get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was created.
    pub created: Wall,
    /// Who asked for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<Actor>,
    /// The group of which one run at a time is under way, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// The newer run of its group that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<RunId>,
    /// The wave that each of its rollouts has come to, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<u32>,
    /// By whose word it may begin outside of its windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_window: Option<OverrideWindow>,
    /// By which step it came to be as it is; none in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Where it is.
    pub state: State,
}

/// What became of a run, for those who are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// There is a new one.
    Created,
    /// Somebody tries it again.
    Retried,
    /// Its turn in its group has come.
    Begun,
    /// A rollout of it has come to another wave.
    Wave,
    /// Somebody lets it begin outside of its window.
    Window,
    /// Somebody wants its end.
    Cancelled,
    /// It is over.
    Finished,
}

/// An operator's word that the jobs of a run may begin outside of its windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideWindow {
    /// Who said so.
    pub by: Actor,
    /// When.
    pub at: Wall,
    /// Why.
    pub reason: String,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum State {
    /// Another run of its group is under way; nothing of this one is.
    Waiting {
        /// Those of the group begin in the order of their places.
        place: u64,
    },
    /// Some job is not final.
    Active,
    /// All jobs are final.
    Finished {
        /// When.
        at: Wall,
        /// How.
        outcome: Outcome,
    },
    /// The pipeline did not compile; there are no jobs.
    Invalid {
        /// What is wrong, as it is shown to people.
        diagnostics: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every job succeeded.
    Succeeded,
    /// Nothing of it was to be done: its pull request asked for the plan alone.
    Planned,
    /// A job did not.
    Failed,
    /// Somebody cancelled it before every job had succeeded.
    Cancelled,
}

impl Run {
    /// The state as one word.
    pub fn status(&self) -> &'static str {
        match self.state {
            State::Waiting { .. } => "waiting",
            State::Active if self.cancelled_by.is_some() => "cancelling",
            State::Active => "active",
            State::Finished { outcome: Outcome::Succeeded, .. } => "succeeded",
            State::Finished { outcome: Outcome::Planned, .. } => "planned",
            State::Finished { outcome: Outcome::Failed, .. } => "failed",
            State::Finished { outcome: Outcome::Cancelled, .. } => "cancelled",
            State::Invalid { .. } => "invalid",
        }
    }

    /// Whether nothing of it will change without a retry.
    pub fn is_final(&self) -> bool {
        !matches!(self.state, State::Waiting { .. } | State::Active)
    }

    /// Its group.
    pub fn group_key(&self) -> Option<GroupKey> {
        let name = self.group.clone()?;
        Some(GroupKey { repository: self.repository.clone(), name })
    }
}
