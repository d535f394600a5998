//! The form of an event: CloudEvents 1.0, structured JSON. Fields of `data` are added, never given
//! another meaning; what cannot be told that way gets the next version in its `type`.
//!
//! Times in `data` are µs since 1970, UTC, as in the HTTP API.

use coordinator_core::event::Wall;
use coordinator_core::lock::{self, Holder};
use jiff::Timestamp;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::lock::Subject;
use pipelines::name::{
    AgentName, DeviceName, GroupName, JobName, PartitionName, PipelineName, RepositoryName,
};
use pipelines::recap::Totals;
use pipelines::title::Title;
use serde::Serialize;

/// The envelope.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<'a> {
    specversion: &'static str,
    /// The same whenever this event is published again, and no other event's.
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    /// What it is about, such as `run/17`.
    subject: String,
    time: String,
    datacontenttype: &'static str,
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
            kind: format!("garrison.{topic}.v1"),
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
    Job(Job),
    /// Of `attempt.*`.
    Attempt(Attempt),
    /// Of `agent.*`.
    Agent(Agent),
    /// Of `lock.*`.
    Lock(Lock),
}

/// A run as it is now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Run {
    pub(super) run: RunId,
    /// As in the HTTP API: `waiting`, `active`, `cancelling`, `succeeded`, `failed`, `cancelled`,
    /// `invalid`.
    pub(super) status: &'static str,
    pub(super) pipeline: PipelineName,
    pub(super) repository: RepositoryName,
    pub(super) reference: String,
    pub(super) commit: String,
    /// Partitions in which it has jobs, sorted.
    pub(super) partitions: Vec<PartitionName>,
    pub(super) trigger: u64,
    pub(super) actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cancelled_by: Option<String>,
    /// Of which one run at a time is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<GroupName>,
    /// The newer run of its group that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) superseded_by: Option<RunId>,
    pub(super) created_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_us: Option<u64>,
}

/// To which run something belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Belongs {
    pub(super) run: RunId,
    pub(super) pipeline: PipelineName,
    pub(super) repository: RepositoryName,
    pub(super) reference: String,
    pub(super) commit: String,
}

/// A job as it is now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Job {
    pub(super) job: JobId,
    #[serde(flatten)]
    pub(super) title: Title,
    pub(super) partition: PartitionName,
    /// As in the HTTP API.
    pub(super) status: &'static str,
    /// The status in words, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// The number of its latest attempt; 0 before the first.
    pub(super) attempts: u32,
    #[serde(flatten)]
    pub(super) belongs: Belongs,
}

/// An attempt as it is now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    pub(super) attempt: AttemptId,
    pub(super) job: JobId,
    pub(super) name: JobName,
    pub(super) partition: PartitionName,
    pub(super) agent: AgentName,
    /// `assigned`, `accepted`, `running`, or the kind of its outcome.
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cancelled_by: Option<String>,
    /// Agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_us: Option<u64>,
    /// Agent's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_us: Option<u64>,
    /// How many hosts of its Ansible came to what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recap: Option<Totals>,
    #[serde(flatten)]
    pub(super) belongs: Belongs,
}

/// An agent as it is now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Agent {
    pub(super) agent: AgentName,
    pub(super) partition: PartitionName,
    /// As in the HTTP API: `connected`, `away` or `revoked`.
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// A lock as it is now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lock {
    pub(super) lock: Subject,
    pub(super) partition: PartitionName,
    /// `{"run": NUMBER}` or `{"job": "ID"}`; null once it is free.
    pub(super) holder: Option<Holder>,
    /// The device that it is held for, where it protects devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<DeviceName>,
    /// The last job at that device, if that did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<JobId>,
    /// An attempt under it that may still run, though its job has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_doubt: Option<AttemptId>,
}

impl From<&lock::Lock> for Lock {
    fn from(lock: &lock::Lock) -> Lock {
        Lock {
            lock: lock.key.name.clone(),
            partition: lock.key.partition.clone(),
            holder: lock.holder,
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
            Data::Agent(it) => Some(&it.partition),
            Data::Lock(it) => Some(&it.partition),
        }
    }
}
