//! What people call a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::matrix::{self, Combination};
use crate::name::{AgentName, DeviceName, JobName};

/// What tells a job from the others of its partition. For people: `build (arch=x86, os=4.3.0)`,
/// `check on mgmt01`, `reset for leaf01`, `check (os=4.3.0) on mgmt01`, `base/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// The jobs that start its pipeline, the first one first, if it is not the run's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<JobName>,
    /// Its name in its pipeline.
    pub name: JobName,
    /// Which variant of the job it is, if it has a matrix.
    #[serde(default, skip_serializing_if = "Combination::is_empty")]
    pub matrix: Combination,
    /// The only agent that it may run on; none for any of the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The device that it is for, if it is for each of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for job in &self.call {
            write!(f, "{job}/")?;
        }
        write!(f, "{}", self.name)?;
        if !self.matrix.is_empty() {
            write!(f, " ({})", matrix::title(&self.matrix))?;
        }
        if let Some(device) = &self.device {
            write!(f, " for {device}")?;
        }
        match &self.agent {
            Some(agent) => write!(f, " on {agent}"),
            None => Ok(()),
        }
    }
}
