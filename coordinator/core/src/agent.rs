//! Agents: who they are and how they are connected.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use pipelines::name::{AgentName, LabelName, PartitionName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::Actor;
use crate::event::Wall;
use crate::upgrade::{self, Upgrade};

/// An agent's identity, as its certificate states it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentKey {
    /// Its partition.
    pub partition: PartitionName,
    /// Its name within the partition.
    pub name: AgentName,
}

/// What is remembered of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Who it is.
    pub key: AgentKey,
    /// When it was first enrolled.
    pub enrolled: Wall,
    /// SHA-256 (hex) of its public key; a certificate with another key is not this agent's.
    pub fingerprint: String,
    /// Cut off by an operator: no connection is accepted.
    #[serde(default)]
    pub revoked: bool,
    /// Who wants no new attempts on it; those that it has go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned_by: Option<Actor>,
    /// The latest word on which program it is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// What its latest hello said; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Its link.
    pub link: Link,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Made together with its state directory.
    pub instance: Uuid,
    /// Version, for people.
    pub version: String,
    /// Its host's boot id.
    pub boot_id: String,
    /// When it said so: µs since that boot; 0 from agents that do not say.
    #[serde(default)]
    pub sent_us: u64,
    /// How many attempts it runs side by side.
    pub capacity: u32,
    /// What jobs may ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelName, String>,
    /// How its latest upgrade ended; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<upgrade::Report>,
}

impl About {
    /// When both were said, if that was on one host since its latest boot and can be compared: a copy
    /// of the state directory that runs elsewhere has another boot id.
    pub(crate) fn compared_to(&self, other: &About) -> Option<Ordering> {
        let is_same = (self.instance, &self.boot_id) == (other.instance, &other.boot_id);
        (is_same && self.sent_us > 0).then(|| self.sent_us.cmp(&other.sent_us))
    }
}

/// One connection of an agent; numbered by the driver, never used twice within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// Whether an agent is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Link {
    /// By this session.
    Up {
        /// The session.
        session: SessionId,
        /// Since when.
        since: Wall,
    },
    /// Not now.
    Down {
        /// Since when.
        since: Wall,
    },
}

impl Agent {
    /// The session by which it is connected.
    pub fn session(&self) -> Option<SessionId> {
        match self.link {
            Link::Up { session, .. } => Some(session),
            Link::Down { .. } => None,
        }
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.name)
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
