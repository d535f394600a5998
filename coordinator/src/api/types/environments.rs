//! What is deployed where.

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::{DeviceName, PartitionName, PipelineName, RepositoryName};
use serde::{Deserialize, Serialize};

/// An attempt to deploy that ended; of `GET /api/v1/environments` each the latest one that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The partition of the environment, and of the job.
    pub partition: PartitionName,
    /// The environment's name.
    pub environment: String,
    /// Where to look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `succeeded`, or the kind of its outcome.
    pub status: String,
    /// When the coordinator heard of its end.
    pub at_us: u64,
    /// The run.
    pub run: RunId,
    /// The job of the run.
    pub job: JobId,
    /// The job's name, with its variant if it has several.
    pub title: String,
    /// The attempt of the job.
    pub attempt: AttemptId,
    /// The device that the job is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The pipeline's repository.
    pub repository: RepositoryName,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Full git reference, or a commit's hash.
    pub reference: String,
    /// The commit.
    pub commit: String,
    /// Who triggered the run.
    pub actor: String,
    /// Who approved or acknowledged at gates that the job stands behind, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
}

/// `GET /api/v1/environments/{partition}/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentHistory {
    /// The run that deployed what is there; none if no deployment ever succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<RunId>,
    /// The latest other run whose deployment succeeded before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RunId>,
    /// Deployments, the latest first.
    pub deployments: Vec<Deployment>,
}

/// `GET /api/v1/diffs/{partition}/{name}`: what lies between two deployments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentDiff {
    /// The one before.
    pub older: Deployment,
    /// The one after.
    pub newer: Deployment,
    /// Commits that came with the newer one, the latest first.
    pub added: Vec<Commit>,
    /// Commits that only the older one had.
    pub removed: Vec<Commit>,
    /// Whether there are more commits than these.
    pub more_commits: bool,
    /// Paths of files that differ, sorted; none if they are too many to be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its hash.
    pub commit: String,
    /// The first line of its message, cut if it is long.
    pub subject: String,
}
