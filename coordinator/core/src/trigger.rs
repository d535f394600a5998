//! Triggers: what asks for runs. A trigger is durable before anybody hears that it was taken.

use pipelines::event::Subscription;
use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::schedule::Schedule;
use pipelines::trigger::limit::Limit;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::event::Wall;

/// A trigger; numbered from 1 by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerId(pub u64);

/// What is remembered of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Which one.
    pub id: TriggerId,
    /// Given by whoever triggers (a forge's delivery id, a client's UUID): acts once.
    pub key: String,
    /// Who triggered.
    pub actor: Actor,
    /// When it was taken.
    pub at: Wall,
    /// The repository.
    pub repository: RepositoryName,
    /// Full git reference, such as `refs/heads/main`.
    pub reference: String,
    /// What happened.
    pub cause: Cause,
    /// What came of it.
    pub state: State,
}

/// What a trigger says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Commits were pushed; every pipeline at that commit that asks for it runs.
    Push {
        /// The new head, in hex.
        commit: String,
        /// The head before, in hex, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// A pull request was opened, or its commits changed; every pipeline at its head that asks for it
    /// is planned, and nothing of it done.
    PullRequest {
        /// Its number at the forge.
        number: u64,
        /// Its head, in hex.
        commit: String,
        /// The branch that it is to be merged into, without `refs/heads/`.
        branch: String,
        /// The head of that branch, in hex; as it is found later if the forge does not tell it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// Somebody asked for one pipeline, at the head of the reference.
    Manual {
        /// Which one.
        pipeline: PipelineName,
        /// What was chosen.
        #[serde(default, skip_serializing_if = "Inputs::is_empty")]
        inputs: Inputs,
        /// Where alone it goes; everywhere if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        limit: Vec<Limit>,
    },
    /// A schedule was due; its pipeline runs, at the head of the reference if that still has it.
    Schedule {
        /// The pipeline's file.
        file: String,
        /// Which one of it.
        schedule: Schedule,
        /// The head when it was last known, in hex: taken if the repository cannot be reached.
        commit: String,
    },
    /// An event came; the pipeline that wants it runs, at the head of the reference if that still wants
    /// it.
    Event {
        /// The pipeline's file.
        file: String,
        /// What it wants.
        subscription: Subscription,
        /// What was taken of the event.
        #[serde(default, skip_serializing_if = "Inputs::is_empty")]
        inputs: Inputs,
        /// The event's partition, where alone its runs go; everywhere if it is of none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<PartitionName>,
        /// The head when it was last known, in hex: taken if the repository cannot be reached.
        commit: String,
        /// How many events stand behind it: one more than behind the run that it tells of.
        depth: u32,
    },
}

impl Cause {
    /// Whether its runs are planned and not done.
    pub fn is_only_planned(&self) -> bool {
        matches!(self, Cause::PullRequest { .. })
    }
}

/// What came of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum State {
    /// The source is being fetched and compiled.
    Pending,
    /// These runs were created; none if no pipeline asked for it.
    Resolved {
        /// In the order of their files.
        runs: Vec<RunId>,
    },
    /// No run could be created.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}
