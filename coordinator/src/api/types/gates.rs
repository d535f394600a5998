//! Gates, and what people say at them.

use pipelines::gate::Triggerer;
use pipelines::id::JobId;
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::role::Role;
use serde::{Deserialize, Serialize};

/// What a gate asks people, and what they said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Who may answer.
    pub role: Role,
    /// What they are told.
    pub message: String,
    /// How many different people must answer.
    pub count: u32,
    /// What somebody must have done by hand, in the words that must be given back; none if it is
    /// approved instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<String>,
    /// Whether who triggered the run may answer.
    pub triggerer: Triggerer,
    /// While it is open: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_us: Option<u64>,
    /// While it is open: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<u64>,
    /// While it is open: what it waits for, such as `1 approval by an admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// While it is open: how many people are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u32>,
    /// Who has approved or acknowledged, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Whether the caller may approve, or acknowledge, now.
    pub may_answer: bool,
    /// While it is open: why the caller may not, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Whether the caller may reject now.
    pub may_reject: bool,
}

/// What somebody said who let a gate's jobs through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at_us: u64,
    /// In words, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An item of `GET /api/v1/gates`, and the answer to what somebody said at one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGate {
    /// The job that it is, such as `17.3`.
    pub job: JobId,
    /// Its name in the pipeline.
    pub name: String,
    /// Where what it lets through runs.
    pub partition: PartitionName,
    /// `open`, or as the status of a job.
    pub status: String,
    /// The status in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its repository.
    pub repository: RepositoryName,
    /// Full git reference, or a commit's hash.
    pub reference: String,
    /// The commit in hex.
    pub commit: String,
    /// Who triggered its run.
    pub actor: String,
    /// What it asks.
    #[serde(flatten)]
    pub gate: Gate,
}

/// `POST /api/v1/gates/{job}/approve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// In words, if there are any: one line of at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `POST /api/v1/gates/{job}/reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Why: one line of at most 1,000 bytes.
    pub reason: String,
}

/// `POST /api/v1/gates/{job}/acknowledge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// What was done: the gate's own text.
    pub text: String,
}
