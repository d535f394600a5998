//! Schedules: pipelines that start by themselves at certain times.

use std::fmt;

use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::event::Wall;
use crate::trigger::TriggerId;

/// Which schedule: what it says is its name, so that it is another one when that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScheduleKey {
    /// The pipeline's repository.
    pub repository: RepositoryName,
    /// The pipeline's file.
    pub file: String,
    /// What stands there.
    pub schedule: Schedule,
}

/// What is remembered of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Which one.
    #[serde(flatten)]
    pub key: ScheduleKey,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Where the pipeline runs.
    pub partitions: Vec<PartitionName>,
    /// The branch that it was found on, in full.
    pub reference: String,
    /// That branch's commit, in hex.
    pub commit: String,
    /// When it is due next; one that is due no more is as good as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Wall>,
    /// What it started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Fired>,
}

/// What a schedule started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// When it was due.
    pub due: Wall,
    /// The trigger.
    pub trigger: TriggerId,
}

impl ScheduleKey {
    /// The key of its trigger at a time: it acts once.
    pub(crate) fn trigger_key(&self, due: Wall) -> String {
        let ScheduleKey { repository, file, schedule } = self;
        let inputs: Vec<String> =
            schedule.inputs.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("schedule {} {repository} {file} {schedule}{}", due.0, inputs.concat())
    }
}

impl fmt::Display for ScheduleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of {} in {}", self.schedule, self.file, self.repository)
    }
}
