//! Locks.

use coordinator_core::lock::Holder;
use pipelines::id::{AttemptId, JobId};
use pipelines::lock::Subject;
use pipelines::name::{DeviceName, PartitionName};
use serde::{Deserialize, Serialize};

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
