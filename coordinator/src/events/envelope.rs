//! The form of an event: CloudEvents 1.0, structured JSON. Fields of `data` are added, never given
//! another meaning; what cannot be told that way gets the next version in its `type`.
//!
//! Times in `data` are µs since 1970, UTC, as in the HTTP API. The published schemas are made of these
//! types ([`super::schema`]): their comments are what its readers see.

use coordinator_core::event::Wall;
use coordinator_core::lock;
use jiff::Timestamp;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::lock::Subject;
use pipelines::matrix::Combination;
use pipelines::name::{
    AgentName, DeviceName, GroupName, JobName, PartitionName, PipelineName, RepositoryName,
};
use pipelines::recap::Totals;
use schemars::JsonSchema;
use serde::Serialize;

use super::schema::{
    ATTEMPT_ID, ATTEMPT_STATES, JOB_ID, JOB_STATES, OUTCOMES, RUN_STATES, type_of,
};

/// An event of garrison, by CloudEvents 1.0. Fields are added within a version, so a reader ignores
/// those that it does not know.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Event")]
pub(super) struct Envelope<'a> {
    /// The version of CloudEvents.
    #[schemars(extend("const" = "1.0"))]
    specversion: &'static str,
    /// The same whenever this event is published again, and no other event's: batch in the journal,
    /// place in the batch, microseconds since 1970.
    #[schemars(extend("pattern" = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    id: String,
    /// The coordinator, by its trust domain.
    #[schemars(extend("pattern" = "^garrison://."))]
    source: &'a str,
    /// The topic, and the version of the data.
    #[serde(rename = "type")]
    kind: String,
    /// What it is about, such as `run/17`.
    subject: String,
    /// When the change became durable.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    /// What the data is.
    #[schemars(extend("const" = "application/json"))]
    datacontenttype: &'static str,
    /// The thing that the event is about, as it is from then on.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: &'a Data,
}

impl<'a> Envelope<'a> {
    /// An event of what `data` says, which happened at `time`.
    pub(super) fn new(
        id: String,
        source: &'a str,
        topic: &str,
        time: Wall,
        data: &'a Data,
    ) -> Self {
        let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
        let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
        Envelope {
            specversion: "1.0",
            id,
            source,
            kind: type_of(topic),
            subject: data.subject(),
            time: time.to_string(),
            datacontenttype: "application/json",
            data,
        }
    }

    /// The envelope as it is published.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope has only string keys")
    }
}

/// What an event says.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Data {
    /// Of `run.*`.
    Run(Run),
    /// Of `job.*`.
    Job(Box<Job>),
    /// Of `attempt.*`.
    Attempt(Attempt),
    /// Of `environment.*`.
    Environment(Environment),
    /// Of `agent.*`.
    Agent(Agent),
    /// Of `lock.*`.
    Lock(Lock),
}

/// A run as it is now.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Run {
    /// Its number.
    #[schemars(with = "u64")]
    pub(super) run: RunId,
    /// As in the HTTP API.
    #[schemars(extend("enum" = RUN_STATES))]
    pub(super) status: &'static str,
    /// Its pipeline.
    #[schemars(with = "String")]
    pub(super) pipeline: PipelineName,
    /// The pipeline's repository.
    #[schemars(with = "String")]
    pub(super) repository: RepositoryName,
    /// Full git reference, or a commit's hash.
    pub(super) reference: String,
    /// The commit.
    pub(super) commit: String,
    /// Partitions in which it has jobs, sorted.
    #[schemars(with = "Vec<String>")]
    pub(super) partitions: Vec<PartitionName>,
    /// The number of its trigger.
    pub(super) trigger: u64,
    /// Who triggered it.
    pub(super) actor: String,
    /// Who asked for its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) cancelled_by: Option<String>,
    /// Its group, of which one run at a time is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) group: Option<GroupName>,
    /// The newer run of its group that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) superseded_by: Option<RunId>,
    /// When it was created, in microseconds since 1970.
    pub(super) created_us: u64,
    /// When it ended, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) finished_us: Option<u64>,
}

/// To which run something belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Belongs {
    /// The run.
    #[schemars(with = "u64")]
    pub(super) run: RunId,
    /// The run's pipeline.
    #[schemars(with = "String")]
    pub(super) pipeline: PipelineName,
    /// The pipeline's repository.
    #[schemars(with = "String")]
    pub(super) repository: RepositoryName,
    /// Full git reference, or a commit's hash.
    pub(super) reference: String,
    /// The commit.
    pub(super) commit: String,
}

/// A job as it is now.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Job {
    /// Its id, such as `17.0`.
    #[schemars(with = "String", extend("pattern" = JOB_ID))]
    pub(super) job: JobId,
    /// The jobs that start its pipeline, the first one first, if it is not the run's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub(super) call: Vec<JobName>,
    /// Its name in its pipeline.
    #[schemars(with = "String")]
    pub(super) name: JobName,
    /// Which variant of the job it is, if it has a matrix.
    #[serde(skip_serializing_if = "Combination::is_empty")]
    pub(super) matrix: Combination,
    /// The only agent that it may run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) agent: Option<AgentName>,
    /// The device that it is for, if it is for each of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) device: Option<DeviceName>,
    /// Its partition.
    #[schemars(with = "String")]
    pub(super) partition: PartitionName,
    /// As in the HTTP API.
    #[schemars(extend("enum" = JOB_STATES))]
    pub(super) status: &'static str,
    /// The status in words, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) detail: Option<String>,
    /// Of a gate: who has approved so far, or acknowledged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) approved_by: Vec<String>,
    /// Of a gate: who rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) rejected_by: Option<String>,
    /// The number of its latest attempt; 0 before the first.
    pub(super) attempts: u32,
    #[serde(flatten)]
    pub(super) belongs: Belongs,
}

/// An attempt as it is now.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Attempt {
    /// Its id, such as `17.0.1`.
    #[schemars(with = "String", extend("pattern" = ATTEMPT_ID))]
    pub(super) attempt: AttemptId,
    /// Its job.
    #[schemars(with = "String", extend("pattern" = JOB_ID))]
    pub(super) job: JobId,
    /// The job's name in its pipeline.
    #[schemars(with = "String")]
    pub(super) name: JobName,
    /// Its partition.
    #[schemars(with = "String")]
    pub(super) partition: PartitionName,
    /// Whose it is.
    #[schemars(with = "String")]
    pub(super) agent: AgentName,
    /// How far it is, or its outcome.
    #[schemars(extend("enum" = ATTEMPT_STATES))]
    pub(super) status: &'static str,
    /// The outcome in words, if it is no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) detail: Option<String>,
    /// Who asked for its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) cancelled_by: Option<String>,
    /// When its runner started it, in microseconds since 1970, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) started_us: Option<u64>,
    /// When it ended, in microseconds since 1970, by the agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) finished_us: Option<u64>,
    /// How many hosts of its Ansible came to what.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Recap")]
    pub(super) recap: Option<Recap>,
    #[serde(flatten)]
    pub(super) belongs: Belongs,
}

/// How many hosts came to what.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Recap {
    /// Nothing was done: Ansible was in check mode, and what it would change counts as changed.
    check: bool,
    /// All.
    hosts: u32,
    /// Those that changed, or would have.
    changed: u32,
    /// Those that were unreachable.
    unreachable: u32,
    /// Those where a task failed.
    failed: u32,
}

impl From<Totals> for Recap {
    fn from(totals: Totals) -> Recap {
        let Totals { check, hosts, changed, unreachable, failed } = totals;
        Recap { check, hosts, changed, unreachable, failed }
    }
}

/// An environment after an attempt to deploy to it has ended.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Environment {
    /// Its name.
    pub(super) environment: String,
    /// The partition of the environment, and of the job.
    #[schemars(with = "String")]
    pub(super) partition: PartitionName,
    /// Where to look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) url: Option<String>,
    /// `succeeded`: it is what is deployed there now. Otherwise how the deployment ended.
    #[schemars(extend("enum" = OUTCOMES))]
    pub(super) status: &'static str,
    /// The attempt that deployed.
    #[schemars(with = "String", extend("pattern" = ATTEMPT_ID))]
    pub(super) attempt: AttemptId,
    /// Its job.
    #[schemars(with = "String", extend("pattern" = JOB_ID))]
    pub(super) job: JobId,
    /// The job's name in its pipeline.
    #[schemars(with = "String")]
    pub(super) name: JobName,
    /// The device that the job is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) device: Option<DeviceName>,
    #[serde(flatten)]
    pub(super) belongs: Belongs,
}

/// An agent as it is now.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Agent {
    /// Its name in its partition.
    #[schemars(with = "String")]
    pub(super) agent: AgentName,
    /// Its partition.
    #[schemars(with = "String")]
    pub(super) partition: PartitionName,
    /// As in the HTTP API.
    #[schemars(extend("enum" = ["connected", "away", "revoked"]))]
    pub(super) status: &'static str,
    /// The version of its program, once it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) version: Option<String>,
}

/// A lock as it is now.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Lock {
    /// What it protects: `deploy`, `group:leaf-pair`, `device:leaf01`.
    #[schemars(with = "String")]
    pub(super) lock: Subject,
    /// Its partition.
    #[schemars(with = "String")]
    pub(super) partition: PartitionName,
    /// Who holds it; null once it is free.
    pub(super) holder: Option<Holder>,
    /// The run of whoever holds it, or held it until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) run: Option<RunId>,
    /// The device that it is held for, where it protects devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) device: Option<DeviceName>,
    /// The last job at that device, if that did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = JOB_ID))]
    pub(super) failed: Option<JobId>,
    /// An attempt under it that may still run, though its job has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = ATTEMPT_ID))]
    pub(super) in_doubt: Option<AttemptId>,
}

/// Who holds a lock.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Holder {
    /// A run, by its number.
    Run(#[schemars(with = "u64")] RunId),
    /// A job, by its id.
    Job(#[schemars(with = "String")] JobId),
}

impl From<lock::Holder> for Holder {
    fn from(holder: lock::Holder) -> Holder {
        match holder {
            lock::Holder::Run(run) => Holder::Run(run),
            lock::Holder::Job(job) => Holder::Job(job),
        }
    }
}

impl From<&lock::Lock> for Lock {
    fn from(lock: &lock::Lock) -> Lock {
        Lock {
            lock: lock.key.name.clone(),
            partition: lock.key.partition.clone(),
            holder: lock.holder.map(Holder::from),
            run: lock.holder.or(lock.last).map(|holder| holder.run()),
            device: lock.device.clone(),
            failed: lock.failed,
            in_doubt: lock.in_doubt,
        }
    }
}

impl Data {
    fn subject(&self) -> String {
        match self {
            Data::Run(it) => format!("run/{}", it.run),
            Data::Job(it) => format!("job/{}", it.job),
            Data::Attempt(it) => format!("attempt/{}", it.attempt),
            Data::Environment(it) => format!("environment/{}/{}", it.partition, it.environment),
            Data::Agent(it) => format!("agent/{}/{}", it.partition, it.agent),
            Data::Lock(it) => format!("lock/{}/{}", it.partition, it.lock),
        }
    }

    /// The partition whose subject it is published to; none if it is in several or in none.
    pub(super) fn partition(&self) -> Option<&PartitionName> {
        match self {
            Data::Run(it) => match it.partitions.as_slice() {
                [partition] => Some(partition),
                _ => None,
            },
            Data::Job(it) => Some(&it.partition),
            Data::Attempt(it) => Some(&it.partition),
            Data::Environment(it) => Some(&it.partition),
            Data::Agent(it) => Some(&it.partition),
            Data::Lock(it) => Some(&it.partition),
        }
    }
}
