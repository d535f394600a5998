//! Runs, their jobs and attempts.

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::input::Inputs;
use pipelines::name::{AgentName, GroupName, PartitionName, PipelineName, RepositoryName};
use pipelines::outcome::{Artifact, Outcome};
use pipelines::output::Outputs;
use pipelines::plan::Environment;
use pipelines::recap::Recap;
use pipelines::title::Title;
use serde::{Deserialize, Serialize};

use super::Gate;

/// An item of `GET /api/v1/runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// `waiting`, `active`, `cancelling`, `succeeded`, `failed`, `cancelled` or `invalid`.
    pub status: String,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its file.
    pub file: String,
    /// Its repository.
    pub repository: RepositoryName,
    /// Full git reference, or a commit's hash.
    pub reference: String,
    /// The commit in hex.
    pub commit: String,
    /// Who caused it.
    pub actor: String,
    /// When it was created.
    pub created_us: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_us: Option<u64>,
    /// Who asked for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// The group of which one run at a time is under way, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// While it is `waiting`: the run of its group that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<RunId>,
    /// The newer run of its group that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<RunId>,
    /// By whose word it may begin outside of its windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_overridden: Option<WindowOverridden>,
    /// What is wrong with the pipeline, if it is `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<String>,
}

impl Run {
    /// The status in words, where there is more to say.
    pub fn detail(&self) -> Option<String> {
        match (self.waits_for, &self.group, self.superseded_by) {
            (Some(run), Some(group), _) => Some(format!("waits for run {run} (group {group})")),
            (_, _, Some(newer)) => Some(format!("superseded by run {newer}")),
            _ => None,
        }
    }
}

/// `POST /api/v1/runs/{number}/override-window`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideWindow {
    /// Why its jobs are to begin outside of its windows.
    pub reason: String,
}

/// Somebody's word that a run may begin outside of its windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowOverridden {
    /// Whose.
    pub by: String,
    /// When it was given.
    pub at_us: u64,
    /// Why.
    pub reason: String,
}

/// `GET /api/v1/runs/{number}`, and each event of `GET /api/v1/runs/{number}/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// What it was started with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Its jobs that the caller may see, in the plan's order.
    pub jobs: Vec<Job>,
}

/// A job of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id, such as `17.3`.
    pub id: JobId,
    /// Which one it is in its partition.
    #[serde(flatten)]
    pub title: Title,
    /// What it deploys to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Where it runs.
    pub partition: PartitionName,
    /// `process`, `container`, `ssh` or `gate`.
    pub kind: String,
    /// Ids of the jobs that it needs.
    pub needs: Vec<JobId>,
    /// `waiting`, `queued`, `paused`, `active`, `skipped`, `unneeded`, `stopped`, `planned`, `cancelled`, or the kind of its outcome;
    /// of a gate also `open`, `approved`, `acknowledged`, `rejected` or `expired`.
    pub status: String,
    /// The status in words, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the window opens that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_us: Option<u64>,
    /// What it asks people, if it is a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// The texts that it left for jobs that need it.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// Its attempts, the oldest first.
    pub attempts: Vec<Attempt>,
}

/// An attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id, such as `17.3.1`.
    pub id: AttemptId,
    /// The agent's name.
    pub agent: AgentName,
    /// `assigned`, `accepted`, `running`, `unknown` (its agent's link is down), or the kind of its
    /// outcome.
    pub status: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Agent's clock at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_us: Option<u64>,
    /// Agent's clock at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_us: Option<u64>,
    /// Bytes of output in the log when it is complete; known once the attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_length: Option<u64>,
    /// Whether all of the log is here, with the right checksum.
    pub log_complete: bool,
    /// Archives of what it left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What came of the hosts of its Ansible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recap: Option<Recap>,
}
