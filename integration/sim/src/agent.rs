//! The agent's shell around the real core, as `agent/src/{host,keeper,attempt,link}.rs` have it: one
//! loop owns the core; disk tasks and keepers go on beside it and report back as events.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::lease::BootTime;
use agent_core::{Core, Effect, Event, Found};
use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Progress};

use crate::host::{Condition, Dir, Terms};
use crate::keeper::{Keeper, Way};
use crate::logs::Upload;
use crate::mutant::Mutant;
use crate::network::Up;
use crate::world::{World, note};

/// Between two heartbeats, in µs.
const HEARTBEAT: u64 = 5_000_000;

/// A coordinator that has not answered a heartbeat for this long is gone, in µs.
const SILENCE: u64 = 30_000_000;

/// An agent's process.
#[derive(Debug)]
pub struct Agent {
    core: Core,
    /// Its link.
    pub stream: Option<u64>,
    /// The coordinator took the hello, so heartbeats and logs travel too.
    pub welcomed: bool,
    heart: Heart,
    /// When it sent what the coordinator last acknowledged; none before the first time.
    pub acknowledged: Option<BootTime>,
    /// What is being written.
    pub tasks: Vec<Task>,
    /// Who follows an attempt's runner.
    pub keepers: BTreeMap<AttemptId, Keeper>,
    /// Attempts that are to be ended.
    pub(crate) cancelled: BTreeSet<AttemptId>,
    /// Logs that the coordinator does not have whole.
    pub uploads: BTreeMap<AttemptId, Upload>,
}

/// The heartbeats of one stream, at most one under way. The hello is the first.
#[derive(Debug, Default)]
struct Heart {
    under_way: Option<(u64, BootTime)>,
    last: u64,
}

/// Something that is written, and how many of its steps are done.
#[derive(Debug, Clone)]
pub struct Task {
    attempt: AttemptId,
    work: Work,
    done: u32,
}

#[derive(Debug, Clone)]
enum Work {
    Store(Terms),
    Conclude(Outcome),
    Remove,
}

impl Agent {
    /// Whether the attempt's order is being stored.
    pub fn is_storing(&self, attempt: AttemptId) -> bool {
        let is_store = |task: &Task| task.attempt == attempt && matches!(task.work, Work::Store(_));
        self.tasks.iter().any(is_store)
    }
}

impl World {
    /// The agent starts: looks at what the directories hold, and takes it up.
    pub(crate) fn start_agent(&mut self, h: usize) {
        let mut found = Vec::new();
        let mut keepers = BTreeMap::new();
        let mut uploads = BTreeMap::new();
        // What a crash left without an order is no attempt.
        self.hosts[h].dirs.retain(|_, dir| dir.visible || dir.durable);
        self.hosts[h].dirs.values_mut().for_each(|dir| dir.durable |= dir.visible);
        let ids: Vec<AttemptId> = self.hosts[h].dirs.keys().copied().collect();
        for attempt in ids {
            let Some(condition) = self.hosts[h].condition(attempt) else { continue };
            found.push((
                attempt,
                match condition {
                    Condition::Unstarted => Found::Accepted,
                    Condition::Held => {
                        keepers.insert(attempt, self.hosts[h].keeper(attempt, Way::Attach));
                        let started_us = self.hosts[h].dir(attempt).and_then(|dir| dir.started());
                        Found::Alive { started_us }
                    }
                    Condition::Dead => {
                        let verdict = self.bury(h, attempt);
                        uploads.insert(attempt, Upload::ended(&verdict.log));
                        Found::Finished(Box::new(verdict))
                    }
                    Condition::Finished(verdict) => {
                        self.hosts[h].dir(attempt).into_iter().for_each(|dir| dir.sync());
                        uploads.insert(attempt, Upload::ended(&verdict.log));
                        Found::Finished(Box::new(verdict))
                    }
                },
            ));
        }
        note!(self, "finds {} attempts", found.len());
        let (core, effects) = Core::load(found);
        self.hosts[h].agent = Some(Agent {
            core,
            stream: None,
            welcomed: false,
            heart: Heart::default(),
            acknowledged: None,
            tasks: Vec::new(),
            keepers,
            cancelled: BTreeSet::new(),
            uploads,
        });
        self.agent_effects(h, effects);
    }

    /// What the agent says first on a new stream.
    pub(crate) fn linked(&mut self, h: usize, stream: u64) {
        let now = self.boot_time(h);
        let Some(agent) = &mut self.hosts[h].agent else { return };
        (agent.stream, agent.welcomed) = (Some(stream), false);
        agent.heart = Heart { under_way: Some((0, now)), last: 0 };
        let effects = agent.core.handle(Event::LinkUp);
        let attempts = agent.core.held();
        note!(self, "dials, holding {}", held(&attempts));
        self.say_up(stream, Up::Hello(attempts));
        self.agent_effects(h, effects);
    }

    /// The coordinator took the hello.
    pub(crate) fn welcomed(&mut self, h: usize) {
        let Some(agent) = &mut self.hosts[h].agent else { return };
        agent.welcomed = true;
        if let Some((_, sent)) = agent.heart.under_way.take() {
            agent.acknowledged = Some(sent);
        }
        self.ask_again(h);
    }

    /// Whether an agent's heart would beat now, or notice that the coordinator is silent.
    pub(crate) fn can_beat(&self, h: usize) -> bool {
        let now = self.boot_time(h);
        let Some(agent) = &self.hosts[h].agent else { return false };
        let since = match agent.heart.under_way {
            Some((_, sent)) => now.0 - sent.0 > SILENCE,
            None => agent.acknowledged.is_none_or(|sent| now.0 - sent.0 >= HEARTBEAT),
        };
        agent.stream.is_some() && agent.welcomed && since
    }

    /// An agent sends a heartbeat if none is under way; one that is unanswered for too long ends the
    /// stream.
    pub(crate) fn beat(&mut self, h: usize) {
        let now = self.boot_time(h);
        let Some(agent) = &mut self.hosts[h].agent else { return };
        let Some(stream) = agent.stream.filter(|_| agent.welcomed) else { return };
        match agent.heart.under_way {
            Some((_, sent)) if now.0 - sent.0 > SILENCE => {
                note!(self, "hears nothing");
                self.agent_hangs_up(stream);
            }
            Some(_) => {}
            None => {
                agent.heart.last += 1;
                agent.heart.under_way = Some((agent.heart.last, now));
                let number = agent.heart.last;
                self.say_up(stream, Up::Heartbeat(number));
            }
        }
    }

    /// The answer to a heartbeat came.
    pub(crate) fn heard(&mut self, h: usize, number: u64) {
        let Some(agent) = &mut self.hosts[h].agent else { return };
        if let Some((_, sent)) = agent.heart.under_way.take_if(|(it, _)| *it == number) {
            agent.acknowledged = Some(sent);
        }
    }

    /// Something happened to an agent, if it runs.
    pub(crate) fn agent_event(&mut self, h: usize, event: Event) {
        let Some(agent) = &mut self.hosts[h].agent else { return };
        if event == Event::LinkDown {
            (agent.stream, agent.welcomed) = (None, false);
        }
        let effects = agent.core.handle(event);
        self.agent_effects(h, effects);
    }

    fn agent_effects(&mut self, h: usize, effects: Vec<Effect>) {
        for effect in effects {
            let mutant = self.mutant;
            let host = &mut self.hosts[h];
            let Some(agent) = &mut host.agent else { return };
            let task = |attempt, work| Task { attempt, work, done: 0 };
            match effect {
                Effect::Store { attempt, order } => {
                    let terms = Terms::read(&order, host.boot, agent.acknowledged);
                    if mutant == Some(Mutant::StartBeforeStoring) {
                        host.dirs.insert(attempt, Dir::named(terms));
                        self.agent_event(h, Event::OrderStored { attempt });
                    } else {
                        agent.tasks.push(task(attempt, Work::Store(terms)));
                    }
                }
                Effect::Launch { attempt } => {
                    let keeper = host.keeper(attempt, Way::Spawn);
                    host.agent.as_mut().and_then(|it| it.keepers.insert(attempt, keeper));
                }
                Effect::Conclude { attempt, outcome } => {
                    agent.tasks.push(task(attempt, Work::Conclude(outcome)));
                }
                Effect::Cancel { attempt } => drop(agent.cancelled.insert(attempt)),
                Effect::Remove { attempt } => {
                    agent.cancelled.remove(&attempt);
                    agent.uploads.remove(&attempt);
                    agent.tasks.push(task(attempt, Work::Remove));
                }
                Effect::Report { attempt, progress } => {
                    if let Some(stream) = agent.stream {
                        note!(self, "reports {attempt} {}", word(&progress));
                        self.say_up(stream, Up::Report(attempt, progress));
                    }
                }
            }
        }
    }

    /// A task takes its next step; a crash may come between any two.
    pub(crate) fn step_task(&mut self, h: usize, nth: usize) {
        let host = &mut self.hosts[h];
        let Some(agent) = &mut host.agent else { return };
        let Task { attempt, work, done } = agent.tasks[nth].clone();
        agent.tasks[nth].done += 1;
        let mut is_over = true;
        match (work, done) {
            (Work::Store(_), 0) if host.full => {
                agent.tasks.remove(nth);
                note!(self, "has no space for the order of {attempt}");
                let reason = "nothing was started: no space is left".to_owned();
                let verdict = self.verdict(h, attempt, None, Outcome::InfraError { reason });
                self.ledger.reached(attempt, &verdict);
                return self.agent_event(h, Event::StoreFailed { attempt, verdict });
            }
            (Work::Store(_), 0) => is_over = false,
            (Work::Store(terms), 1) => {
                host.dirs.insert(attempt, Dir::named(terms));
                note!(self, "gives the order of {attempt} its name");
                is_over = false;
            }
            (Work::Store(_), _) => {
                agent.tasks.remove(nth);
                host.dir(attempt).into_iter().for_each(|dir| dir.durable = true);
                note!(self, "has the order of {attempt} durably");
                return self.agent_event(h, Event::OrderStored { attempt });
            }
            (Work::Conclude(outcome), 0) => {
                if host.condition(attempt) == Some(Condition::Unstarted) {
                    note!(self, "writes the verdict of {attempt}: {outcome}");
                    let verdict = self.verdict(h, attempt, None, outcome);
                    self.write_verdict(h, attempt, verdict);
                    is_over = false;
                }
            }
            (Work::Conclude(_), _) => {
                agent.tasks.remove(nth);
                host.dir(attempt).into_iter().for_each(|dir| dir.sync());
                return self.concluded(h, attempt);
            }
            (Work::Remove, 0) => {
                self.check_removal(h, attempt);
                let host = &mut self.hosts[h];
                host.dir(attempt).into_iter().for_each(|dir| dir.visible = false);
                note!(self, "removes {attempt}");
                is_over = false;
            }
            (Work::Remove, _) => drop(host.dirs.remove(&attempt)),
        }
        if is_over && let Some(agent) = &mut self.hosts[h].agent {
            agent.tasks.remove(nth);
        }
    }
}

/// How far an attempt is, for people.
pub(crate) fn word(progress: &Progress) -> String {
    match progress {
        Progress::Accepted => "accepted".to_owned(),
        Progress::Running { .. } => "running".to_owned(),
        Progress::Finished(verdict) => format!("ended ({})", verdict.outcome),
    }
}

fn held(attempts: &[(AttemptId, Progress)]) -> String {
    let words = attempts.iter().map(|(id, progress)| format!("{id} {}", word(progress)));
    let words: Vec<String> = words.collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
