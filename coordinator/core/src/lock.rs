//! Locks: who may work at something in a partition, one at a time.

use std::fmt;

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::{LockName, PartitionName};
use serde::{Deserialize, Serialize};

use crate::event::Wall;

/// Which lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockKey {
    /// Where it holds.
    pub partition: PartitionName,
    /// Its name.
    pub name: LockName,
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
    /// A run, with all its jobs in the lock's partition.
    Run(RunId),
    /// A single job.
    Job(JobId),
}

impl Holder {
    /// The jobs that may work under a lock that it holds: from the first to the last.
    pub(crate) fn jobs(self) -> (JobId, JobId) {
        match self {
            Holder::Run(run) => (run.job(0), run.job(u32::MAX)),
            Holder::Job(job) => (job, job),
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
