//! What starts runs.

use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::name::{PipelineName, RepositoryName};
use pipelines::trigger::limit::Limit;
use serde::{Deserialize, Serialize};

/// `POST /api/v1/triggers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTrigger {
    /// The repository, as the coordinator's configuration calls it.
    pub repository: RepositoryName,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// A branch, a full reference such as `refs/tags/v1`, or the full hash of a commit that was
    /// pushed.
    pub reference: String,
    /// What is chosen, each value as text.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Where alone the run goes, such as `fra-equ01` or `fra-equ01/leaf01`; everywhere if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limit: Vec<Limit>,
    /// Makes the request safe to repeat: the same key acts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The answer to a new trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    /// The trigger's number.
    pub trigger: u64,
    /// False if its key was known already.
    pub new: bool,
}

/// `GET /api/v1/triggers/{number}`; waits for the end of `pending` for up to 30 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its number.
    pub id: u64,
    /// `pending`, `resolved` or `failed`.
    pub status: String,
    /// The runs that came of it.
    pub runs: Vec<RunId>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a webhook that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What came of it: `triggered`, `triggered before`, `pong`, or `ignored: …` with the reason.
    pub message: String,
    /// The trigger, if it is one; it is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<u64>,
}

/// An item of `GET /api/v1/schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its repository.
    pub repository: RepositoryName,
    /// Its file.
    pub file: String,
    /// The cron expression.
    pub cron: String,
    /// The time zone that it is read in.
    pub timezone: String,
    /// What its runs are started with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// `once` or `skip`.
    pub missed: String,
    /// The branch that it was found on, in full.
    pub reference: String,
    /// That branch's commit, in hex.
    pub commit: String,
    /// When it is due next.
    pub next_us: u64,
    /// The same by the clocks of its time zone.
    pub next_local: String,
    /// What it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastStart>,
}

/// An item of `GET /api/v1/subscriptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its repository.
    pub repository: RepositoryName,
    /// Its file.
    pub file: String,
    /// The branch that it was found on, in full.
    pub reference: String,
    /// That branch's commit, in hex.
    pub commit: String,
    /// Which events it wants.
    #[serde(flatten)]
    pub wants: pipelines::event::Subscription,
}

/// What a schedule started last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastStart {
    /// When it was due.
    pub due_us: u64,
    /// The trigger's number.
    pub trigger: u64,
    /// The runs that came of it; none if it is not resolved, or could not be, or the pipeline had the
    /// schedule no more.
    pub runs: Vec<RunId>,
}
