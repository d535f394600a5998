//! Who did something, and what they may do.

use std::collections::BTreeSet;
use std::fmt;

use pipelines::name::{PartitionName, TokenName};
use serde::{Deserialize, Serialize};

use crate::agent::AgentKey;

pub use pipelines::role::{Role, UnknownRole};

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The coordinator itself.
    Coordinator,
    /// An agent, as its certificate names it.
    Agent(AgentKey),
    /// A person or program with an API token.
    Token {
        /// The token's name.
        name: TokenName,
        /// What the token may do.
        grant: Grant,
    },
    /// Somebody who can read the coordinator's data directory.
    LocalAdmin,
    /// A forge, by a signed webhook.
    Forge {
        /// The forge's name in the configuration.
        forge: String,
        /// Who pushed, as the forge says.
        login: String,
    },
    /// A schedule that was due.
    Schedule {
        /// When, by the clocks of its zone, such as `2026-11-24 02:30 Europe/Berlin`.
        due: String,
    },
    /// An event from outside.
    Event {
        /// Its topic.
        topic: String,
        /// Its id, one of its source.
        id: String,
        /// Who sent it.
        source: String,
    },
}

/// A role, and the partitions in which it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Where.
    pub partitions: Scope,
}

/// A set of partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All, also those to come.
    All,
    /// Only these.
    Only(BTreeSet<PartitionName>),
}

impl Scope {
    /// Whether `partition` is in it.
    pub fn holds(&self, partition: &PartitionName) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(partitions) => partitions.contains(partition),
        }
    }
}

impl Actor {
    /// Whether the actor may act with `role` in `partition`.
    pub fn may(&self, role: Role, partition: &PartitionName) -> bool {
        match self {
            Actor::Coordinator | Actor::LocalAdmin => true,
            Actor::Token { grant, .. } => grant.role >= role && grant.partitions.holds(partition),
            // A push, like a schedule, triggers what the configuration lets its repository deploy.
            // So does an event.
            Actor::Forge { .. } | Actor::Schedule { .. } | Actor::Event { .. } => {
                role <= Role::Edit
            }
            Actor::Agent(_) => false,
        }
    }

    /// Whether both are one person, as far as can be told: by their tokens' name, whatever they may do by
    /// now, or by a token that is called like a login at a forge.
    pub fn is_same_person(&self, other: &Actor) -> bool {
        match (self, other) {
            (Actor::LocalAdmin, Actor::LocalAdmin) => true,
            (Actor::Token { name, .. }, Actor::Token { name: other, .. }) => name == other,
            (Actor::Token { name, .. }, Actor::Forge { login, .. })
            | (Actor::Forge { login, .. }, Actor::Token { name, .. }) => {
                name.as_str().eq_ignore_ascii_case(login)
            }
            _ => false,
        }
    }

    /// The right by which the actor acts, for people: `edit in fra, muc`.
    pub fn right(&self) -> String {
        match self {
            Actor::Token { grant, .. } => grant.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether the actor may act with `role` in every partition.
    pub fn may_everywhere(&self, role: Role) -> bool {
        match self {
            Actor::Coordinator | Actor::LocalAdmin => true,
            Actor::Token { grant, .. } => grant.role >= role && grant.partitions == Scope::All,
            Actor::Forge { .. }
            | Actor::Schedule { .. }
            | Actor::Event { .. }
            | Actor::Agent(_) => false,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Coordinator => write!(f, "coordinator"),
            Actor::Agent(agent) => write!(f, "agent {agent}"),
            Actor::Token { name, .. } => write!(f, "{name}"),
            Actor::LocalAdmin => write!(f, "local admin"),
            Actor::Schedule { due } => write!(f, "schedule of {due}"),
            Actor::Event { topic, id, source } => write!(f, "event {topic} {id} of {source}"),
            Actor::Forge { forge, login } => write!(f, "{login} ({forge})"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grant { role, partitions } = self;
        match partitions {
            Scope::All => write!(f, "{role}"),
            Scope::Only(partitions) => {
                let names: Vec<&str> = partitions.iter().map(PartitionName::as_str).collect();
                write!(f, "{role} in {}", names.join(", "))
            }
        }
    }
}
