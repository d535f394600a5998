//! Agents, and the programs that they run.

use std::collections::BTreeMap;

use pipelines::id::AttemptId;
use pipelines::name::{AgentName, LabelName, PartitionName};
use serde::{Deserialize, Serialize};

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

/// `POST /api/v1/agents/{partition}/{name}/token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    /// Seconds until it is refused.
    pub ttl_s: u64,
}
