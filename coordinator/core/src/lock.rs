//! Locks: who may work at something in a partition, one at a time.

use std::fmt;

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::lock::Subject;
use pipelines::name::{DeviceName, PartitionName};
use serde::{Deserialize, Serialize};

use crate::event::Wall;

/// Which lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockKey {
    /// Where it holds.
    pub partition: PartitionName,
    /// What it protects there.
    pub name: Subject,
}

/// What is remembered of a lock; one that nobody holds is as good as none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Which one.
    #[serde(flatten)]
    pub key: LockKey,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The device that it is held for, where it protects devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// A job at that device that did not succeed, and was the last there: until one does, or somebody
    /// breaks the lock, no other device of the group is touched. Any run may work at this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<JobId>,
    /// Whose it was before it was free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Holder>,
    /// Since when it is so.
    pub since: Wall,
    /// An attempt under it that may still run, though its job has ended: it stays held until
    /// somebody breaks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<AttemptId>,
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A run, with all its jobs in the lock's partition, or at the lock's device.
    Run(RunId),
    /// A single job.
    Job(JobId),
}

impl Holder {
    /// The run, or the job's run.
    pub fn run(&self) -> RunId {
        match self {
            Holder::Run(run) => *run,
            Holder::Job(job) => job.run,
        }
    }
}

impl Lock {
    /// The jobs that may work under it while it is held: from the first to the last; of those, only
    /// jobs at its device, if it has one.
    pub(crate) fn jobs(&self) -> (JobId, JobId) {
        match self.holder {
            Some(Holder::Run(run)) if self.failed.is_none() || self.in_doubt.is_some() => {
                (run.job(0), run.job(u32::MAX))
            }
            Some(Holder::Job(job)) => (job, job),
            Some(Holder::Run(_)) | None => (RunId(0).job(0), RunId(u64::MAX).job(u32::MAX)),
        }
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.name)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Run(run) => write!(f, "run {run}"),
            Holder::Job(job) => write!(f, "job {job}"),
        }
    }
}
