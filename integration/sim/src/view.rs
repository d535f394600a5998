//! The view in memory: what the journal's changes add up to, and checkpoints of it.
//!
//! It stands for the coordinator's sled view, of which the store uses only this: put a record, list
//! records, and know the last batch that was applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::store::journal::Seq;
use coordinator_core::agent::{Agent, AgentKey};
use coordinator_core::attempt::Attempt;
use coordinator_core::audit::Audit;
use coordinator_core::change::{Change, Snapshot, Stored};
use coordinator_core::job::Job;
use coordinator_core::lock::{Holder, Lock, LockKey};
use coordinator_core::run::Run;
use coordinator_core::schedule::{ScheduleKey, Scheduled};
use coordinator_core::secret::{Secret, SecretKey};
use coordinator_core::subscriber::{Subscriber, SubscriberKey};
use coordinator_core::token::{ApiToken, JoinToken, TokenHash};
use coordinator_core::trigger::{Trigger, TriggerId};
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::lock::Subject;
use pipelines::name::{DeviceName, GroupName, LockName, TokenName};
use pipelines::plan::{self, Plan};
use rand::Rng;

/// All records as of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The last batch that was applied.
    pub applied: Seq,
    /// Triggers.
    pub triggers: BTreeMap<TriggerId, Trigger>,
    /// Runs.
    pub runs: BTreeMap<RunId, Run>,
    /// Plans of runs that compiled.
    pub plans: BTreeMap<RunId, Arc<Plan>>,
    /// Jobs.
    pub jobs: BTreeMap<JobId, Job>,
    /// Attempts, open or not.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Agents.
    pub agents: BTreeMap<AgentKey, Agent>,
    /// Locks, held or not.
    pub locks: BTreeMap<LockKey, Lock>,
    /// Operators' words, by number.
    pub audit: BTreeMap<u64, Audit>,
    api_tokens: BTreeMap<TokenName, ApiToken>,
    join_tokens: BTreeMap<TokenHash, JoinToken>,
    secrets: BTreeMap<SecretKey, Secret>,
    schedules: BTreeMap<ScheduleKey, Scheduled>,
    subscribers: BTreeMap<SubscriberKey, Subscriber>,
}

/// A checkpoint: written beside the running coordinator, so some of its records are newer than
/// others.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Nothing after this batch is in it.
    pub through: Seq,
    /// Its records; everything up to the view's batch is in it.
    pub view: View,
}

impl View {
    /// Applies the changes of the batch `seq`.
    pub fn apply(&mut self, seq: Seq, changes: &[Change]) {
        changes.iter().for_each(|change| self.put(change.clone()));
        self.applied = seq;
    }

    fn put(&mut self, change: Change) {
        match change {
            Change::Trigger(it) => drop(self.triggers.insert(it.id, it)),
            Change::Plan(run, plan) => drop(self.plans.insert(run, plan)),
            Change::Run(it) => drop(self.runs.insert(it.id, it)),
            Change::Job(it) => drop(self.jobs.insert(it.id, it)),
            Change::Attempt(it) => drop(self.attempts.insert(it.id, it)),
            Change::Agent(it) => drop(self.agents.insert(it.key.clone(), it)),
            Change::ApiToken(it) => drop(self.api_tokens.insert(it.name.clone(), it)),
            Change::JoinToken(it) => drop(self.join_tokens.insert(it.hash.clone(), it)),
            Change::Lock(it) => drop(self.locks.insert(it.key.clone(), it)),
            Change::Secret(it) => drop(self.secrets.insert(it.key.clone(), it)),
            Change::Schedule(it) => drop(self.schedules.insert(it.key.clone(), it)),
            Change::Subscriber(it) => drop(self.subscribers.insert(it.key.clone(), it)),
            Change::Audit(it) => drop(self.audit.insert(it.number, it)),
        }
    }

    /// What the core starts from.
    pub fn snapshot(&self) -> Snapshot {
        let active = self.runs.values().filter(|run| !run.is_final());
        Snapshot {
            last_run: self.runs.keys().last().map_or(0, |id| id.0),
            last_trigger: self.triggers.keys().last().map_or(0, |id| id.0),
            triggers: self.triggers.values().cloned().collect(),
            runs: active.filter_map(|run| self.stored(run.id)).collect(),
            agents: self.agents.values().cloned().collect(),
            api_tokens: self.api_tokens.values().cloned().collect(),
            join_tokens: self.join_tokens.values().cloned().collect(),
            locks: self.locks.values().filter(|it| it.holder.is_some()).cloned().collect(),
            secrets: self.secrets.values().cloned().collect(),
            schedules: self.schedules.values().filter(|it| it.next.is_some()).cloned().collect(),
            subscribers: self
                .subscribers
                .values()
                .filter(|it| !it.subscriptions.is_empty())
                .cloned()
                .collect(),
            last_audit: self.audit.keys().last().copied().unwrap_or_default(),
        }
    }

    /// All records of a run; none if there is none or it did not compile.
    pub fn stored(&self, id: RunId) -> Option<Stored> {
        let run = self.runs.get(&id)?.clone();
        let plan = Arc::clone(self.plans.get(&id)?);
        let jobs = self.jobs.range(id.job(0)..=id.job(u32::MAX));
        let attempts = self.attempts.range(id.job(0).attempt(0)..id.job(u32::MAX).attempt(0));
        let attempts = attempts.map(|(_, it)| it).filter(|it| it.is_open()).cloned().collect();
        Some(Stored { run, plan, jobs: jobs.map(|(_, it)| it.clone()).collect(), attempts })
    }

    /// The plan's side of a job.
    pub fn spec(&self, job: JobId) -> Option<&plan::Job> {
        self.plans.get(&job.run)?.jobs.get(job.index as usize)
    }

    /// The locks that a job works under, and who is to hold them.
    pub fn locks_of(&self, job: JobId) -> Vec<(LockKey, Holder)> {
        let (Some(plan), Some(spec)) = (self.plans.get(&job.run), self.spec(job)) else {
            return Vec::new();
        };
        let key = |name: &LockName| {
            let (partition, name) = (spec.partition.clone(), Subject::Named(name.clone()));
            LockKey { partition, name }
        };
        let run = plan.lock.iter().map(|name| (key(name), Holder::Run(job.run)));
        let own = spec.lock.iter().filter(|name| plan.lock.as_ref() != Some(name));
        let own = own.map(|name| (key(name), Holder::Job(job)));
        let device = spec.exclusive.iter().map(|it| {
            let (partition, name) = (spec.partition.clone(), it.subject());
            (LockKey { partition, name }, Holder::Run(job.run))
        });
        run.chain(own).chain(device).collect()
    }

    /// What a job works at alone: the lock that protects it, and the device.
    pub fn device_of(&self, job: JobId) -> Option<(LockKey, &DeviceName)> {
        let spec = self.spec(job)?;
        let exclusive = spec.exclusive.as_ref()?;
        let (partition, name) = (spec.partition.clone(), exclusive.subject());
        Some((LockKey { partition, name }, &exclusive.device))
    }

    /// The group that a run belongs to, as its plan says.
    pub fn group_of(&self, run: RunId) -> Option<&GroupName> {
        Some(&self.plans.get(&run)?.concurrency.as_ref()?.group)
    }

    /// A checkpoint that was begun with this view and is done when `later` is the view.
    pub fn checkpoint(&self, later: &View, rng: &mut impl Rng) -> Checkpoint {
        let mut view = self.clone();
        let mut newer = || rng.random_bool(0.5);
        if newer() {
            (view.runs, view.plans) = (later.runs.clone(), later.plans.clone());
        }
        if newer() {
            view.jobs = later.jobs.clone();
        }
        if newer() {
            view.attempts = later.attempts.clone();
        }
        if newer() {
            (view.triggers, view.agents) = (later.triggers.clone(), later.agents.clone());
        }
        if newer() {
            (view.locks, view.audit) = (later.locks.clone(), later.audit.clone());
        }
        Checkpoint { through: later.applied, view }
    }
}
