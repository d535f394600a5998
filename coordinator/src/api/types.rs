//! The JSON of the API, version 1. Fields are added, never given another meaning.
//!
//! Times are µs since 1970, UTC. The command line reads these same types.

mod environments;
mod status;

use std::collections::BTreeMap;

use coordinator_core::lock::Holder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipelines::gate::Triggerer;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::input::Inputs;
use pipelines::lock::Subject;
use pipelines::name::{
    AgentName, DeviceName, GroupName, LabelName, PartitionName, PipelineName, RepositoryName,
    TokenName,
};
use pipelines::outcome::{Artifact, Outcome};
use pipelines::output::Outputs;
use pipelines::plan::Environment;
use pipelines::recap::Recap;
use pipelines::role::Role;
use pipelines::secret::{SecretName, Value};
use pipelines::title::Title;
use pipelines::trigger::limit::Limit;
use serde::{Deserialize, Serialize};

pub use coordinator_core::secret::{Scope, SecretKey};

pub use self::environments::{Commit, Deployment, EnvironmentDiff, EnvironmentHistory};
pub use self::status::{Feed, PartitionStatus, Runs, Status, Trouble};

/// Why a request was not carried out; with every status that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A sentence for people.
    pub error: String,
}

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

/// `GET /api/v1/attempts/{id}/artifacts`: what an attempt left, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its files.
    pub files: Vec<ArtifactFile>,
    /// Symlinks among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ArtifactLink>,
}

/// A file that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Its path, relative to the job's working directory.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Whether it may be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// A symlink that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactLink {
    /// Its path, relative to the job's working directory.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

impl ArtifactFile {
    /// Where it is to be had, among the pages and, behind `/api/v1`, of the API.
    pub fn address(&self, attempt: AttemptId) -> String {
        let parts = self.path.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
        let parts: Vec<_> = parts.map(|part| part.to_string()).collect();
        format!("/attempts/{attempt}/artifacts/{}", parts.join("/"))
    }
}

/// An item of `GET /api/v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its partition.
    pub partition: PartitionName,
    /// Its name.
    pub name: AgentName,
    /// `connected`, `away` or `revoked`.
    pub status: String,
    /// Since when.
    pub since_us: u64,
    /// Its version; none before its first hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many attempts it runs side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Who wants no new attempts on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned_by: Option<String>,
    /// The attempts that it has, as far as the coordinator knows.
    #[serde(default)]
    pub attempts: Vec<AttemptId>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelName, String>,
    /// Its latest upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

/// An upgrade of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Later ones have a greater one; its record in the audit has the same.
    pub number: u64,
    /// SHA-256 of the program, in hex.
    pub program: String,
    /// Who wants it.
    pub asked_by: String,
    /// Since when.
    pub asked_us: u64,
    /// `asked`, `done` or `failed`.
    pub status: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST /api/v1/agents/{partition}/{name}/upgrade`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUpgrade {
    /// SHA-256 of a program that was sent before, in hex; none for the coordinator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// Answer of `POST /api/v1/programs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its SHA-256, in hex.
    pub program: String,
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

/// An item of `GET /api/v1/locks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Where it holds.
    pub partition: PartitionName,
    /// What it protects: a name, `group:NAME` or `device:NAME`.
    pub name: Subject,
    /// Who holds it: `{"run": NUMBER}` or `{"job": "ID"}`.
    pub holder: Option<Holder>,
    /// The device that it is held for, where it protects devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The last job at that device, if that did not succeed: the lock stays held for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<JobId>,
    /// Since when.
    pub since_us: u64,
    /// An attempt under it that may still run, though its job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<AttemptId>,
    /// Queued jobs that wait for it.
    pub waiting: Vec<JobId>,
}

/// `POST /api/v1/locks/{partition}/{name}/break`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakLock {
    /// Who is meant to hold it.
    pub holder: Holder,
}

/// An item of `GET /api/v1/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Numbered from 1.
    pub number: u64,
    /// When.
    pub at_us: u64,
    /// Who.
    pub actor: String,
    /// What, in a sentence.
    pub text: String,
}

/// `POST /api/v1/agents/{partition}/{name}/token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    /// Seconds until it is refused.
    pub ttl_s: u64,
}

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// Its name.
    pub name: TokenName,
    /// `view`, `edit` or `admin`.
    pub role: String,
    /// Partitions in which it holds; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<PartitionName>>,
    /// Seconds until it is refused.
    pub ttl_s: u64,
}

/// A token, shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenText {
    /// The text to hand over.
    pub token: String,
    /// From when on it is refused.
    pub expires_us: u64,
}

/// `POST /api/v1/secrets`. Its `Debug` shows nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecret {
    /// Which one.
    #[serde(flatten)]
    pub key: SecretKey,
    /// What it is from now on.
    pub value: Value,
}

/// An item of `GET /api/v1/secrets`: all but the value, which nobody is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// Which jobs get it.
    pub scope: Scope,
    /// Higher each time that it is set or deleted.
    pub version: u64,
    /// Who did that last.
    pub by: String,
    /// When.
    pub at_us: u64,
    /// Whether it was deleted just now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

/// `POST /api/v1/login-link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginLink {
    /// The path that opens the pages, once.
    pub path: String,
    /// The whole address, if the configuration says by which one people come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// From when on it is refused.
    pub expires_us: u64,
}

/// An item of `GET /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name.
    pub name: TokenName,
    /// Its role.
    pub role: String,
    /// Partitions in which it holds; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<PartitionName>>,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused.
    pub expires_us: u64,
    /// Whether it is refused already.
    pub revoked: bool,
}

/// A line of `GET /api/v1/attempts/{id}/log?format=json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFrame {
    /// Bytes of output before it.
    pub offset: u64,
    /// Agent's clock when it was read.
    pub time_us: u64,
    /// `stdout`, `stderr`, `system`, or `gap`: a line that says that output is missing.
    pub stream: String,
    /// The output; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// With `gap`: how many bytes of output are missing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

fn is_false(it: &bool) -> bool {
    !it
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
