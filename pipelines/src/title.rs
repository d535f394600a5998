//! What people call a job.

use crate::matrix::{self, Combination};
use crate::name::AgentName;

/// A job's name with its variant, and the agent that it is for if there is a certain one:
/// `build (arch=x86, os=4.3.0)`, `check on mgmt01`, `check (os=4.3.0) on mgmt01`.
pub fn of(name: &str, variant: &Combination, agent: Option<&AgentName>) -> String {
    let mut title = name.to_owned();
    if !variant.is_empty() {
        title.push_str(&format!(" ({})", matrix::title(variant)));
    }
    if let Some(agent) = agent {
        title.push_str(&format!(" on {agent}"));
    }
    title
}
