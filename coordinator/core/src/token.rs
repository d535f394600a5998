//! Tokens: for people and programs at the API, and for agents that join. Only hashes are kept.

use pipelines::name::TokenName;
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Grant};
use crate::agent::AgentKey;
use crate::event::Wall;

/// SHA-256 of a token's text, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(pub String);

/// A named token for the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name, which stands as the actor of what is done with it.
    pub name: TokenName,
    /// Its hash.
    pub hash: TokenHash,
    /// What it may do.
    pub grant: Grant,
    /// Who made it.
    pub created_by: Actor,
    /// When.
    pub created: Wall,
    /// From when on it is refused.
    pub expires: Wall,
    /// Refused from now on.
    #[serde(default)]
    pub revoked: bool,
}

/// A single-use token by which one agent joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its hash, which is also its key.
    pub hash: TokenHash,
    /// Whom it admits.
    pub agent: AgentKey,
    /// Who made it.
    pub created_by: Actor,
    /// From when on it is refused.
    pub expires: Wall,
    /// SHA-256 (hex) of the public key that used it. The same key may ask again, so that an answer
    /// that got lost costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}
