//! Streams between agents and the coordinator, and the coordinator's session on each, as
//! `coordinator/src/session.rs` has it.
//!
//! A stream is TCP: what arrives does so once and in order; one that breaks loses what was on its
//! way from some message on, and each side sees that in its own time, after all that arrived.

use std::collections::{BTreeMap, VecDeque};

use agent_core::Event as AgentEvent;
use coordinator_core::agent::{About, AgentKey, SessionId};
use coordinator_core::event::{Event, ToAgent};
use pipelines::id::AttemptId;
use pipelines::name::LabelName;
use pipelines::outcome::Progress;
use rand::Rng;

use crate::agent::word;
use crate::coordinator::Input;
use crate::logs::{Ack, Part};
use crate::mutant::Mutant;
use crate::people::name;
use crate::view::View;
use crate::world::{World, note};

/// Attempts that an agent runs side by side.
pub const CAPACITY: u32 = 2;

/// A message to the coordinator.
#[derive(Debug, Clone)]
pub enum Up {
    /// The first one.
    Hello(Vec<(AttemptId, Progress)>),
    /// How far an attempt is.
    Report(AttemptId, Progress),
    /// A numbered heartbeat.
    Heartbeat(u64),
}

/// A message to an agent.
#[derive(Debug, Clone)]
pub enum Down {
    /// From the core.
    Message(Box<ToAgent>),
    /// The answer to the heartbeat of this number.
    Heartbeat(u64),
    /// The session is over, and why.
    Refused(String),
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Whose.
    pub host: usize,
    /// The coordinator's session on it, once it has read the hello.
    pub session: Option<SessionId>,
    /// On its way.
    pub up: VecDeque<Up>,
    /// On its way.
    pub down: VecDeque<Down>,
    /// Of logs, on its way.
    pub logs_up: VecDeque<(AttemptId, Part)>,
    /// Of logs, on its way.
    pub logs_down: VecDeque<(AttemptId, Ack)>,
    /// The core admitted the session.
    pub welcomed: bool,
    /// Nothing more gets through.
    pub broken: bool,
    /// The coordinator says nothing more and will hang up.
    pub ending: bool,
    /// The agent has not hung up.
    pub agent: bool,
    /// The coordinator has not hung up.
    pub coordinator: bool,
}

impl Stream {
    /// Loses what is on its way from some message on.
    pub fn break_off(&mut self, rng: &mut impl Rng) {
        self.broken = true;
        self.up.truncate(rng.random_range(0..=self.up.len()));
        self.down.truncate(rng.random_range(0..=self.down.len()));
        self.logs_up.truncate(rng.random_range(0..=self.logs_up.len()));
        self.logs_down.truncate(rng.random_range(0..=self.logs_down.len()));
    }

    /// Whether all that arrives at the coordinator was read, and no more comes.
    pub fn has_ended_above(&self) -> bool {
        self.coordinator && (self.ending || (self.up.is_empty() && (self.broken || !self.agent)))
    }

    /// Whether all that arrives at the agent was read, and no more comes.
    pub fn has_ended_below(&self) -> bool {
        let silent = self.broken || self.ending || !self.coordinator;
        self.agent && self.down.is_empty() && silent
    }
}

impl World {
    /// An agent opens a stream.
    pub(crate) fn dial(&mut self, h: usize) {
        let stream = self.unique();
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let opened = Stream {
            host: h,
            session: None,
            up,
            down,
            logs_up: VecDeque::new(),
            logs_down: VecDeque::new(),
            welcomed: false,
            broken: false,
            ending: false,
            agent: true,
            coordinator: true,
        };
        self.streams.insert(stream, opened);
        self.linked(h, stream);
    }

    /// An agent sends.
    pub(crate) fn say_up(&mut self, stream: u64, message: Up) {
        let stream = self.streams.get_mut(&stream);
        if let Some(stream) = stream.filter(|it| !it.broken && it.coordinator) {
            stream.up.push_back(message);
        }
    }

    /// The coordinator sends.
    pub(crate) fn say_down(&mut self, stream: u64, message: Down) {
        let stream = self.streams.get_mut(&stream);
        if let Some(stream) = stream.filter(|it| !it.broken && !it.ending && it.agent) {
            let is_welcome =
                matches!(&message, Down::Message(it) if matches!(**it, ToAgent::Welcome));
            stream.welcomed |= is_welcome;
            stream.down.push_back(message);
        }
    }

    /// The coordinator's session reads a message.
    pub(crate) fn arrive_up(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(message) = stream.up.pop_front() else { return };
        let (host, session) = (&self.hosts[stream.host], stream.session);
        let agent = host.key.clone();
        match message {
            Up::Hello(mut attempts) => {
                note!(self, "hello from {}", host.name);
                if self.mutant == Some(Mutant::DropFence) {
                    attempts.iter_mut().for_each(|(id, _)| unfence(&self.book, id));
                }
                let mutated = self.mutant == Some(Mutant::ForgetInstance);
                let instance = if mutated { uuid::Uuid::nil() } else { host.instance };
                let boot_id = host.boot.to_string();
                let labels = labels(&agent);
                let version = "sim".into();
                let (capacity, upgrade, sent_us) = (CAPACITY, None, id + 1);
                let about =
                    About { instance, version, boot_id, sent_us, capacity, labels, upgrade };
                let Some(running) = &mut self.coordinator.running else { return };
                let session = running.next_session();
                stream.session = Some(session);
                let fingerprint = host.fingerprint.clone();
                let event = Event::AgentConnected { agent, fingerprint, session, about, attempts };
                running.inbox.push_back(Input::Connect { event, session, stream: id });
            }
            Up::Report(attempt, progress) => {
                note!(self, "{}: {attempt} {}", host.name, word(&progress));
                let Some(session) = session else { return };
                self.reported(id, agent, session, attempt, progress);
            }
            // Answered only while the core takes the session for connected.
            Up::Heartbeat(number) => {
                note!(self, "heartbeat {number} of {}", host.name);
                if stream.welcomed {
                    self.say_down(id, Down::Heartbeat(number));
                }
            }
        }
    }

    fn reported(
        &mut self,
        stream: u64,
        agent: AgentKey,
        session: SessionId,
        mut attempt: AttemptId,
        progress: Progress,
    ) {
        if self.mutant == Some(Mutant::DropFence) {
            unfence(&self.book, &mut attempt);
        }
        if let (Some(Mutant::AcknowledgeEarly), Progress::Finished(_)) = (self.mutant, &progress) {
            self.say_down(stream, Down::Message(Box::new(ToAgent::Acknowledge(attempt))));
        }
        let event = Event::AttemptReported { agent, session, attempt, progress };
        self.input(Input::Event(event));
    }

    /// The agent's link reads a message.
    pub(crate) fn arrive_down(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let h = stream.host;
        let Some(message) = stream.down.pop_front() else { return };
        let message = match message {
            Down::Message(message) => *message,
            Down::Heartbeat(number) => {
                note!(self, "{}: heartbeat {number} is answered", self.hosts[h].name);
                return self.heard(h, number);
            }
            Down::Refused(reason) => {
                note!(self, "{} is refused: {reason}", self.hosts[h].name);
                return self.agent_hangs_up(id);
            }
        };
        let name = &self.hosts[h].name;
        let event = match message {
            ToAgent::Welcome => {
                note!(self, "{name} is welcome");
                return self.welcomed(h);
            }
            ToAgent::Order(order) => {
                note!(self, "{name} gets the order of {}", order.attempt);
                let attempt = order.attempt;
                AgentEvent::OrderReceived { attempt, order: order.to_bytes(), refusal: None }
            }
            // Nobody asks for upgrades here.
            ToAgent::Upgrade { .. } => return,
            ToAgent::Cancel(attempt) => {
                note!(self, "{name} is to cancel {attempt}");
                AgentEvent::CancelReceived { attempt }
            }
            ToAgent::Acknowledge(attempt) => {
                note!(self, "{name} hears that the verdict of {attempt} is durable");
                AgentEvent::VerdictAcknowledged { attempt }
            }
            ToAgent::Forget(attempt) => {
                note!(self, "{name} is to forget {attempt}");
                AgentEvent::ForgetReceived { attempt }
            }
        };
        self.agent_event(h, event);
    }

    /// The agent closes its end.
    pub(crate) fn agent_hangs_up(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let h = stream.host;
        stream.agent = false;
        stream.down.clear();
        stream.logs_down.clear();
        note!(self, "{} hangs up", self.hosts[h].name);
        self.agent_event(h, AgentEvent::LinkDown);
        self.tidy_streams();
    }

    /// The coordinator closes its end, and the driver hears of it.
    pub(crate) fn coordinator_hangs_up(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        (stream.coordinator, stream.broken) = (false, true);
        stream.up.clear();
        stream.logs_up.clear();
        let (agent, session) = (self.hosts[stream.host].key.clone(), stream.session);
        note!(self, "the session of {} is over", self.hosts[stream.host].name);
        if let Some(session) = session {
            self.input(Input::Event(Event::AgentDisconnected { agent, session }));
        }
        self.tidy_streams();
    }

    /// The coordinator's process is gone, and its ends of all streams with it.
    pub(crate) fn drop_sessions(&mut self, rng: &mut impl Rng) {
        for stream in self.streams.values_mut().filter(|stream| stream.coordinator) {
            stream.break_off(rng);
            (stream.coordinator, stream.ending) = (false, false);
        }
        self.tidy_streams();
    }

    /// The agent's process is gone, and its end of its stream with it.
    pub(crate) fn drop_link(&mut self, h: usize, rng: &mut impl Rng) {
        for stream in self.streams.values_mut().filter(|it| it.host == h && it.agent) {
            stream.break_off(rng);
            stream.agent = false;
        }
        self.tidy_streams();
    }

    fn tidy_streams(&mut self) {
        self.streams.retain(|_, stream| stream.agent || stream.coordinator);
    }
}

/// What jobs may ask for: of each partition's agents only the first has the label.
pub(crate) fn labels(agent: &AgentKey) -> BTreeMap<LabelName, String> {
    let is_first = agent.name.as_str() == "mgmt01";
    is_first.then(|| (name("rack"), "a".to_owned())).into_iter().collect()
}

/// A mutant: whatever an agent says of an attempt counts for the job's latest.
fn unfence(book: &View, attempt: &mut AttemptId) {
    attempt.number = book.jobs.get(&attempt.job).map_or(attempt.number, |job| job.attempts);
}
