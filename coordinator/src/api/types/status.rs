//! In short how the coordinator is.

use pipelines::name::PartitionName;
use serde::{Deserialize, Serialize};

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The coordinator's version.
    pub version: String,
    /// The partitions that the token may see, by name.
    pub partitions: Vec<PartitionStatus>,
    /// Runs that are not over; only for tokens that may see all partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
    /// How far NATS was told; only for tokens that may see all partitions, and if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Feed>,
    /// How far forges were told; the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Feed>,
}

/// How a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Which one.
    pub partition: PartitionName,
    /// Agents that are connected.
    pub connected: usize,
    /// Agents that may connect, and are not.
    pub away: usize,
    /// Jobs that wait for an agent with room.
    pub queued: usize,
    /// Gates that wait for people.
    pub gates: usize,
}

/// How many runs are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Those that are under way.
    pub active: usize,
    /// Those that wait for another run of their group.
    pub waiting: usize,
}

/// How far others were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Batches of the journal that were not told yet.
    pub behind: u64,
    /// For how long the first of them has waited, in µs.
    pub waited_us: u64,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// Why nothing can be told now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when.
    pub since_us: u64,
    /// In words.
    pub reason: String,
}
