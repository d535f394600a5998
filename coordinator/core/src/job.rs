//! Jobs of a run.

use pipelines::id::JobId;
use pipelines::outcome::{Artifact, Outcome};
use pipelines::output::Outputs;
use pipelines::plan::{self, Task};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::event::Wall;

/// What is remembered of a job; what it does stands in the run's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which one.
    pub id: JobId,
    /// The number of its latest attempt; 0 before the first.
    pub attempts: u32,
    /// How many of them were since the run began, or somebody had it tried again.
    #[serde(default)]
    pub tried: u32,
    /// What its successful attempt left for jobs that need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The texts that it left for them, by name.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// Where it is.
    pub state: State,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum State {
    /// For jobs that it needs.
    Waiting,
    /// For locks, and an agent with room.
    Queued,
    /// A gate, for people.
    Open {
        /// Since when; its time limit counts from then.
        since: Wall,
        /// Who has approved, the first one first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<Approval>,
    },
    /// For the end of the pause before its next attempt.
    Paused {
        /// How long that is, in seconds.
        delay_s: u32,
    },
    /// Its latest attempt is with an agent.
    Active,
    /// Its latest attempt ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
    /// A gate that enough people have approved.
    Approved {
        /// When.
        at: Wall,
        /// Who, the first one first.
        approvals: Vec<Approval>,
    },
    /// A gate at which somebody said what was done by hand.
    Acknowledged {
        /// When.
        at: Wall,
        /// Who.
        by: Actor,
    },
    /// A gate at which somebody said no.
    Rejected {
        /// When.
        at: Wall,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// A gate that too few people have answered in its time.
    Expired {
        /// When.
        at: Wall,
    },
    /// A job that it needs did not succeed.
    Skipped {
        /// Index of that job.
        need: u32,
    },
    /// Nothing that it needs failed, and it is for that case only.
    Unneeded,
    /// Its rollout goes on to no other unit, as too many have failed.
    Stopped {
        /// Index of the rollout.
        rollout: u32,
    },
    /// Its run is planned and not done.
    Planned,
    /// Cancelled before it had an attempt.
    Cancelled {
        /// Who asked.
        by: Actor,
    },
}

/// What somebody said who let a gate's jobs through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Wall,
    /// In words, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Job {
    /// Whether it was queued, asked about, or more, since its run began or was tried again.
    pub fn has_begun(&self) -> bool {
        let is_begun = matches!(
            self.state,
            State::Open { .. } | State::Queued | State::Paused { .. } | State::Active
        );
        is_begun || self.tried > 0
    }

    /// Whether work of it has begun; a gate's is nobody's.
    pub fn is_worked_at(&self, spec: &plan::Job) -> bool {
        !matches!(spec.task, Task::Gate(_)) && self.has_begun()
    }
}

impl State {
    /// Whether only gates are in it.
    pub fn is_of_gate(&self) -> bool {
        matches!(
            self,
            State::Open { .. }
                | State::Approved { .. }
                | State::Acknowledged { .. }
                | State::Rejected { .. }
                | State::Expired { .. }
        )
    }

    /// Whether it will change no more without a retry.
    pub fn is_final(&self) -> bool {
        match self {
            State::Waiting
            | State::Queued
            | State::Open { .. }
            | State::Paused { .. }
            | State::Active => false,
            State::Finished { .. }
            | State::Approved { .. }
            | State::Acknowledged { .. }
            | State::Rejected { .. }
            | State::Expired { .. }
            | State::Skipped { .. }
            | State::Unneeded
            | State::Stopped { .. }
            | State::Planned
            | State::Cancelled { .. } => true,
        }
    }

    /// Whether jobs that need it may start.
    pub fn is_success(&self) -> bool {
        match self {
            State::Finished { outcome } => outcome.is_success(),
            State::Approved { .. } | State::Acknowledged { .. } => true,
            State::Waiting
            | State::Queued
            | State::Open { .. }
            | State::Paused { .. }
            | State::Active
            | State::Rejected { .. }
            | State::Expired { .. }
            | State::Skipped { .. }
            | State::Unneeded
            | State::Stopped { .. }
            | State::Planned
            | State::Cancelled { .. } => false,
        }
    }

    /// Whether it is final, and keeps jobs from starting that need its success.
    pub fn is_failure(&self) -> bool {
        self.is_final() && !self.is_success() && *self != State::Unneeded
    }

    /// The state as one word.
    pub fn kind(&self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Queued => "queued",
            State::Open { .. } => "open",
            State::Paused { .. } => "paused",
            State::Active => "active",
            State::Finished { outcome } => outcome.kind(),
            State::Approved { .. } => "approved",
            State::Acknowledged { .. } => "acknowledged",
            State::Rejected { .. } => "rejected",
            State::Expired { .. } => "expired",
            State::Skipped { .. } => "skipped",
            State::Unneeded => "unneeded",
            State::Stopped { .. } => "stopped",
            State::Planned => "planned",
            State::Cancelled { .. } => "cancelled",
        }
    }
}
