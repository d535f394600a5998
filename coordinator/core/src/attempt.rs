//! Attempts: one execution of a job by one agent.

use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::Actor;
use crate::agent::AgentKey;
use crate::event::Wall;

/// What is remembered of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which one.
    pub id: AttemptId,
    /// Who carries it out.
    pub agent: AgentKey,
    /// The agent's instance when it was assigned; another instance never had it.
    pub instance: Uuid,
    /// When it was assigned.
    pub assigned: Wall,
    /// Who asked for its end; the agent is told until it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<Actor>,
    /// How far it is.
    pub state: State,
}

/// How far an attempt is, as far as the coordinator knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum State {
    /// Given to the agent, which has not acknowledged it.
    Assigned,
    /// The agent has the order on its disk.
    Accepted,
    /// Its runner started it.
    Running {
        /// Agent's wall clock, µs since 1970.
        started_us: u64,
    },
    /// It ended, by its agent's word.
    Finished {
        /// When the coordinator heard of it.
        at: Wall,
        /// How.
        verdict: Verdict,
    },
    /// The coordinator waits for it no more: its agent provably never had it, or lost it.
    Abandoned {
        /// When.
        at: Wall,
        /// What that means for the job.
        outcome: Outcome,
    },
}

impl Attempt {
    /// Whether it has not ended, as far as the coordinator knows.
    pub fn is_open(&self) -> bool {
        self.outcome().is_none()
    }

    /// How it ended; none while it is open.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Assigned | State::Accepted | State::Running { .. } => None,
            State::Finished { verdict, .. } => Some(&verdict.outcome),
            State::Abandoned { outcome, .. } => Some(outcome),
        }
    }
}
