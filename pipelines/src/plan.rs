//! The plan: a pipeline at one commit for one trigger, expanded into a fixed graph of jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::name::{DeviceName, JobName, PartitionName, PipelineName};

/// What a run will do. Serialised as JSON it is the same, byte for byte, for the same input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its file, relative to the repository's root.
    pub file: String,
    /// The jobs in an order in which each stands behind all that it needs.
    pub jobs: Vec<Job>,
}

impl Plan {
    /// The plan as bytes: canonical, so that equal plans have equal bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has only string keys")
    }

    /// SHA-256 of [`Plan::to_json`], in hex.
    pub fn sha256(&self) -> String {
        let digest = Sha256::digest(self.to_json());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A node of the graph: what to do, in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name in the pipeline; with `partition` unique in the plan.
    pub name: JobName,
    /// Where it runs.
    pub partition: PartitionName,
    /// Indexes of jobs in [`Plan::jobs`] that must succeed first; sorted, each less than its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<u32>,
    /// By what means it runs.
    pub task: Task,
    /// Shell lines; the first one that fails ends the job.
    pub run: Vec<String>,
    /// Environment of the script, all scopes merged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Time limit in seconds, counted from the start of the script.
    pub timeout_s: u32,
    /// Glob patterns of files that the job leaves, relative to its working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
}

/// By what means a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// A process on the management server itself.
    Process,
    /// A container on the management server.
    Container(Container),
    /// A command on a device.
    Ssh(Ssh),
}

/// The container that a job runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Image reference, with tag or digest.
    pub image: String,
    /// When to pull it.
    pub pull: Pull,
    /// Its network.
    pub network: Network,
    /// Memory limit in bytes; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU limit in thousandths of a core; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u32>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// When the engine does not have it.
    IfMissing,
    /// Before each attempt.
    Always,
    /// Never: the engine must have it.
    Never,
}

/// A container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The engine's default network.
    Bridge,
    /// The management server's own; the agent's policy must allow it.
    Host,
    /// None but loopback.
    None,
}

/// A device and how to reach it, as the partition's inventory says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// The device's name.
    pub device: DeviceName,
    /// Host name or IP address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The pinned host key in OpenSSH's form, such as `ssh-ed25519 AAAA…`.
    pub host_key: String,
}
