//! What is remembered: each change is the whole new record of one thing.
//!
//! Applying changes in order gives the state; applying one twice gives the same. That makes the
//! journal, a checkpoint and the queryable view three forms of one thing.

use std::sync::Arc;

use pipelines::id::RunId;
use pipelines::plan::Plan;
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::attempt::Attempt;
use crate::audit::Audit;
use crate::job::Job;
use crate::lock::Lock;
use crate::run::Run;
use crate::schedule::Scheduled;
use crate::secret::Secret;
use crate::subscriber::Subscriber;
use crate::token::{ApiToken, JoinToken};
use crate::trigger::Trigger;

/// A record as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A trigger.
    Trigger(Trigger),
    /// A run's plan; written once.
    Plan(RunId, Arc<Plan>),
    /// A run.
    Run(Run),
    /// A job.
    Job(Job),
    /// An attempt.
    Attempt(Attempt),
    /// An agent.
    Agent(Agent),
    /// A token for the API.
    ApiToken(ApiToken),
    /// A token for joining.
    JoinToken(JoinToken),
    /// A lock.
    Lock(Lock),
    /// A secret, sealed.
    Secret(Secret),
    /// A schedule.
    Schedule(Scheduled),
    /// A pipeline that wants events.
    Subscriber(Subscriber),
    /// An operator's word; written once.
    Audit(Audit),
}

/// What the core holds in memory, as the store gives it back after a restart: everything that can
/// still change by itself. Finished runs stay in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The highest number of any run; 0 before the first.
    pub last_run: u64,
    /// The highest number of any trigger; 0 before the first.
    pub last_trigger: u64,
    /// Pending triggers, and all whose keys must still be recognised; by number.
    pub triggers: Vec<Trigger>,
    /// Active runs, by number.
    pub runs: Vec<Stored>,
    /// All agents.
    pub agents: Vec<Agent>,
    /// All API tokens.
    pub api_tokens: Vec<ApiToken>,
    /// All join tokens.
    pub join_tokens: Vec<JoinToken>,
    /// Locks that somebody holds.
    pub locks: Vec<Lock>,
    /// All secrets, deleted ones too.
    pub secrets: Vec<Secret>,
    /// Schedules that are due some time.
    pub schedules: Vec<Scheduled>,
    /// Pipelines that want events.
    pub subscribers: Vec<Subscriber>,
    /// The highest number of any operator's word; 0 before the first.
    pub last_audit: u64,
}

/// All records of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The run.
    pub run: Run,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its jobs, by index.
    pub jobs: Vec<Job>,
    /// Its attempts that are open, by id.
    pub attempts: Vec<Attempt>,
}
