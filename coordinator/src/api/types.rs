//! The JSON of the API, version 1. Fields are added, never given another meaning.
//!
//! Times are µs since 1970, UTC. The command line reads these same types.

mod access;
mod agents;
mod artifacts;
mod environments;
mod gates;
mod locks;
mod runs;
mod status;
mod triggers;

use serde::{Deserialize, Serialize};

pub use coordinator_core::secret::{Scope, SecretKey};

pub use self::access::{ApiToken, Audit, LoginLink, NewApiToken, NewSecret, Secret, TokenText};
pub use self::agents::{Agent, NewJoinToken, NewUpgrade, Program, Upgrade};
pub use self::artifacts::{ArtifactFile, ArtifactLink, Artifacts, LogFrame};
pub use self::environments::{Commit, Deployment, EnvironmentDiff, EnvironmentHistory};
pub use self::gates::{Acknowledge, Approval, Approve, Gate, Reject, RunGate};
pub use self::locks::{BreakLock, Lock};
pub use self::runs::{Attempt, Job, OverrideWindow, Run, RunDetail, WindowOverridden};
pub use self::status::{Feed, PartitionStatus, Runs, Status, Trouble};
pub use self::triggers::{Hook, LastStart, NewTrigger, Schedule, Subscription, Trigger, Triggered};

/// Why a request was not carried out; with every status that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A sentence for people.
    pub error: String,
}
