//! Named secrets, sealed. The core never sees a value.

use std::fmt;

use pipelines::name::{DeviceName, PartitionName, RepositoryName};
use pipelines::secret::SecretName;
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Role};
use crate::event::{Refusal, Wall};

/// Which jobs get a secret; of several with one name, a job gets the narrowest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// All.
    Everywhere,
    /// Those of this repository's pipelines, in all partitions.
    Repository {
        /// The repository.
        repository: RepositoryName,
    },
    /// Those in this partition.
    Partition {
        /// The partition.
        partition: PartitionName,
    },
    /// Those on this device.
    Device {
        /// The device's partition.
        partition: PartitionName,
        /// The device.
        device: DeviceName,
    },
}

/// Which secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretKey {
    /// Its name.
    pub name: SecretName,
    /// Which jobs get it.
    pub scope: Scope,
}

/// A value as it rests: AES-256-GCM under a master key that is elsewhere, with name, scope and
/// version as associated data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Tells master keys apart, and nothing of them.
    pub key: String,
    /// 12 bytes in Base64, never used twice with one key.
    pub nonce: String,
    /// The encrypted value and its tag, in Base64.
    pub bytes: String,
}

/// What is remembered of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Which one.
    #[serde(flatten)]
    pub key: SecretKey,
    /// From 1 up; each setting and each deletion has one of its own.
    pub version: u64,
    /// The value; none once it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// Who set or deleted it.
    pub by: Actor,
    /// When.
    pub at: Wall,
}

impl Scope {
    /// Whether somebody may set and delete secrets of this scope, and see which there are.
    pub fn is_managed_by(&self, actor: &Actor) -> bool {
        match self {
            Scope::Everywhere | Scope::Repository { .. } => actor.may_everywhere(Role::Admin),
            Scope::Partition { partition } | Scope::Device { partition, .. } => {
                actor.may(Role::Admin, partition)
            }
        }
    }

    /// Refuses whoever may not manage secrets of this scope.
    pub fn needs_manager(&self, actor: &Actor, doing: &str) -> Result<(), Refusal> {
        if self.is_managed_by(actor) {
            return Ok(());
        }
        let place = match self {
            Scope::Everywhere | Scope::Repository { .. } => "all partitions".to_owned(),
            Scope::Partition { partition } | Scope::Device { partition, .. } => {
                format!("partition {partition}")
            }
        };
        let text = format!("{doing} secrets ({self}) needs admin in {place}; {actor} lacks it");
        Err(Refusal::Forbidden(text))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Everywhere => write!(f, "everywhere"),
            Scope::Repository { repository } => write!(f, "repository {repository}"),
            Scope::Partition { partition } => write!(f, "partition {partition}"),
            Scope::Device { partition, device } => write!(f, "device {partition}/{device}"),
        }
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.scope)
    }
}
