//! How an attempt, a job and a run can end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::output::Outputs;
use crate::recap::Recap;

/// How one attempt ended. The kinds stay apart because what to do next differs for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Every line of the script ended with 0.
    Succeeded,
    /// The job's own program ended otherwise.
    Failed {
        /// How it ended.
        exit: Exit,
    },
    /// The job's time limit passed, and it was ended.
    TimedOut,
    /// Somebody cancelled it, and it provably runs no more.
    Cancelled,
    /// It was to be ended (cancel or time limit), but whether it still runs could not be seen.
    CancelUnconfirmed {
        /// What was tried, and what was seen.
        reason: String,
    },
    /// The agent's own policy forbids it; nothing was started.
    Refused {
        /// The rule in the policy file, such as `process.allow`.
        rule: String,
        /// What the rule says, and what to do.
        reason: String,
    },
    /// Something beside the job's program failed, and its program provably does not run.
    InfraError {
        /// What failed, and what to do.
        reason: String,
    },
    /// Nobody can say how it ended.
    Lost {
        /// Why not.
        reason: String,
        /// Whether it may still run; otherwise it is provably over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        may_run: bool,
    },
}

/// How a program ended that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its exit status, never 0.
    Code(i32),
    /// The number of the signal that ended it.
    Signal(i32),
    /// With 0, but its outputs are not what they should be; in words.
    Outputs(String),
    /// With 0, but something that the job waited for did not come; in words.
    Wait(String),
    /// No program: a file could not be made of its template; in words.
    Render(String),
}

/// What an attempt leaves behind when it ends; durable on the agent before anybody hears of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// Agent's wall clock when the job's program was started, µs since 1970; none if it never was.
    pub started_us: Option<u64>,
    /// Agent's wall clock at the end, µs since 1970.
    pub finished_us: u64,
    /// The log as it will be when all of it has arrived.
    pub log: LogEnd,
    /// What the job left: one archive of all that its patterns match; none if nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The texts that a successful job left, by name.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// What came of the hosts of the job's Ansible, however it ended; none if none ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recap: Option<Box<Recap>>,
}

/// The final length and checksum of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Bytes of (masked) output.
    pub length: u64,
    /// SHA-256 of those bytes, in hex.
    pub sha256: String,
}

/// A file set that one job leaves for later jobs and for people: one archive, known by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the archive (canonical tar), in hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many files are in it.
    pub files: u64,
}

/// Where an attempt is, as its agent knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The order rests on the agent's disk; nothing was started yet.
    Accepted,
    /// Its runner started it.
    Running {
        /// Agent's wall clock, µs since 1970.
        started_us: u64,
    },
    /// It ended.
    Finished(Box<Verdict>),
}

impl Outcome {
    /// Whether jobs that need this one may start.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Succeeded)
    }

    /// Whether something of it may still run.
    pub fn may_run(&self) -> bool {
        matches!(self, Outcome::CancelUnconfirmed { .. } | Outcome::Lost { may_run: true, .. })
    }

    /// The kind as one word, as it is stored, filtered by and shown.
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Cancelled => "cancelled",
            Outcome::CancelUnconfirmed { .. } => "cancel_unconfirmed",
            Outcome::Refused { .. } => "refused",
            Outcome::InfraError { .. } => "infra_error",
            Outcome::Lost { .. } => "lost",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Succeeded => write!(f, "succeeded"),
            Outcome::Failed { exit } => write!(f, "failed: {exit}"),
            Outcome::TimedOut => write!(f, "timed out"),
            Outcome::Cancelled => write!(f, "cancelled"),
            Outcome::CancelUnconfirmed { reason } => write!(f, "cancel unconfirmed: {reason}"),
            Outcome::Refused { rule, reason } => write!(f, "refused by {rule}: {reason}"),
            Outcome::InfraError { reason } => write!(f, "infrastructure error: {reason}"),
            Outcome::Lost { reason, .. } => write!(f, "lost: {reason}"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "ended by signal {signal}"),
            Exit::Outputs(problem) | Exit::Wait(problem) | Exit::Render(problem) => {
                f.write_str(problem)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_without_a_recap_is_written_as_it_was_before_there_were_any() {
        let old = r#"{"outcome":{"kind":"succeeded"},"started_us":1,"finished_us":2,"log":{"length":0,"sha256":""}}"#;
        let verdict: Verdict = serde_json::from_str(old).unwrap();
        assert_eq!(verdict.recap, None);
        assert_eq!(serde_json::to_string(&verdict).unwrap(), old);
    }
}
