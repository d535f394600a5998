//! Subscribers: pipelines that events from outside start.

use pipelines::event::Subscription;
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use serde::{Deserialize, Serialize};

/// Which pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubscriberKey {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its file.
    pub file: String,
}

/// What is remembered of a pipeline that wants events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    /// Which one.
    #[serde(flatten)]
    pub key: SubscriberKey,
    /// Its name.
    pub pipeline: PipelineName,
    /// Where it runs, as far as it names that.
    pub partitions: Vec<PartitionName>,
    /// The branch that it was found on, in full.
    pub reference: String,
    /// That branch's commit, in hex.
    pub commit: String,
    /// What it wants; one that wants nothing is as good as none.
    pub subscriptions: Vec<Subscription>,
}
