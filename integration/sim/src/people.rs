//! What people and forges ask for, and what they were promised. What an operator's word excuses
//! stands in [`crate::ledger`].

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator_core::actor::{Actor, Grant, Role, Scope};
use coordinator_core::agent::AgentKey;
use coordinator_core::event::{Answer, Ask, Event, Refusal, Resolution, Wall};
use coordinator_core::lock::{Holder, Lock, LockKey};
use coordinator_core::token::TokenHash;
use coordinator_core::trigger::{Cause, Trigger};
use coordinator_core::{job, run};
use pipelines::gate::{Asks, Gate, Triggerer};
use pipelines::id::{JobId, RunId};
use pipelines::plan::{
    Concurrency, Exclusive, Job, Member, Mode, OnLost, Plan, Retry, RetryOn, Rollout, Ssh, Task,
    Unit,
};

use rand::Rng;

use crate::coordinator::Input;
use crate::ledger::Rule;
use crate::mutant::Mutant;
use crate::world::{World, note};

/// Deliveries that differ, at most, in one world.
const DELIVERIES: u64 = 12;

/// Who waits for an answer, and for which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A forge, for this delivery.
    Trigger(String),
    /// A person, who only reads the answer.
    Person,
    /// A host that joins, with this key.
    Enrol(usize, String),
}

impl World {
    /// Whether a new delivery may come.
    pub(crate) fn has_deliveries(&self) -> bool {
        self.coordinator.running.is_some() && self.deliveries < DELIVERIES
    }

    /// A delivery that was not made before.
    pub(crate) fn push(&mut self) {
        self.deliveries += 1;
        self.deliver(self.deliveries);
    }

    /// A delivery, the first time or again.
    pub(crate) fn deliver(&mut self, number: u64) {
        let key = format!("delivery-{number}");
        note!(self, "{key}");
        let ask = Ask::Trigger {
            key: key.clone(),
            repository: name("infra"),
            reference: "refs/heads/main".into(),
            cause: Cause::Push { commit: "c0ffee".into(), before: None },
        };
        let actor = Actor::Forge { forge: "github".into(), login: "mona".into() };
        self.input(Input::Ask { actor, ask, asked: Asked::Trigger(key) });
    }

    /// Runs that may be cancelled, or those that may be retried.
    pub(crate) fn runs(&self, active: bool) -> Vec<RunId> {
        let Some(running) = &self.coordinator.running else { return vec![] };
        let fits = |run: &&run::Run| match run.state {
            run::State::Waiting { .. } | run::State::Active => active,
            run::State::Finished { outcome, .. } => !active && outcome != run::Outcome::Succeeded,
            run::State::Invalid { .. } => false,
        };
        running.view.runs.values().filter(fits).map(|run| run.id).collect()
    }

    /// Somebody cancels.
    pub(crate) fn cancel(&mut self, run: RunId) {
        note!(self, "run {run}");
        self.admin_asks(Ask::Cancel { run });
    }

    /// Somebody retries.
    pub(crate) fn retry(&mut self, run: RunId) {
        note!(self, "run {run}");
        let Some(running) = &self.coordinator.running else { return };
        let Some(stored) = running.view.stored(run).map(Box::new) else { return };
        self.admin_asks(Ask::Retry { stored });
    }

    /// Agents that may be cordoned.
    pub(crate) fn known_agents(&self) -> Vec<AgentKey> {
        let running = self.coordinator.running.iter();
        running.flat_map(|running| running.view.agents.keys()).cloned().collect()
    }

    /// An operator cordons an agent, or gives it free.
    pub(crate) fn cordon(&mut self, nth: usize) {
        let agent = self.known_agents().swap_remove(nth);
        let Some(running) = &self.coordinator.running else { return };
        let on = running.view.agents[&agent].cordoned_by.is_none();
        note!(self, "{agent}: {on}");
        self.admin_asks(Ask::Cordon { agent, on });
    }

    /// Agents that may be declared lost.
    pub(crate) fn away_agents(&self) -> Vec<AgentKey> {
        let Some(running) = &self.coordinator.running else { return vec![] };
        let away = running.view.agents.values().filter(|agent| agent.session().is_none());
        away.map(|agent| agent.key.clone()).collect()
    }

    /// An operator vouches that what an agent has does not run.
    pub(crate) fn declare_lost(&mut self, nth: usize) {
        let agent = self.away_agents().swap_remove(nth);
        note!(self, "{agent}");
        self.admin_asks(Ask::DeclareLost { agent });
    }

    /// Locks that may be broken, with their holders.
    pub(crate) fn held_locks(&self) -> Vec<(LockKey, Holder)> {
        let Some(running) = &self.coordinator.running else { return vec![] };
        let held = |lock: &Lock| Some((lock.key.clone(), lock.holder?));
        running.view.locks.values().filter_map(held).collect()
    }

    /// Which of the held locks is in doubt, or of a device that was left as nobody wanted it, so that only
    /// an operator can help.
    pub(crate) fn doubtful_lock(&self) -> Option<usize> {
        let mut held = self.book.locks.values().filter(|lock| lock.holder.is_some());
        held.position(|lock| lock.in_doubt.is_some() || lock.failed.is_some())
    }

    /// An operator vouches that nothing works under a lock.
    pub(crate) fn break_lock(&mut self, nth: usize) {
        let (lock, holder) = self.held_locks().swap_remove(nth);
        note!(self, "{lock}, held by {holder}");
        self.admin_asks(Ask::BreakLock { lock, holder });
    }

    /// Gates that wait for people.
    pub(crate) fn open_gates(&self) -> Vec<JobId> {
        let Some(running) = &self.coordinator.running else { return vec![] };
        let is_open = |job: &&job::Job| matches!(job.state, job::State::Open { .. });
        running.view.jobs.values().filter(is_open).map(|job| job.id).collect()
    }

    /// One of three people approves at a gate, whether the same one has before or not.
    pub(crate) fn approve(&mut self, nth: usize) {
        let job = self.open_gates().swap_remove(nth);
        let name = ["anna", "ben", "cleo"][self.rng().random_range(0..3)];
        note!(self, "{name} at {job}");
        self.person_asks(name, Ask::Approve { job, comment: None });
    }

    /// Somebody says no.
    pub(crate) fn reject(&mut self, nth: usize) {
        let job = self.open_gates().swap_remove(nth);
        note!(self, "{job}");
        self.person_asks("anna", Ask::Reject { job, reason: "not today".into() });
    }

    fn person_asks(&mut self, person: &str, ask: Ask) {
        let grant = Grant { role: Role::Admin, partitions: Scope::All };
        let token = match self.mutant {
            Some(Mutant::MixUpPeople) => format!("{person}-{}", self.unique()),
            _ => person.to_owned(),
        };
        let actor = Actor::Token { name: name(&token), grant };
        self.input(Input::Ask { actor, ask, asked: Asked::Person });
    }

    fn admin_asks(&mut self, ask: Ask) {
        self.input(Input::Ask { actor: Actor::LocalAdmin, ask, asked: Asked::Person });
    }

    /// A host asks for a certificate, with a token made for it.
    pub(crate) fn join(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        note!(self, "{}", host.name);
        let (agent, fingerprint) = (host.key.clone(), host.fingerprint.clone());
        let hash = TokenHash(format!("token for {fingerprint}"));
        let expires = Wall(u64::MAX);
        self.admin_asks(Ask::CreateJoinToken { hash: hash.clone(), agent, expires });
        let (actor, ask) =
            (Actor::Coordinator, Ask::Enrol { hash, fingerprint: fingerprint.clone() });
        self.input(Input::Ask { actor, ask, asked: Asked::Enrol(h, fingerprint) });
    }

    /// An answer reaches who asked.
    pub(crate) fn answered(&mut self, asked: Asked, answer: Result<Answer, Refusal>) {
        match (asked, answer) {
            (Asked::Trigger(key), Ok(Answer::Triggered { trigger, .. })) => {
                note!(self, "{key} is answered: trigger {}", trigger.0);
                if !self.book.triggers.contains_key(&trigger) {
                    let text = format!("{key} is answered, and is on no record");
                    self.ledger.find(Rule::Durable, text);
                }
                self.ledger.promised(key, trigger);
            }
            (Asked::Enrol(h, key), Ok(Answer::Enrolled(_))) => {
                if !self.ledger.keys.contains(&key) {
                    let text =
                        format!("a host is told that {key} is enrolled, which is on no record");
                    self.ledger.find(Rule::Durable, text);
                }
                // The answer to a host that was installed anew since reaches nobody.
                self.hosts[h].joined |= self.hosts[h].fingerprint == key;
            }
            (Asked::Enrol(..) | Asked::Person | Asked::Trigger(_), answer) => {
                if let Err(refusal) = answer {
                    note!(self, "refused: {refusal}");
                }
            }
        }
    }

    /// A trigger's pipelines are compiled, the same each time.
    pub(crate) fn resolve(&mut self, nth: usize) {
        let Some(running) = &mut self.coordinator.running else { return };
        let trigger = running.resolving.remove(nth);
        note!(self, "trigger {}", trigger.id.0);
        let resolution = compile(&trigger);
        self.input(Input::Event(Event::Resolved { trigger: trigger.id, resolution }));
    }
}

/// A pipeline that depends on the delivery alone.
fn compile(trigger: &Trigger) -> Result<Vec<Resolution>, String> {
    let digits = trigger.key.rsplit('-').next().unwrap_or_default();
    let number: u64 = digits.parse().unwrap_or_default();
    let plan = match number % DELIVERIES {
        0 => return Err("the commit is not there".into()),
        1 => plan(Some("site"), [on("fra", &[]), on("fra", &[0]), on("muc", &[1])]),
        2 => plan(
            None,
            [0, 1, 2].map(|_| on("fra", &[]).with_lock("probe").again(2, 0)).into_iter().chain([
                on("fra", &[0, 1, 2]),
                on("fra", &[3]).gate(2),
                on("fra", &[4]),
            ]),
        ),
        3 => in_group(
            Mode::Queue,
            plan(
                None,
                [
                    on("muc", &[]).leased(OnLost::Retry { after_s: 120 }),
                    on("fra", &[0]).again(1, 90).for_agent("mgmt02"),
                ],
            ),
        ),
        4 => in_group(
            Mode::CancelRunning,
            plan(
                Some("site"),
                [on("fra", &[]).leased(OnLost::Fail { after_s: 60 }).again(1, 30), on("fra", &[0])],
            ),
        ),
        5 => plan(Some("site"), [on("fra", &[]).on_device(), on("fra", &[0]).with_lock("probe")]),
        6 => plan(None, [on("fra", &[]).in_rack(), on("muc", &[]).on_device().with_lock("probe")]),
        7 => Err("line 3: unknown key".into()),
        8 => plan(
            Some("site"),
            [
                on("fra", &[]).leased(OnLost::Retry { after_s: 600 }).with_lock("probe"),
                on("muc", &[]),
            ],
        ),
        9 => rollout(None, Some(1)),
        10 => rollout(Some(2), None),
        _ => in_group(
            Mode::NewestOnly,
            plan(
                None,
                [on("fra", &[]).gate(1), on("fra", &[0]), on("muc", &[]).with_lock("probe")],
            ),
        ),
    };
    Ok(vec![Resolution {
        commit: "c0ffee".into(),
        pipeline: name("site"),
        file: FILE.into(),
        source: None,
        plan: plan.map(Arc::new),
    }])
}

const FILE: &str = ".garrison/site.yaml";

fn plan(lock: Option<&str>, jobs: impl IntoIterator<Item = Draft>) -> Result<Plan, String> {
    let named =
        |(index, Draft(job)): (usize, Draft)| Job { name: name(&format!("job-{index}")), ..job };
    let jobs = jobs.into_iter().enumerate().map(named).collect();
    let (lock, inputs) = (lock.map(name), BTreeMap::new());
    let (pipeline, file, concurrency) = (name("site"), FILE.into(), None);
    Ok(Plan {
        pipeline,
        file,
        lock,
        windows: Vec::new(),
        concurrency,
        inputs,
        inventories: Vec::new(),
        rollouts: Vec::new(),
        jobs,
    })
}

/// Devices of `fra` one after the other, a pair and one of no group, each with a job behind which another
/// looks at it.
fn rollout(max_parallel: Option<u32>, stop_after: Option<u32>) -> Result<Plan, String> {
    let devices = [("leaf01", Some("leaves")), ("leaf02", Some("leaves")), ("spine01", None)];
    let job = |unit: u32, (device, group): (&str, Option<&str>), needs: &[u32]| {
        let Draft(job) = on("fra", needs);
        Draft(Job {
            device: Some(name(device)),
            rollouts: vec![Member { rollout: 0, unit }],
            exclusive: Some(Exclusive { device: name(device), group: group.map(name) }),
            ..job
        })
    };
    let first = (0..).zip(devices).map(|(unit, device)| job(unit, device, &[]));
    let second = (0..).zip(devices).map(|(unit, device)| job(unit, device, &[unit]));
    // With several at a time the pair is in one wave.
    let wave = |unit: u32| if max_parallel.is_some() { 0 } else { unit };
    let unit = |(unit, (name, _))| Unit { name: String::from(name), wave: wave(unit) };
    let rollout = Rollout {
        job: None,
        units: (0..).zip(devices).map(unit).collect(),
        max_parallel,
        stop_after,
        pause_s: if max_parallel.is_some() { 0 } else { 20 },
    };
    Ok(Plan { rollouts: vec![rollout], ..plan(None, first.chain(second))? })
}

/// The same, in the group that all of them share.
fn in_group(mode: Mode, plan: Result<Plan, String>) -> Result<Plan, String> {
    let concurrency = Some(Concurrency { group: name("site"), mode });
    Ok(Plan { concurrency, ..plan? })
}

/// A job that is yet to be named.
struct Draft(Job);

/// A process in a partition that needs these jobs.
fn on(partition: &str, needs: &[u32]) -> Draft {
    Draft(Job {
        needs: needs.to_vec(),
        ..Job::new(name("job"), name(partition), Task::Process, vec!["true".into()])
    })
}

impl Draft {
    fn with_lock(self, lock: &str) -> Draft {
        Draft(Job { lock: Some(name(lock)), ..self.0 })
    }

    fn again(self, max: u32, delay_s: u32) -> Draft {
        let on = [RetryOn::Failed, RetryOn::TimedOut].into();
        Draft(Job { retry: Some(Retry { max, on, delay_s }), ..self.0 })
    }

    fn leased(self, on_lost: OnLost) -> Draft {
        Draft(Job { on_lost, ..self.0 })
    }

    fn in_rack(self) -> Draft {
        Draft(Job { labels: [(name("rack"), "a".to_owned())].into(), ..self.0 })
    }

    fn for_agent(self, agent: &str) -> Draft {
        Draft(Job { agent: Some(name(agent)), ..self.0 })
    }

    /// A wait for so many admins, an hour long.
    fn gate(self, count: u32) -> Draft {
        let asks = Asks::Approval { count, triggerer: Triggerer::Refused };
        let gate = Gate { role: Role::Admin, message: "lets jobs through".into(), asks };
        Draft(Job { task: Task::Gate(gate), run: Vec::new(), timeout_s: 3600, ..self.0 })
    }

    fn on_device(self) -> Draft {
        let (address, key) = ("192.0.2.1".into(), "ssh-ed25519 AAAA".into());
        let ssh = Ssh::new(name("leaf01"), address, 22, "admin".into(), key);
        Draft(Job { task: Task::Ssh(Box::new(ssh)), ..self.0 })
    }
}

/// A name that is known to be one.
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the simulation's names are names")
}
