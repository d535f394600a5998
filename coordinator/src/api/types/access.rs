//! Tokens and secrets, and what operators did.

use coordinator_core::secret::{Scope, SecretKey};
use pipelines::name::{PartitionName, TokenName};
use pipelines::secret::{SecretName, Value};
use serde::{Deserialize, Serialize};

/// An item of `GET /api/v1/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Numbered from 1.
    pub number: u64,
    /// When.
    pub at_us: u64,
    /// Who.
    pub actor: String,
    /// What, in a sentence.
    pub text: String,
}

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// Its name.
    pub name: TokenName,
    /// `view`, `edit` or `admin`.
    pub role: String,
    /// Partitions in which it holds; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<PartitionName>>,
    /// Seconds until it is refused.
    pub ttl_s: u64,
}

/// A token, shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenText {
    /// The text to hand over.
    pub token: String,
    /// From when on it is refused.
    pub expires_us: u64,
}

/// `POST /api/v1/secrets`. Its `Debug` shows nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecret {
    /// Which one.
    #[serde(flatten)]
    pub key: SecretKey,
    /// What it is from now on.
    pub value: Value,
}

/// An item of `GET /api/v1/secrets`: all but the value, which nobody is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// Which jobs get it.
    pub scope: Scope,
    /// Higher each time that it is set or deleted.
    pub version: u64,
    /// Who did that last.
    pub by: String,
    /// When.
    pub at_us: u64,
    /// Whether it was deleted just now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

/// `POST /api/v1/login-link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginLink {
    /// The path that opens the pages, once.
    pub path: String,
    /// The whole address, if the configuration says by which one people come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// From when on it is refused.
    pub expires_us: u64,
}

/// An item of `GET /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name.
    pub name: TokenName,
    /// Its role.
    pub role: String,
    /// Partitions in which it holds; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<PartitionName>>,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused.
    pub expires_us: u64,
    /// Whether it is refused already.
    pub revoked: bool,
}

fn is_false(it: &bool) -> bool {
    !it
}
