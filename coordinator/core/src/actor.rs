//! Who did something, and what they may do.

use std::collections::BTreeSet;
use std::fmt;

use pipelines::name::{PartitionName, TokenName};
use serde::{Deserialize, Serialize};

use crate::agent::AgentKey;

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
}

/// What somebody may do, each role including the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See runs, logs and agents.
    View,
    /// Trigger, cancel and retry.
    Edit,
    /// Tokens and agents.
    Admin,
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
            Actor::Forge { .. } | Actor::Schedule { .. } => role <= Role::Edit,
            Actor::Agent(_) => false,
        }
    }

    /// Whether the actor may act with `role` in every partition.
    pub fn may_everywhere(&self, role: Role) -> bool {
        match self {
            Actor::Coordinator | Actor::LocalAdmin => true,
            Actor::Token { grant, .. } => grant.role >= role && grant.partitions == Scope::All,
            Actor::Forge { .. } | Actor::Schedule { .. } | Actor::Agent(_) => false,
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
            Actor::Forge { forge, login } => write!(f, "{login} ({forge})"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::View => "view",
            Role::Edit => "edit",
            Role::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "view" => Ok(Role::View),
            "edit" => Ok(Role::Edit),
            "admin" => Ok(Role::Admin),
            _ => Err(UnknownRole(text.to_owned())),
        }
    }
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a role: use view, edit or admin")]
pub struct UnknownRole(String);
