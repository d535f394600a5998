//! What attempts leave.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipelines::id::AttemptId;
use serde::{Deserialize, Serialize};

/// `GET /api/v1/attempts/{id}/artifacts`: what an attempt left, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its files.
    pub files: Vec<ArtifactFile>,
    /// Symlinks among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ArtifactLink>,
}

/// A file that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Its path, relative to the job's working directory.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Whether it may be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// A symlink that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactLink {
    /// Its path, relative to the job's working directory.
    pub path: String,
    /// Where it leads.
    pub target: String,
}

impl ArtifactFile {
    /// Where it is to be had, among the pages and, behind `/api/v1`, of the API.
    pub fn address(&self, attempt: AttemptId) -> String {
        let parts = self.path.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
        let parts: Vec<_> = parts.map(|part| part.to_string()).collect();
        format!("/attempts/{attempt}/artifacts/{}", parts.join("/"))
    }
}

/// A line of `GET /api/v1/attempts/{id}/log?format=json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFrame {
    /// Bytes of output before it.
    pub offset: u64,
    /// Agent's clock when it was read.
    pub time_us: u64,
    /// `stdout`, `stderr`, `system`, or `gap`: a line that says that output is missing.
    pub stream: String,
    /// The output; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// With `gap`: how many bytes of output are missing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
