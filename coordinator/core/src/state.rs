//! The state of the core: records, and the indexes that decisions need.
//!
//! Invariant: [`State::apply`] is the only way to change it, so that the state comes from changes
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::input::Inputs;
use pipelines::name::{AgentName, DeviceName, PartitionName, TokenName};
use pipelines::plan::{self, Plan};

use crate::agent::{Agent, AgentKey};
use crate::attempt::Attempt;
use crate::change::{Change, Snapshot, Stored};
use crate::event::Wall;
use crate::gate;
use crate::group::{Group, GroupKey};
use crate::job::{self, Job};
use crate::lock::{Lock, LockKey};
use crate::queue::{Class, Queue};
use crate::rollout::Rollout;
use crate::run::Run;
use crate::schedule::{ScheduleKey, Scheduled};
use crate::secret::{Secret, SecretKey};
use crate::subscriber::{Subscriber, SubscriberKey};
use crate::token::{ApiToken, JoinToken, TokenHash};
use crate::trigger::{self, Trigger, TriggerId};

/// Everything that can still change by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last_run: u64,
    pub(crate) last_trigger: u64,
    /// Keys of triggers, so that each acts once.
    pub(crate) keys: BTreeMap<String, TriggerId>,
    pub(crate) pending: BTreeMap<TriggerId, Trigger>,
    /// Runs that are not over.
    pub(crate) runs: BTreeMap<RunId, ActiveRun>,
    /// The runs of each group that are not over.
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    /// Open attempts.
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    /// The open attempts of each agent that has any.
    pub(crate) held: BTreeMap<AgentKey, BTreeSet<AttemptId>>,
    /// Queued jobs of each partition that has any.
    pub(crate) queued: BTreeMap<PartitionName, Queue>,
    /// Locks that somebody holds.
    pub(crate) locks: BTreeMap<LockKey, Lock>,
    pub(crate) secrets: BTreeMap<SecretKey, SecretState>,
    /// Schedules that are due some time, and when.
    pub(crate) schedules: BTreeMap<ScheduleKey, Scheduled>,
    pub(crate) due: BTreeSet<(Wall, ScheduleKey)>,
    /// Pipelines that want events.
    pub(crate) subscribers: BTreeMap<SubscriberKey, Subscriber>,
    /// Open gates, and when they expire.
    pub(crate) expiries: BTreeSet<(Wall, JobId)>,
    pub(crate) last_audit: u64,
    pub(crate) agents: BTreeMap<AgentKey, Agent>,
    pub(crate) api_tokens: BTreeMap<TokenName, ApiToken>,
    pub(crate) join_tokens: BTreeMap<TokenHash, JoinToken>,
}

/// What decisions need to know of a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretState {
    /// The latest.
    pub(crate) version: u64,
    /// It has a value.
    pub(crate) is_set: bool,
}

/// A run whose jobs are not all final.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ActiveRun {
    pub(crate) run: Run,
    pub(crate) plan: Arc<Plan>,
    pub(crate) jobs: Vec<Job>,
    /// For each job, the jobs that need it.
    pub(crate) dependents: Vec<Vec<u32>>,
    /// The jobs that work at each device alone, by partition and device.
    pub(crate) at_devices: BTreeMap<(PartitionName, DeviceName), Vec<u32>>,
    /// How far its rollouts have come.
    pub(crate) rollouts: Vec<Rollout>,
    /// How many jobs are not final, in each partition that has any.
    pub(crate) open: BTreeMap<PartitionName, usize>,
    /// In how many jobs work has begun, in each partition with a window that has any.
    pub(crate) begun: BTreeMap<PartitionName, usize>,
}

impl State {
    /// The state as the store gives it back.
    pub(crate) fn load(snapshot: Snapshot) -> State {
        let mut state = State {
            last_run: snapshot.last_run,
            last_trigger: snapshot.last_trigger,
            last_audit: snapshot.last_audit,
            ..State::default()
        };
        let triggers = snapshot.triggers.into_iter().map(Change::Trigger);
        let runs = snapshot.runs.into_iter().flat_map(changes);
        let agents = snapshot.agents.into_iter().map(Change::Agent);
        let api_tokens = snapshot.api_tokens.into_iter().map(Change::ApiToken);
        let join_tokens = snapshot.join_tokens.into_iter().map(Change::JoinToken);
        let locks = snapshot.locks.into_iter().map(Change::Lock);
        let secrets = snapshot.secrets.into_iter().map(Change::Secret);
        let schedules = snapshot.schedules.into_iter().map(Change::Schedule);
        let subscribers = snapshot.subscribers.into_iter().map(Change::Subscriber);
        triggers
            .chain(runs)
            .chain(agents)
            .chain(api_tokens)
            .chain(join_tokens)
            .chain(locks)
            .chain(secrets)
            .chain(schedules)
            .chain(subscribers)
            .for_each(|change| state.apply(&change));
        state
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Trigger(trigger) => self.put_trigger(trigger),
            Change::Run(run) => self.put_run(run),
            Change::Plan(run, plan) => self.put_plan(*run, plan),
            Change::Job(job) => self.put_job(job),
            Change::Attempt(attempt) => self.put_attempt(attempt),
            Change::Agent(agent) => {
                self.agents.insert(agent.key.clone(), agent.clone());
            }
            Change::ApiToken(token) => {
                self.api_tokens.insert(token.name.clone(), token.clone());
            }
            Change::JoinToken(token) => {
                self.join_tokens.insert(token.hash.clone(), token.clone());
            }
            Change::Lock(lock) => {
                if lock.holder.is_some() {
                    self.locks.insert(lock.key.clone(), lock.clone());
                } else {
                    self.locks.remove(&lock.key);
                }
            }
            Change::Secret(secret) => self.put_secret(secret),
            Change::Schedule(scheduled) => self.put_schedule(scheduled),
            Change::Subscriber(subscriber) => {
                if subscriber.subscriptions.is_empty() {
                    self.subscribers.remove(&subscriber.key);
                } else {
                    self.subscribers.insert(subscriber.key.clone(), subscriber.clone());
                }
            }
            Change::Audit(audit) => self.last_audit = self.last_audit.max(audit.number),
        }
    }

    fn put_secret(&mut self, secret: &Secret) {
        let state = SecretState { version: secret.version, is_set: secret.sealed.is_some() };
        self.secrets.insert(secret.key.clone(), state);
    }

    fn put_schedule(&mut self, scheduled: &Scheduled) {
        let key = &scheduled.key;
        let old = self.schedules.remove(key).and_then(|old| old.next);
        if let Some(at) = old {
            self.due.remove(&(at, key.clone()));
        }
        if let Some(at) = scheduled.next {
            self.due.insert((at, key.clone()));
            self.schedules.insert(key.clone(), scheduled.clone());
        }
    }

    fn put_trigger(&mut self, trigger: &Trigger) {
        self.last_trigger = self.last_trigger.max(trigger.id.0);
        self.keys.insert(trigger.key.clone(), trigger.id);
        match trigger.state {
            trigger::State::Pending => {
                self.pending.insert(trigger.id, trigger.clone());
            }
            trigger::State::Resolved { .. } | trigger::State::Failed { .. } => {
                self.pending.remove(&trigger.id);
            }
        }
    }

    fn put_run(&mut self, run: &Run) {
        self.last_run = self.last_run.max(run.id.0);
        if let Some(key) = run.group_key() {
            let group = self.groups.entry(key.clone()).or_default();
            group.remove(run.id);
            group.insert(run);
            if group.is_empty() {
                self.groups.remove(&key);
            }
        }
        if run.is_final() {
            self.runs.remove(&run.id);
        } else if let Some(active) = self.runs.get_mut(&run.id) {
            active.run = run.clone();
        } else {
            self.runs.insert(run.id, ActiveRun::new(run.clone()));
        }
    }

    fn put_plan(&mut self, run: RunId, plan: &Arc<Plan>) {
        if let Some(active) = self.runs.get_mut(&run) {
            active.dependents = dependents(plan);
            active.at_devices = at_devices(plan);
            active.rollouts = Rollout::all_of(plan);
            active.plan = Arc::clone(plan);
        }
    }

    fn put_job(&mut self, job: &Job) {
        let Some(active) = self.runs.get_mut(&job.id.run) else { return };
        let index = job.id.index as usize;
        let plan = Arc::clone(&active.plan);
        let spec = &plan.jobs[index];
        let was_open = active.jobs.get(index).is_some_and(|old| !old.state.is_final());
        match (was_open, !job.state.is_final()) {
            (false, true) => add(&mut active.open, &spec.partition),
            (true, false) => take(&mut active.open, &spec.partition),
            (true, true) | (false, false) => {}
        }
        let was_begun = active.jobs.get(index).is_some_and(|old| old.is_worked_at(spec));
        match (was_begun, job.is_worked_at(spec)) {
            _ if plan.window(&spec.partition).is_none() => {}
            (false, true) => add(&mut active.begun, &spec.partition),
            (true, false) => take(&mut active.begun, &spec.partition),
            (true, true) | (false, false) => {}
        }
        for member in &spec.rollouts {
            let rollout = &mut active.rollouts[member.rollout as usize];
            rollout.count(member.unit, active.jobs.get(index), job);
        }
        let expired = active.jobs.get(index).and_then(|old| gate::expires(spec, old));
        if let Some(at) = expired {
            self.expiries.remove(&(at, job.id));
        }
        if let Some(at) = gate::expires(spec, job) {
            self.expiries.insert((at, job.id));
        }
        match active.jobs.get_mut(index) {
            Some(old) => *old = job.clone(),
            None => active.jobs.push(job.clone()),
        }
        let class = Class::of(&plan, spec);
        if job.state == job::State::Queued {
            self.queued.entry(spec.partition.clone()).or_default().insert(class, job.id);
        } else if let Some(queue) = self.queued.get_mut(&spec.partition) {
            queue.remove(&class, job.id);
            if queue.is_empty() {
                self.queued.remove(&spec.partition);
            }
        }
    }

    fn put_attempt(&mut self, attempt: &Attempt) {
        if attempt.is_open() {
            self.held.entry(attempt.agent.clone()).or_default().insert(attempt.id);
            self.attempts.insert(attempt.id, attempt.clone());
        } else {
            remove(&mut self.held, &attempt.agent, &attempt.id);
            self.attempts.remove(&attempt.id);
        }
    }

    /// The plan's side of a job of an active run.
    pub(crate) fn spec(&self, job: JobId) -> Option<&plan::Job> {
        self.runs.get(&job.run)?.plan.jobs.get(job.index as usize)
    }

    /// A job of an active run.
    pub(crate) fn job(&self, job: JobId) -> Option<&Job> {
        self.runs.get(&job.run)?.jobs.get(job.index as usize)
    }

    /// The agents of a partition, by name.
    pub(crate) fn agents_of(&self, partition: &PartitionName) -> impl Iterator<Item = &Agent> {
        // "0" is the first of all names: digits sort before letters.
        let name: AgentName = "0".parse().expect("a digit is a name");
        let first = AgentKey { partition: partition.clone(), name };
        self.agents
            .range(first..)
            .take_while(move |(key, _)| key.partition == *partition)
            .map(|(_, agent)| agent)
    }

    /// How many open attempts an agent has.
    pub(crate) fn load_of(&self, agent: &AgentKey) -> usize {
        self.held.get(agent).map_or(0, BTreeSet::len)
    }
}

impl ActiveRun {
    /// A run whose plan and jobs follow.
    fn new(run: Run) -> ActiveRun {
        let plan = Plan {
            pipeline: run.pipeline.clone(),
            file: run.file.clone(),
            lock: None,
            windows: Vec::new(),
            concurrency: None,
            inputs: Inputs::new(),
            inventories: Vec::new(),
            rollouts: Vec::new(),
            jobs: Vec::new(),
        };
        let (jobs, dependents) = (Vec::new(), Vec::new());
        let (at_devices, rollouts) = (BTreeMap::new(), Vec::new());
        let (plan, open, begun) = (Arc::new(plan), BTreeMap::new(), BTreeMap::new());
        ActiveRun { run, plan, jobs, dependents, at_devices, rollouts, open, begun }
    }

    /// The jobs that work at a device alone.
    pub(crate) fn at(&self, partition: &PartitionName, device: &DeviceName) -> &[u32] {
        let key = (partition.clone(), device.clone());
        self.at_devices.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// A stored run in the order in which the state takes its records.
fn changes(stored: Stored) -> impl Iterator<Item = Change> {
    let id = stored.run.id;
    [Change::Run(stored.run), Change::Plan(id, stored.plan)]
        .into_iter()
        .chain(stored.jobs.into_iter().map(Change::Job))
        .chain(stored.attempts.into_iter().map(Change::Attempt))
}

fn dependents(plan: &Plan) -> Vec<Vec<u32>> {
    let mut dependents = vec![Vec::new(); plan.jobs.len()];
    for (index, job) in (0..).zip(&plan.jobs) {
        for need in &job.needs {
            dependents[*need as usize].push(index);
        }
    }
    dependents
}

fn at_devices(plan: &Plan) -> BTreeMap<(PartitionName, DeviceName), Vec<u32>> {
    let mut jobs: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (index, job) in (0..).zip(&plan.jobs) {
        if let Some(exclusive) = &job.exclusive {
            let key = (job.partition.clone(), exclusive.device.clone());
            jobs.entry(key).or_default().push(index);
        }
    }
    jobs
}

/// One job more in a partition.
fn add(counts: &mut BTreeMap<PartitionName, usize>, partition: &PartitionName) {
    *counts.entry(partition.clone()).or_default() += 1;
}

/// One job less in a partition.
fn take(counts: &mut BTreeMap<PartitionName, usize>, partition: &PartitionName) {
    if let Some(count) = counts.get_mut(partition) {
        *count -= 1;
        if *count == 0 {
            counts.remove(partition);
        }
    }
}

/// Removes a member, and its set with the last one.
fn remove<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
