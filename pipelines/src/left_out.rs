//! Jobs of a pipeline that are not in a plan, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::quoted;
use crate::name::{JobName, PartitionName};
use crate::title::Title;

/// A job that is not in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which one.
    #[serde(flatten)]
    pub title: Title,
    /// Where it would have run.
    pub partition: PartitionName,
    /// Why it does not.
    pub reason: Reason,
}

/// Why a job is not in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Its condition does not hold.
    Condition {
        /// The condition.
        when: String,
    },
    /// Its partition is not selected.
    NotSelected,
    /// The push changed nothing that belongs to its partition.
    Unchanged {
        /// The pattern of the files that belong to it.
        files: String,
    },
    /// The run is held to other partitions or devices.
    Limited,
    /// No device of its partition is one that it is for.
    NoDevice,
    /// A job that it needs is left out.
    Need {
        /// That job.
        job: JobName,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Condition { when } => write!(f, "its condition {} does not hold", quoted(when)),
            Reason::NotSelected => f.write_str("`select` does not hold for its partition"),
            Reason::Unchanged { files } => {
                write!(f, "the push changed nothing of {}", quoted(files))
            }
            Reason::Limited => f.write_str("the run is held to others"),
            Reason::NoDevice => f.write_str("its partition has no such device"),
            Reason::Need { job } => {
                write!(f, "{}, which it needs, is left out", quoted(job.as_str()))
            }
        }
    }
}
