//! A world around the core: a store, honest agents, and a transcript of what everybody sees.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use pipelines::gate::{Asks, Gate, Triggerer};
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::input::Inputs;
use pipelines::inventory::window;
use pipelines::name::LabelName;
use pipelines::outcome::{LogEnd, Outcome, Progress, Verdict};
use pipelines::plan::{
    self, Concurrency, Exclusive, Member, Mode, OnLost, Plan, Retry, RetryOn, Rollout, Task, Unit,
    When,
};
use pipelines::recap::Recap;
use uuid::Uuid;

use crate::actor::{Actor, Grant, Role, Scope};
use crate::agent::{About, AgentKey, SessionId};
use crate::change::{Change, Snapshot, Stored};
use crate::core::Core;
use crate::deadline::Steady;
use crate::event::{Ask, Effect, Event, RequestId, Resolution, Step, ToAgent, Wall};
use crate::lock::{Holder, Lock, LockKey};
use crate::schedule::{ScheduleKey, Scheduled};
use crate::state::State;
use crate::subscriber::{Subscriber, SubscriberKey};
use crate::token::TokenHash;
use crate::trigger::Cause;
use crate::upgrade::Report;
use crate::{job, run, trigger};

/// In each partition `prepare` ← `deploy` ← `check`.
pub(super) fn deploy(partitions: &[&str]) -> Plan {
    let mut jobs = Vec::new();
    for partition in partitions {
        let first = jobs.len() as u32;
        for (offset, name) in ["prepare", "deploy", "check"].into_iter().enumerate() {
            jobs.push(plan::Job {
                needs: (offset > 0).then(|| first + offset as u32 - 1).into_iter().collect(),
                ..job(name, partition)
            });
        }
    }
    Plan {
        pipeline: "site".parse().unwrap(),
        file: ".garrison/site.yaml".into(),
        lock: None,
        windows: Vec::new(),
        concurrency: None,
        inputs: Inputs::new(),
        inventories: Vec::new(),
        rollouts: Vec::new(),
        jobs,
    }
}

/// In `fra` a job, one for its failure, one for either end, and one that needs the second.
pub(super) fn rescue() -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs = ["deploy", "undo", "tell", "after"].map(|name| job(name, "fra")).into();
    plan.jobs[1] = plan::Job { needs: vec![0], when: When::Failure, ..plan.jobs[1].clone() };
    plan.jobs[2] = plan::Job { needs: vec![0, 1], when: When::Always, ..plan.jobs[2].clone() };
    plan.jobs[3] = plan::Job { needs: vec![1], ..plan.jobs[3].clone() };
    plan
}

/// In `fra` a job behind which another pipeline begins with one that a third cleans up after, and a last one.
pub(super) fn called() -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs = ["build", "fetch", "clean", "report"].map(|name| job(name, "fra")).into();
    plan.jobs[1].needs = vec![0];
    plan.jobs[2].needs = vec![1];
    plan.jobs[2].when = When::Always;
    plan.jobs[2].begun_by = Some(1);
    plan.jobs[3].needs = vec![1, 2];
    for job in &mut plan.jobs[1..3] {
        job.call = vec!["base".parse().unwrap()];
    }
    plan
}

/// In `fra` `reset` of leaf01, leaf02 and spine01, `size` at a time, of which the leaves are a pair, and
/// behind each its `check`.
pub(super) fn paired(size: u32, stop_after: Option<u32>) -> Plan {
    let devices = [("leaf01", Some("leaf-pair")), ("leaf02", Some("leaf-pair")), ("spine01", None)];
    let unit = |(index, (name, _)): (usize, &(&str, Option<&str>))| Unit {
        name: (*name).to_owned(),
        wave: index as u32 / size,
    };
    let mut plan = deploy(&["fra"]);
    plan.rollouts = vec![Rollout {
        job: Some("reset".parse().unwrap()),
        units: devices.iter().enumerate().map(unit).collect(),
        max_parallel: None,
        stop_after,
        pause_s: 0,
    }];
    plan.jobs.clear();
    for (offset, name) in [(0, "reset"), (3, "check")] {
        for (unit, (device, group)) in (0..).zip(&devices) {
            let device = device.parse().unwrap();
            let group = group.map(|group| group.parse().unwrap());
            plan.jobs.push(plan::Job {
                needs: (offset > 0).then_some(unit).into_iter().collect(),
                device: Some(device),
                rollouts: vec![Member { rollout: 0, unit }],
                ..job(name, "fra")
            });
            let job = plan.jobs.last_mut().unwrap();
            job.exclusive = job.device.clone().map(|device| Exclusive { device, group });
        }
    }
    plan
}

/// In `fra` a job for each of these agents, and one that needs them all.
pub(super) fn each(agents: &[&str]) -> Plan {
    let mut plan = deploy(&["fra"]);
    let pinned =
        |name: &&str| plan::Job { agent: Some(name.parse().unwrap()), ..job("check", "fra") };
    plan.jobs = agents.iter().map(pinned).collect();
    let needs = (0..agents.len() as u32).collect();
    plan.jobs.push(plan::Job { needs, ..job("report", "fra") });
    plan
}

/// In each partition `check` ← `approve` ← `deploy`, under a lock of the run; two admins must approve
/// within an hour.
pub(super) fn gated(partitions: &[&str]) -> Plan {
    let mut plan = deploy(partitions);
    for job in plan.jobs.iter_mut() {
        match job.name.as_str() {
            "prepare" => job.name = "check".parse().unwrap(),
            "deploy" => {
                let asks = Asks::Approval { count: 2, triggerer: Triggerer::Refused };
                job.name = "approve".parse().unwrap();
                (job.task, job.timeout_s) = (gate(Role::Admin, asks), 3600);
            }
            _ => job.name = "deploy".parse().unwrap(),
        }
    }
    Plan { lock: Some("site".parse().unwrap()), ..plan }
}

/// In `fra` somebody's word that the console is loaded, a job behind it, and one for the case that it is
/// not.
pub(super) fn by_hand() -> Plan {
    let mut plan = deploy(&["fra"]);
    let asks = Asks::Acknowledgement { text: "loaded on console fw01".into() };
    plan.jobs = ["console", "boot", "undo"].map(|name| job(name, "fra")).into();
    plan.jobs[0].task = gate(Role::Edit, asks);
    plan.jobs[1].needs = vec![0];
    plan.jobs[2] = plan::Job { needs: vec![0], when: When::Failure, ..plan.jobs[2].clone() };
    plan
}

/// In `fra` a job, a gate at which an admin waives its failure, one behind that, another such gate, and a last
/// one.
pub(super) fn waived() -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs = ["spines", "spines-waived", "leaves", "leaves-waived", "exits"]
        .map(|name| job(name, "fra"))
        .into();
    for (index, job) in plan.jobs.iter_mut().enumerate().skip(1) {
        job.needs = vec![index as u32 - 1];
        if index % 2 == 1 {
            let asks = Asks::Approval { count: 1, triggerer: Triggerer::Refused };
            (job.task, job.when) = (gate(Role::Admin, asks), When::Waive);
        }
    }
    plan
}

/// The same plan, whose jobs begin from 03:30 to 05:00 by the clocks of Berlin on Tuesdays and Wednesdays.
pub(super) fn windowed(plan: Plan) -> Plan {
    let mut partitions: Vec<_> = plan.jobs.iter().map(|job| job.partition.clone()).collect();
    partitions.sort();
    partitions.dedup();
    let time = window::Window {
        days: [window::Day::Tue, window::Day::Wed].into(),
        from: "03:30".parse().unwrap(),
        to: "05:00".parse().unwrap(),
    };
    let window = |partition| plan::Window {
        partition,
        name: "maintenance".parse().unwrap(),
        timezone: "Europe/Berlin".into(),
        times: vec![time.clone()],
    };
    Plan { windows: partitions.into_iter().map(window).collect(), ..plan }
}

fn gate(role: Role, asks: Asks) -> Task {
    Task::Gate(Gate { role, message: "lets jobs through".into(), asks })
}

/// A person with a token.
pub(super) fn person(name: &str, role: Role, partitions: &[&str]) -> Actor {
    let partitions = match partitions {
        [] => Scope::All,
        names => Scope::Only(names.iter().map(|name| name.parse().unwrap()).collect()),
    };
    Actor::Token { name: name.parse().unwrap(), grant: Grant { role, partitions } }
}

fn job(name: &str, partition: &str) -> plan::Job {
    let run = vec![format!("echo {name}")];
    plan::Job::new(name.parse().unwrap(), partition.parse().unwrap(), Task::Process, run)
}

/// The same as [`deploy`], held together by a lock; its last job has a lock of its own.
pub(super) fn locked(partitions: &[&str]) -> Plan {
    let mut plan = deploy(partitions);
    for job in plan.jobs.iter_mut().filter(|job| job.name.as_str() == "check") {
        job.lock = Some("probe".parse().unwrap());
    }
    Plan { lock: Some("site".parse().unwrap()), ..plan }
}

/// One job in `fra`, in a run of the group `site`.
pub(super) fn grouped(mode: Mode) -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs.truncate(1);
    Plan { concurrency: Some(Concurrency { group: "site".parse().unwrap(), mode }), ..plan }
}

/// One job in `fra` that is tried again, and given up an hour after its agent went away.
pub(super) fn patient(on_lost: OnLost, delay_s: u32) -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs.truncate(1);
    let on = [RetryOn::Failed, RetryOn::InfraError].into();
    plan.jobs[0].retry = Some(Retry { max: 1, on, delay_s });
    plan.jobs[0].on_lost = on_lost;
    plan
}

pub(super) fn key(text: &str) -> AgentKey {
    let (partition, name) = text.split_once('/').unwrap();
    AgentKey { partition: partition.parse().unwrap(), name: name.parse().unwrap() }
}

/// An agent that does what it is told, on a disk that lasts.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) session: Option<SessionId>,
    pub(super) deaf: bool,
    instance: Uuid,
    capacity: u32,
    labels: BTreeMap<LabelName, String>,
    /// The upgrade that it was told of last, and the one whose end it knows.
    wanted: Option<u64>,
    upgrade: Option<Report>,
    pub(super) attempts: BTreeMap<AttemptId, Progress>,
    pub(super) cancelled: Vec<AttemptId>,
    /// How often each attempt was started, which must never be twice.
    pub(super) starts: BTreeMap<AttemptId, u32>,
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) hosts: BTreeMap<AgentKey, Host>,
    /// All records, as the store would hold them.
    pub(super) store: Store,
    pub(super) now: u64,
    steady: u64,
    sessions: u64,
    requests: u64,
    transcript: String,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) runs: BTreeMap<RunId, run::Run>,
    pub(super) plans: BTreeMap<RunId, Arc<Plan>>,
    pub(super) jobs: BTreeMap<JobId, job::Job>,
    pub(super) attempts: BTreeMap<AttemptId, crate::attempt::Attempt>,
    pub(super) triggers: BTreeMap<trigger::TriggerId, trigger::Trigger>,
    agents: BTreeMap<AgentKey, crate::agent::Agent>,
    api_tokens: BTreeMap<String, crate::token::ApiToken>,
    join_tokens: BTreeMap<TokenHash, crate::token::JoinToken>,
    pub(super) locks: BTreeMap<LockKey, Lock>,
    secrets: BTreeMap<crate::secret::SecretKey, crate::secret::Secret>,
    pub(super) schedules: BTreeMap<ScheduleKey, Scheduled>,
    pub(super) subscribers: BTreeMap<SubscriberKey, Subscriber>,
    pub(super) audit: Vec<crate::audit::Audit>,
    /// Jobs that were queued or asked about, and when, since their run began or was tried again.
    pub(super) begun: BTreeMap<RunId, Vec<(JobId, Wall)>>,
}

impl Store {
    fn apply(&mut self, change: Change, now: Wall) {
        match &change {
            Change::Plan(run, _) => drop(self.begun.remove(run)),
            Change::Job(it) if matches!(it.state, job::State::Queued | job::State::Open { .. }) => {
                self.begun.entry(it.id.run).or_default().push((it.id, now));
            }
            _ => {}
        }
        match change {
            Change::Trigger(it) => drop(self.triggers.insert(it.id, it)),
            Change::Plan(run, plan) => drop(self.plans.insert(run, plan)),
            Change::Run(it) => drop(self.runs.insert(it.id, it)),
            Change::Job(it) => drop(self.jobs.insert(it.id, it)),
            Change::Attempt(it) => drop(self.attempts.insert(it.id, it)),
            Change::Agent(it) => drop(self.agents.insert(it.key.clone(), it)),
            Change::ApiToken(it) => drop(self.api_tokens.insert(it.name.to_string(), it)),
            Change::JoinToken(it) => drop(self.join_tokens.insert(it.hash.clone(), it)),
            Change::Lock(it) => drop(self.locks.insert(it.key.clone(), it)),
            Change::Secret(it) => drop(self.secrets.insert(it.key.clone(), it)),
            Change::Schedule(it) => drop(self.schedules.insert(it.key.clone(), it)),
            Change::Subscriber(it) => drop(self.subscribers.insert(it.key.clone(), it)),
            Change::Audit(it) => self.audit.push(it),
        }
    }

    pub(super) fn stored(&self, id: RunId) -> Option<Stored> {
        let run = self.runs.get(&id)?.clone();
        let plan = self.plans.get(&id)?.clone();
        let jobs = self.jobs.values().filter(|job| job.id.run == id).cloned().collect();
        let attempts = self.attempts.values().filter(|it| it.id.job.run == id && it.is_open());
        Some(Stored { run, plan, jobs, attempts: attempts.cloned().collect() })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
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
            last_audit: self.audit.last().map_or(0, |it| it.number),
        }
    }
}

impl World {
    pub(super) fn new() -> World {
        let (core, _) = Core::load(Snapshot::default(), Wall(0));
        World {
            core,
            hosts: BTreeMap::new(),
            store: Store::default(),
            now: 0,
            steady: 0,
            sessions: 0,
            requests: 0,
            transcript: String::new(),
        }
    }

    pub(super) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(super) fn status(&self, run: u64) -> &'static str {
        self.store.runs[&RunId(run)].status()
    }

    pub(super) fn job(&self, id: &str) -> &'static str {
        self.store.jobs[&id.parse().unwrap()].state.kind()
    }

    /// Hands an event to the core, remembers, and carries messages to the hosts.
    pub(super) fn happens(&mut self, event: &Event) {
        self.now += 1;
        let step = self.core.handle(event, Wall(self.now));
        let mut replies = self.perform(step);
        let step = self.core.schedule(Wall(self.now));
        replies.extend(self.perform(step));
        for reply in replies {
            self.happens(&reply);
        }
    }

    fn perform(&mut self, step: Step) -> Vec<Event> {
        for change in step.changes {
            self.tell(&change);
            self.store.apply(change, Wall(self.now));
        }
        let mut replies = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::Answer { answer, .. } => match answer {
                    Ok(answer) => self.line(&format!("  answer {answer:?}")),
                    Err(refusal) => self.line(&format!("  refused: {refusal}")),
                },
                Effect::Resolve(trigger) => {
                    self.line(&format!("  resolve trigger {}", trigger.id.0));
                }
                Effect::Complain(fault) => panic!("{fault}"),
                Effect::Warn(text) => self.line(&format!("  warning: {text}")),
                Effect::Close { session, reason } => {
                    self.line(&format!("  close session {}: {reason}", session.0));
                }
                Effect::Send { session, message } => replies.extend(self.deliver(session, message)),
            }
        }
        replies
    }

    fn deliver(&mut self, session: SessionId, message: ToAgent) -> Option<Event> {
        let (key, host) = self.hosts.iter_mut().find(|(_, host)| host.session == Some(session))?;
        let key = key.clone();
        let text = match &message {
            ToAgent::Order(order) => {
                let read = |(name, value): (&String, &String)| {
                    name.starts_with("OUTPUT_").then(|| format!(" {name}={value}"))
                };
                let outputs: String = order.job.env.iter().filter_map(read).collect();
                let inventory = order.inventory.iter().map(|it| format!(" with {}", it.hosts));
                let inventory: String = inventory.collect();
                format!("order {} ({}){outputs}{inventory}", order.attempt, order.job.name)
            }
            other => format!("{other:?}"),
        };
        if host.deaf {
            self.line(&format!("  → {key} LOST: {text}"));
            return None;
        }
        let reply = match message {
            ToAgent::Order(order) => {
                host.attempts.entry(order.attempt).or_insert(Progress::Accepted);
                Some(Event::AttemptReported {
                    agent: key.clone(),
                    session,
                    attempt: order.attempt,
                    progress: host.attempts[&order.attempt].clone(),
                })
            }
            ToAgent::Cancel(attempt) => {
                host.cancelled.push(attempt);
                None
            }
            ToAgent::Acknowledge(attempt) | ToAgent::Forget(attempt) => {
                host.attempts.remove(&attempt);
                None
            }
            ToAgent::Upgrade { number, .. } => {
                host.wanted = Some(number);
                None
            }
            ToAgent::Welcome => None,
        };
        self.line(&format!("  → {key} {text}"));
        reply
    }

    pub(super) fn line(&mut self, text: &str) {
        writeln!(self.transcript, "{text}").unwrap();
    }

    fn tell(&mut self, change: &Change) {
        let text = match change {
            Change::Trigger(it) => format!("trigger {} {}", it.id.0, kind(&it.state)),
            Change::Plan(run, plan) => format!("plan {run} with {} jobs", plan.jobs.len()),
            Change::Run(it) => format!("run {} {}", it.id, it.status()),
            Change::Job(it) => format!("job {} {}", it.id, it.state.kind()),
            Change::Attempt(it) => {
                format!("attempt {} on {} {}", it.id, it.agent, kind(&it.state))
            }
            Change::Agent(it) => {
                let upgrade = it.upgrade.as_ref().map_or(String::new(), |upgrade| {
                    format!(", upgrade {} {}", upgrade.number, kind(&upgrade.state))
                });
                format!("agent {} {}{upgrade}", it.key, kind(&it.link))
            }
            Change::ApiToken(it) => format!("token {}", it.name),
            Change::JoinToken(it) => format!("join token for {}", it.agent),
            Change::Lock(it) => {
                let holder = it.holder.map_or("nobody".to_owned(), |holder| holder.to_string());
                let doubt = it.in_doubt.map_or(String::new(), |it| format!(", {it} may run"));
                format!("lock {} held by {holder}{doubt}", it.key)
            }
            Change::Secret(it) => {
                let state = if it.sealed.is_some() { "set" } else { "deleted" };
                format!("secret {} {state}, version {}", it.key, it.version)
            }
            Change::Schedule(it) => {
                let next = it.next.map(|at| it.key.schedule.local(at.0));
                format!("schedule {} next {}", it.key, next.as_deref().unwrap_or("never"))
            }
            Change::Subscriber(it) => {
                let topics: Vec<_> = it.subscriptions.iter().map(ToString::to_string).collect();
                format!("{} of {} wants {topics:?}", it.key.file, it.key.repository)
            }
            Change::Audit(it) => format!("audit {}: {} {}", it.number, it.actor, it.text),
        };
        self.line(&format!("  {text}"));
    }

    // What people and forges do.

    pub(super) fn ask(&mut self, actor: Actor, ask: Ask) {
        self.requests += 1;
        self.happens(&Event::Asked { request: RequestId(self.requests), actor, ask });
    }

    pub(super) fn ask_trigger(&mut self, delivery: &str) {
        self.line(&format!("push, {delivery}"));
        let actor = Actor::Forge { forge: "github".into(), login: "mona".into() };
        self.ask(
            actor,
            Ask::Trigger {
                key: delivery.into(),
                repository: "infra".parse().unwrap(),
                reference: "refs/heads/main".into(),
                cause: Cause::Push { commit: "c0ffee".into(), before: None },
            },
        );
    }

    pub(super) fn trigger(&mut self, delivery: &str, plan: Plan) {
        self.ask_trigger(delivery);
        self.resolve(plan);
    }

    pub(super) fn pull_request(&mut self, delivery: &str, plan: Plan) {
        self.line(&format!("pull request, {delivery}"));
        let actor = Actor::Forge { forge: "github".into(), login: "eve".into() };
        let (commit, base) = ("c0ffee".into(), Some("7ea".into()));
        let cause = Cause::PullRequest { number: 7, commit, branch: "main".into(), base };
        self.ask(
            actor,
            Ask::Trigger {
                key: delivery.into(),
                repository: "infra".parse().unwrap(),
                reference: "refs/pull/7/head".into(),
                cause,
            },
        );
        self.resolve(plan);
    }

    fn resolve(&mut self, plan: Plan) {
        let pending =
            self.store.triggers.values().find(|it| matches!(it.state, trigger::State::Pending));
        let Some(id) = pending.map(|it| it.id) else { return };
        self.line("compiled");
        let resolution = Resolution {
            commit: "c0ffee".into(),
            pipeline: plan.pipeline.clone(),
            file: plan.file.clone(),
            source: None,
            plan: Ok(Arc::new(plan)),
        };
        self.happens(&Event::Resolved { trigger: id, resolution: Ok(vec![resolution]) });
    }

    pub(super) fn cordon(&mut self, agent: &str, on: bool) {
        self.line(&format!("cordon {agent}: {on}"));
        self.ask(Actor::LocalAdmin, Ask::Cordon { agent: key(agent), on });
    }

    pub(super) fn declare_lost(&mut self, agent: &str) {
        self.line(&format!("{agent} is declared lost"));
        self.ask(Actor::LocalAdmin, Ask::DeclareLost { agent: key(agent) });
    }

    pub(super) fn break_lock(&mut self, partition: &str, name: &str, holder: Holder) {
        self.line(&format!("break lock {partition}/{name} of {holder}"));
        let lock = LockKey { partition: partition.parse().unwrap(), name: name.parse().unwrap() };
        self.ask(Actor::LocalAdmin, Ask::BreakLock { lock, holder });
    }

    pub(super) fn upgrade(&mut self, agent: &str) {
        self.line(&format!("upgrade {agent}"));
        let ask = Ask::Upgrade { agent: key(agent), program: "5a".repeat(32) };
        self.ask(Actor::LocalAdmin, ask);
    }

    /// The wall clock shows this, as RFC 3339 writes it; nothing else happens.
    pub(super) fn wall_clock(&mut self, at: &str) {
        self.line(&format!("it is {at}"));
        self.now = at.parse::<jiff::Timestamp>().unwrap().as_microsecond() as u64;
        self.happens(&Event::Tick { at: Steady(self.steady) });
    }

    /// So many minutes pass.
    pub(super) fn wait(&mut self, minutes: u64) {
        self.line(&format!("{minutes} minutes pass"));
        self.steady += minutes * 60_000_000;
        self.happens(&Event::Tick { at: Steady(self.steady) });
    }

    pub(super) fn override_window(&mut self, by: &Actor, run: u64) {
        self.line(&format!("{by} overrides the window of run {run}"));
        let ask = Ask::OverrideWindow { run: RunId(run), reason: "the link is down".into() };
        self.ask(by.clone(), ask);
    }

    pub(super) fn approve(&mut self, by: &Actor, gate: &str) {
        self.line(&format!("{by} approves {gate}"));
        let job = gate.parse().unwrap();
        self.ask(by.clone(), Ask::Approve { job, comment: None });
    }

    pub(super) fn reject(&mut self, by: &Actor, gate: &str) {
        self.line(&format!("{by} rejects {gate}"));
        let (job, reason) = (gate.parse().unwrap(), "not on a Friday".into());
        self.ask(by.clone(), Ask::Reject { job, reason });
    }

    pub(super) fn acknowledge(&mut self, by: &Actor, gate: &str, text: &str) {
        self.line(&format!("{by} acknowledges {gate}: {text}"));
        let (job, text) = (gate.parse().unwrap(), text.into());
        self.ask(by.clone(), Ask::Acknowledge { job, text });
    }

    /// The wall clock goes on by so many minutes, and the other one stands still, as over a restart.
    pub(super) fn wall_goes_on(&mut self, minutes: u64) {
        self.line(&format!("{minutes} minutes later by the wall clock"));
        self.now += minutes * 60_000_000;
        self.happens(&Event::Tick { at: Steady(self.steady) });
    }

    /// Somebody triggers by hand.
    pub(super) fn trigger_by(&mut self, by: &Actor, key: &str, plan: Plan) {
        self.line(&format!("{by} triggers, {key}"));
        let (pipeline, inputs) = (plan.pipeline.clone(), Inputs::new());
        let cause = Cause::Manual { pipeline, inputs, limit: Vec::new() };
        let (repository, reference) = ("infra".parse().unwrap(), "refs/heads/main".into());
        self.ask(by.clone(), Ask::Trigger { key: key.into(), repository, reference, cause });
        self.resolve(plan);
    }

    pub(super) fn cancel(&mut self, run: u64) {
        self.line(&format!("cancel run {run}"));
        self.ask(Actor::LocalAdmin, Ask::Cancel { run: RunId(run) });
    }

    pub(super) fn retry(&mut self, run: u64) {
        self.line(&format!("retry run {run}"));
        let stored = Box::new(self.store.stored(RunId(run)).unwrap());
        self.ask(Actor::LocalAdmin, Ask::Retry { stored });
    }

    /// What a token that may edit in `muc` alone hears of everything it must not do.
    pub(super) fn refusals(&mut self) -> String {
        self.transcript.clear();
        let partitions = Scope::Only([key("muc/x").partition].into());
        let grant = Grant { role: Role::Edit, partitions };
        let actor = Actor::Token { name: "ci".parse().unwrap(), grant: grant.clone() };
        let hash = TokenHash("00".into());
        for ask in [
            Ask::Cancel { run: RunId(1) },
            Ask::Cancel { run: RunId(7) },
            Ask::CreateJoinToken { hash: hash.clone(), agent: key("muc/a"), expires: Wall(9) },
            Ask::CreateApiToken { name: "x".parse().unwrap(), hash, grant, expires: Wall(9) },
            Ask::RevokeAgent { agent: key("fra/mgmt01") },
            Ask::Enrol { hash: TokenHash("none".into()), fingerprint: "f".into() },
        ] {
            self.ask(actor.clone(), ask);
        }
        self.transcript.clone()
    }

    // What agents do.

    pub(super) fn join(&mut self, agent: &str, capacity: u32) {
        self.line(&format!("{agent} joins"));
        let hash = TokenHash(format!("hash of {agent}"));
        let expires = Wall(self.now + 1000);
        let ask = Ask::CreateJoinToken { hash: hash.clone(), agent: key(agent), expires };
        self.ask(Actor::LocalAdmin, ask);
        let fingerprint = format!("key of {agent}");
        self.ask(Actor::Coordinator, Ask::Enrol { hash, fingerprint });
        let host = Host {
            session: None,
            deaf: false,
            instance: Uuid::from_u128(1),
            capacity,
            labels: BTreeMap::new(),
            wanted: None,
            upgrade: None,
            attempts: BTreeMap::new(),
            cancelled: Vec::new(),
            starts: BTreeMap::new(),
        };
        self.hosts.insert(key(agent), host);
        self.connect(agent);
    }

    pub(super) fn connect(&mut self, agent: &str) {
        self.line(&format!("{agent} connects"));
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        host.session = Some(session);
        host.deaf = false;
        let event = hello(agent, session, host);
        self.happens(&event);
    }

    /// A clone of the host dials while the first is connected.
    pub(super) fn connect_again(&mut self, agent: &str) {
        self.line(&format!("a clone of {agent} connects"));
        let mut event = hello(agent, SessionId(99), &self.hosts[&key(agent)]);
        if let Event::AgentConnected { about, .. } = &mut event {
            about.boot_id = "another".into();
        }
        self.happens(&event);
    }

    /// A hello arrives that was sent before the present session's, and lists nothing.
    pub(super) fn hear_old_hello(&mut self, agent: &str) {
        self.line(&format!("an old hello of {agent} arrives"));
        let mut event = hello(agent, SessionId(98), &self.hosts[&key(agent)]);
        if let Event::AgentConnected { about, attempts, .. } = &mut event {
            (about.sent_us, *attempts) = (1, Vec::new());
        }
        self.happens(&event);
    }

    pub(super) fn disconnect(&mut self, agent: &str) {
        self.line(&format!("{agent} loses its link"));
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        if let Some(session) = host.session.take() {
            self.happens(&Event::AgentDisconnected { agent: key(agent), session });
        }
    }

    pub(super) fn drop_messages(&mut self, agent: &str) {
        self.hosts.get_mut(&key(agent)).unwrap().deaf = true;
    }

    pub(super) fn label(&mut self, agent: &str, name: &str, value: &str) {
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        host.labels.insert(name.parse().unwrap(), value.to_owned());
    }

    pub(super) fn reinstall(&mut self, agent: &str) {
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        host.instance = Uuid::from_u128(host.instance.as_u128() + 1);
        host.attempts.clear();
    }

    /// The agent's latest upgrade ends; it says so if it is connected.
    pub(super) fn end_upgrade(&mut self, agent: &str, failed: Option<&str>) {
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        let Some(number) = host.wanted.take() else { return };
        let report = Report { number, failed: failed.map(str::to_owned) };
        host.upgrade = Some(report.clone());
        let session = host.session;
        self.line(&format!("{agent} ends upgrade {number}"));
        if let Some(session) = session {
            self.happens(&Event::UpgradeReported { agent: key(agent), session, report });
        }
    }

    /// The agent starts its first accepted attempt.
    pub(super) fn start(&mut self, agent: &str) {
        let Some(attempt) = self.find(agent, |it| matches!(it, Progress::Accepted)) else { return };
        self.line(&format!("{agent} starts {attempt}"));
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        *host.starts.entry(attempt).or_default() += 1;
        self.report(agent, attempt, Progress::Running { started_us: 5 });
    }

    /// The agent's first running attempt ends.
    pub(super) fn end(&mut self, agent: &str, outcome: Outcome) {
        let running = |it: &Progress| matches!(it, Progress::Running { .. });
        let Some(attempt) = self.find(agent, running) else { return };
        self.line(&format!("{agent} ends {attempt}: {outcome}"));
        self.report(agent, attempt, finished(outcome));
    }

    /// The latest attempt of a job, which is with an agent, ends.
    pub(super) fn end_job(&mut self, job: &str, outcome: Outcome) {
        let job = &self.store.jobs[&job.parse().unwrap()];
        let attempt = job.id.attempt(job.attempts);
        let agent = self.store.attempts[&attempt].agent.to_string();
        self.line(&format!("{agent} ends {attempt}: {outcome}"));
        self.report(&agent, attempt, finished(outcome));
    }

    /// The agent's latest session, open or not, reports an end that the agent does not know of.
    pub(super) fn report_late(&mut self, agent: &str, attempt: &str, outcome: Outcome) {
        let host = &self.hosts[&key(agent)];
        let session = host.session.unwrap_or(SessionId(self.sessions));
        let (agent, attempt) = (key(agent), attempt.parse().unwrap());
        let progress = finished(outcome);
        self.happens(&Event::AttemptReported { agent, session, attempt, progress });
    }

    /// The agent's first accepted attempt succeeds and leaves these.
    pub(super) fn leave(&mut self, agent: &str, outputs: &[(&str, &str)]) {
        self.start(agent);
        let running = |it: &Progress| matches!(it, Progress::Running { .. });
        let Some(attempt) = self.find(agent, running) else { return };
        self.line(&format!("{agent} ends {attempt} and leaves {outputs:?}"));
        let outputs = outputs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let outputs = outputs.collect();
        let Progress::Finished(verdict) = finished(Outcome::Succeeded) else { return };
        self.report(agent, attempt, Progress::Finished(Box::new(Verdict { outputs, ..*verdict })));
    }

    /// The agent's first accepted attempt succeeds, and says this of its Ansible.
    pub(super) fn recap(&mut self, agent: &str, recap: Recap) {
        self.start(agent);
        let running = |it: &Progress| matches!(it, Progress::Running { .. });
        let Some(attempt) = self.find(agent, running) else { return };
        self.line(&format!("{agent} ends {attempt}: {recap}"));
        let Progress::Finished(verdict) = finished(Outcome::Succeeded) else { return };
        let verdict = Verdict { recap: Some(Box::new(recap)), ..*verdict };
        self.report(agent, attempt, Progress::Finished(Box::new(verdict)));
    }

    pub(super) fn end_cancelled(&mut self, agent: &str) {
        if !self.hosts[&key(agent)].cancelled.is_empty() {
            self.end(agent, Outcome::Cancelled);
        }
    }

    pub(super) fn work(&mut self, agent: &str, outcome: Outcome) {
        self.start(agent);
        self.end(agent, outcome);
    }

    fn find(&self, agent: &str, wanted: impl Fn(&Progress) -> bool) -> Option<AttemptId> {
        let attempts = &self.hosts[&key(agent)].attempts;
        attempts.iter().find(|(_, progress)| wanted(progress)).map(|(id, _)| *id)
    }

    fn report(&mut self, agent: &str, attempt: AttemptId, progress: Progress) {
        let host = self.hosts.get_mut(&key(agent)).unwrap();
        host.attempts.insert(attempt, progress.clone());
        if let Some(session) = host.session {
            let agent = key(agent);
            self.happens(&Event::AttemptReported { agent, session, attempt, progress });
        }
    }

    // What befalls the coordinator.

    pub(super) fn restart(&mut self) {
        self.line("the coordinator restarts");
        for host in self.hosts.values_mut() {
            host.session = None;
        }
        let (core, step) = Core::load(self.store.snapshot(), Wall(self.now));
        self.core = core;
        self.steady = 0;
        self.perform(step);
    }

    /// The state that the remembered changes give.
    pub(super) fn remembered(&self) -> State {
        State::load(self.store.snapshot())
    }
}

fn finished(outcome: Outcome) -> Progress {
    Progress::Finished(Box::new(Verdict {
        outcome,
        started_us: Some(5),
        finished_us: 6,
        log: LogEnd { length: 0, sha256: String::new() },
        artifacts: vec![],
        outputs: Default::default(),
        recap: None,
    }))
}

fn hello(agent: &str, session: SessionId, host: &Host) -> Event {
    Event::AgentConnected {
        agent: key(agent),
        fingerprint: format!("key of {agent}"),
        session,
        about: About {
            instance: host.instance,
            version: "0.1.0".into(),
            boot_id: "boot".into(),
            sent_us: session.0,
            capacity: host.capacity,
            labels: host.labels.clone(),
            upgrade: host.upgrade.clone(),
        },
        attempts: host.attempts.clone().into_iter().collect(),
    }
}

/// The tag of a record's state.
fn kind(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).unwrap()["kind"].as_str().unwrap().to_owned()
}
