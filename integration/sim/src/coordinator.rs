//! The coordinator's process: the loop of `coordinator/src/driver.rs` around the real core and the
//! real journal, with a crash possible at each of its steps.

use std::collections::{BTreeMap, VecDeque};

use coordinator::store::journal::{self, Journal, Seq};
use coordinator_core::actor::Actor;
use coordinator_core::agent::{AgentKey, SessionId};
use coordinator_core::change::{Change, Snapshot};
use coordinator_core::core::Core;
use coordinator_core::deadline::Steady;
use coordinator_core::event::{Ask, Effect, Event, RequestId, Step, Wall};
use coordinator_core::trigger::Trigger;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::disk::SimDisk;
use crate::ledger::Rule;
use crate::logs::Logs;
use crate::mutant::Mutant;
use crate::network::Down;
use crate::people::Asked;
use crate::view::{Checkpoint, View};
use crate::world::{World, note};

/// Small segments, so that a short story begins many.
const OPTIONS: journal::Options = journal::Options { segment: 16 << 10, reserve: 4 << 10 };

/// The coordinator's host.
#[derive(Debug, Default)]
pub struct Coordinator {
    /// The disk under the journal.
    pub disk: SimDisk,
    /// Logs.
    pub logs: Logs,
    /// The process.
    pub running: Option<Running>,
    /// The view as a killed process left it; power loss takes it.
    pub left: Option<View>,
    /// Whole checkpoints, newest last.
    pub checkpoints: Vec<Checkpoint>,
    /// A checkpoint that is being written.
    pub draft: Option<View>,
    /// How far its wall clock is off, in µs.
    pub clock: i64,
}

/// The process.
#[derive(Debug)]
pub struct Running {
    core: Core,
    journal: Journal<SimDisk>,
    /// What is queried.
    pub view: View,
    /// What waits for the loop.
    pub inbox: VecDeque<Input>,
    /// Triggers that are being resolved.
    pub resolving: Vec<Trigger>,
    sessions: BTreeMap<SessionId, u64>,
    waiting: BTreeMap<RequestId, Asked>,
    requests: u64,
    opened: u64,
    /// When the core was loaded, on the clock that never jumps.
    loaded: u64,
    /// When it was loaded again, which the journal does not know yet.
    reloaded: Option<Wall>,
    /// What the core holds since a roll-back and no batch says: that agents are not connected.
    unsaid: BTreeMap<AgentKey, Change>,
}

/// What the loop takes.
#[derive(Debug)]
pub enum Input {
    /// A question.
    Ask {
        /// Who.
        actor: Actor,
        /// What.
        ask: Ask,
        /// Who waits for the answer.
        asked: Asked,
    },
    /// A session's first event.
    Connect {
        /// The hello.
        event: Event,
        /// The session.
        session: SessionId,
        /// On which stream.
        stream: u64,
    },
    /// Anything else.
    Event(Event),
}

/// Where in a batch the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Before it writes.
    BeforeCommit,
    /// While it writes: so many bytes are written.
    InWrite(usize),
    /// Once the batch is durable.
    AfterCommit,
    /// Once it is in the view.
    AfterView,
    /// After so many effects.
    AfterEffects(usize),
}

impl Running {
    /// The number of a new session; counted anew by each process.
    pub fn next_session(&mut self) -> SessionId {
        self.opened += 1;
        SessionId(self.opened)
    }

    /// Time since the core was loaded.
    fn steady(&self, now: u64) -> Steady {
        Steady(now.saturating_sub(self.loaded))
    }

    /// Whether the loop has anything to do.
    pub fn is_busy(&self, now: u64, wall: Wall) -> bool {
        let is_due = self.core.next_deadline().is_some_and(|at| at <= self.steady(now));
        let expires = self.core.next_expiry().is_some_and(|at| at <= wall);
        is_due || expires || !self.inbox.is_empty()
    }
}

impl World {
    /// Something for the loop; nobody hears it if the coordinator does not run.
    pub(crate) fn input(&mut self, input: Input) {
        if let Some(running) = &mut self.coordinator.running {
            running.inbox.push_back(input);
        }
    }

    /// The process starts: the view is brought up to date or built from a checkpoint, the core is
    /// loaded, and says what must be done again.
    pub(crate) fn start_coordinator(&mut self) {
        let disk = self.coordinator.disk.clone();
        let left = self.coordinator.left.take();
        let needed = left.as_ref().map_or(Seq(0), |view| view.applied).next();
        let journal = match Journal::open(disk, OPTIONS, needed) {
            Ok(journal) => journal,
            Err(error) => return self.ledger.find_error("the journal cannot be opened", &error),
        };
        let last = journal.last();
        let mut checkpoints = self.coordinator.checkpoints.iter().rev();
        let view = left.filter(|view| view.applied <= last);
        let from = if view.is_some() { "the view that was left" } else { "a checkpoint" };
        let mut view = view.unwrap_or_else(|| {
            let whole = checkpoints.find(|checkpoint| checkpoint.through <= last);
            whole.map_or_else(View::default, |checkpoint| checkpoint.view.clone())
        });
        note!(self, "epoch {}, batch {last}, from {from} as of {}", journal.epoch(), view.applied);
        self.check_journal(&journal);
        match journal.batches(view.applied.next()) {
            Ok(batches) => batches.flatten().for_each(|it| view.apply(it.seq, &it.changes)),
            Err(error) => return self.ledger.find_error("the journal cannot be read", &error),
        }
        self.check_view(&view);
        let now = self.wall();
        let (core, step) = Core::load(self.snapshot(&view), now);
        self.coordinator.running = Some(Running {
            core,
            journal,
            view,
            inbox: VecDeque::new(),
            resolving: Vec::new(),
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            opened: 0,
            loaded: self.clock(),
            reloaded: None,
            unsaid: BTreeMap::new(),
        });
        let mut rng = self.rng();
        if let Some(step) = self.commit(&[], step, None, &mut rng) {
            self.effects(step, usize::MAX);
        } else {
            self.crash_coordinator(false, &mut rng);
        }
    }

    /// The process ends, and with `power` its host.
    pub(crate) fn crash_coordinator(&mut self, power: bool, rng: &mut ChaCha8Rng) {
        let Some(running) = self.coordinator.running.take() else { return };
        (self.coordinator.left, self.coordinator.draft) = (Some(running.view), None);
        self.coordinator.disk.trouble(|it| (it.torn_write, it.failing_sync) = (None, false));
        if power {
            self.coordinator.left = None;
            self.coordinator.disk.lose_power(rng);
            self.coordinator.logs.lose_power(rng);
        }
        note!(self, "the coordinator is gone{}", if power { ", its power too" } else { "" });
        self.drop_sessions(rng);
    }

    /// Takes the first `most` of what waits; is killed where `crash` says.
    pub(crate) fn batch(&mut self, most: usize, crash: Option<Crash>, rng: &mut ChaCha8Rng) {
        if self.mutant == Some(Mutant::ReassignOnTimeout) {
            self.time_out_agents();
        }
        let now = self.wall();
        let clock = self.clock();
        let Some(running) = &mut self.coordinator.running else { return };
        let count = most.min(running.inbox.len());
        let inputs: Vec<Input> = running.inbox.drain(..count).collect();
        let mut events: Vec<Event> = inputs.into_iter().map(|input| running.admit(input)).collect();
        events.insert(0, Event::Tick { at: running.steady(clock) });
        if let Some(at) = running.reloaded {
            events.insert(0, Event::Reloaded { at });
        }
        let mut step = Step::default();
        for event in &events {
            let one = running.core.handle(event, now);
            step.changes.extend(one.changes);
            step.effects.extend(one.effects);
        }
        let scheduled = running.core.schedule(now);
        step.changes.extend(scheduled.changes);
        step.effects.extend(scheduled.effects);
        let Some(step) = self.commit(&events, step, crash, rng) else { return };
        let most = if let Some(Crash::AfterEffects(most)) = crash { most } else { usize::MAX };
        if crash != Some(Crash::AfterView) {
            self.effects(step, most);
        }
        for event in &events {
            if let Event::AgentDisconnected { session, .. } = event {
                self.end_session(*session);
            }
        }
    }

    /// Makes a step durable and visible; gives it back if its effects are to be performed now.
    fn commit(
        &mut self,
        events: &[Event],
        step: Step,
        crash: Option<Crash>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Step> {
        let now = self.wall();
        let mut step = Some(step);
        if self.mutant == Some(Mutant::ActBeforeCommit) {
            let early = step.as_mut().map(|it| std::mem::take(&mut it.effects)).unwrap_or_default();
            self.effects(Step { changes: vec![], effects: early }, usize::MAX);
        }
        let running = self.coordinator.running.as_mut()?;
        if crash == Some(Crash::BeforeCommit) {
            return None;
        }
        if let Some(Crash::InWrite(bytes)) = crash {
            self.coordinator.disk.trouble(|it| it.torn_write = Some(bytes));
        }
        let changes = step.as_ref().map_or(&[][..], |step| &step.changes);
        let headroom = !(self.coordinator.disk.troubles().full && rng.random_bool(0.5));
        let appended = match headroom {
            true => running.journal.append(now, events, changes),
            false => Err(journal::Error::Full),
        };
        match appended {
            Ok(appended) if crash == Some(Crash::AfterCommit) => {
                note!(self, "batch {} is durable", appended.seq);
                None
            }
            Ok(appended) => {
                running.view.apply(appended.seq, changes);
                running.reloaded = None;
                for change in changes {
                    if let Change::Agent(agent) = change {
                        running.unsaid.remove(&agent.key);
                    }
                }
                self.committed(appended.seq, events, changes);
                self.check_core();
                self.check_pickup();
                step
            }
            Err(journal::Error::Full) => {
                note!(self, "no space: nothing is done");
                self.roll_back();
                None
            }
            Err(error) => {
                note!(self, "{error}");
                let power = rng.random_bool(0.3);
                self.crash_coordinator(power, rng);
                None
            }
        }
    }

    fn effects(&mut self, step: Step, most: usize) {
        self.check_released();
        for effect in step.effects.into_iter().take(most) {
            let Some(running) = &mut self.coordinator.running else { return };
            match effect {
                Effect::Answer { request, answer } => {
                    if let Some(asked) = running.waiting.remove(&request) {
                        self.answered(asked, answer);
                    }
                }
                Effect::Warn(text) => note!(self, "{text}"),
                Effect::Complain(fault) => self.ledger.find(Rule::Pickup, fault),
                Effect::Resolve(trigger) => running.resolving.push(*trigger),
                Effect::Send { session, message } => {
                    if let Some(stream) = running.sessions.get(&session).copied() {
                        self.say_down(stream, Down::Message(Box::new(message)));
                    }
                }
                Effect::Close { session, reason } => {
                    if let Some(stream) = running.sessions.get(&session).copied() {
                        self.say_down(stream, Down::Refused(reason));
                    }
                    self.end_session(session);
                }
            }
        }
    }

    /// The driver lets go of a session; its stream ends behind what was said.
    fn end_session(&mut self, session: SessionId) {
        let Some(running) = &mut self.coordinator.running else { return };
        let Some(stream) = running.sessions.remove(&session) else { return };
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.ending = true;
        }
    }

    /// Nothing could be written: the core is loaded again, and agents come back.
    fn roll_back(&mut self) {
        let (now, clock) = (self.wall(), self.clock());
        let Some(running) = &mut self.coordinator.running else { return };
        running.waiting.clear();
        let sessions: Vec<SessionId> = running.sessions.keys().copied().collect();
        let (core, step) = Core::load(snapshot(self.mutant, &running.view), now);
        (running.core, running.loaded, running.reloaded) = (core, clock, Some(now));
        for change in step.changes {
            if let Change::Agent(agent) = &change {
                running.unsaid.insert(agent.key.clone(), change);
            }
        }
        sessions.into_iter().for_each(|session| self.end_session(session));
        self.effects(Step { changes: Vec::new(), effects: step.effects }, usize::MAX);
    }

    /// The clock that never jumps, by which the core is told the time.
    pub(crate) fn clock(&self) -> u64 {
        let by_wall_clock = self.mutant == Some(Mutant::TickByWallClock);
        if by_wall_clock { self.wall().0 } else { self.now }
    }

    /// What the core starts from.
    fn snapshot(&self, view: &View) -> Snapshot {
        snapshot(self.mutant, view)
    }

    /// Whether the core holds what no record says: that agents are not connected any more.
    pub(crate) fn is_unsaid(&self) -> bool {
        self.coordinator.running.as_ref().is_none_or(|running| !running.unsaid.is_empty())
    }

    /// When the core wants to be told the time.
    pub(crate) fn has_deadline(&self) -> bool {
        self.coordinator.running.as_ref().is_some_and(|it| it.core.next_deadline().is_some())
    }

    /// The core must hold what the records say, and nothing else.
    fn check_core(&mut self) {
        if matches!(self.mutant, Some(Mutant::ForgetLocks | Mutant::ForgetGroups)) {
            return;
        }
        let Some(running) = &self.coordinator.running else { return };
        let mut records = running.view.clone();
        let unsaid: Vec<Change> = running.unsaid.values().cloned().collect();
        records.apply(records.applied, &unsaid);
        if !running.core.agrees_with(records.snapshot()) {
            self.ledger.find_state("the core holds something that no record says");
        }
    }
}

/// What the core starts from, unless something is forgotten on purpose.
pub(crate) fn snapshot(mutant: Option<Mutant>, view: &View) -> Snapshot {
    let mut snapshot = view.snapshot();
    if mutant == Some(Mutant::ForgetLocks) {
        snapshot.locks.clear();
    }
    if mutant == Some(Mutant::ForgetGroups) {
        snapshot.runs.iter_mut().for_each(|stored| stored.run.group = None);
    }
    snapshot
}

impl Running {
    /// Registers who waits for what, and leaves the event.
    fn admit(&mut self, input: Input) -> Event {
        match input {
            Input::Event(event) => event,
            Input::Connect { event, session, stream } => {
                self.sessions.insert(session, stream);
                event
            }
            Input::Ask { actor, ask, asked } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.waiting.insert(request, asked);
                Event::Asked { request, actor, ask }
            }
        }
    }
}
