//! Queued jobs of a partition, so ordered that the next one is found without a look at those that
//! must wait.
//!
//! Jobs that ask for the same locks, labels and agent stand in one class, the oldest first: if one of
//! them must wait then so must all that the locks' holders do not own.

use std::collections::{BTreeMap, BTreeSet};

use pipelines::id::JobId;
use pipelines::lock::Subject;
use pipelines::name::{AgentName, DeviceName, LabelName, LockName};
use pipelines::plan::{self, Exclusive, Plan};

/// What jobs ask for beside room.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    /// The run's lock.
    pub(crate) run_lock: Option<LockName>,
    /// The job's own lock.
    pub(crate) job_lock: Option<LockName>,
    /// The device that the run works at alone, and what is locked for that.
    pub(crate) device: Option<(Subject, DeviceName)>,
    /// Labels of the agent.
    pub(crate) labels: BTreeMap<LabelName, String>,
    /// The only agent that may have them.
    pub(crate) agent: Option<AgentName>,
}

/// The queued jobs of one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue(BTreeMap<Class, BTreeSet<JobId>>);

impl Class {
    /// The class of a job.
    pub(crate) fn of(plan: &Plan, job: &plan::Job) -> Class {
        Class {
            run_lock: plan.lock.clone(),
            job_lock: job.lock.clone(),
            device: job.exclusive.as_ref().map(|it: &Exclusive| (it.subject(), it.device.clone())),
            labels: job.labels.clone(),
            agent: job.agent.clone(),
        }
    }

    /// What a job of this class needs locked, and the device for which.
    pub(crate) fn locks(&self) -> impl Iterator<Item = (Subject, Option<&DeviceName>)> {
        let named = self.run_lock.iter().chain(&self.job_lock);
        let named = named.map(|name| (Subject::Named(name.clone()), None));
        named.chain(self.device.iter().map(|(subject, device)| (subject.clone(), Some(device))))
    }
}

impl Queue {
    pub(crate) fn insert(&mut self, class: Class, job: JobId) {
        self.0.entry(class).or_default().insert(job);
    }

    pub(crate) fn remove(&mut self, class: &Class, job: JobId) {
        if let Some(jobs) = self.0.get_mut(class) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.0.remove(class);
            }
        }
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The classes that have jobs, and their jobs.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (&Class, &BTreeSet<JobId>)> {
        self.0.iter()
    }
}
