//! Logs on their way, as `agent/src/upload.rs` sends them and `coordinator/src/{intake,logs}` take
//! them: the question where to go on, bytes by offset, the end; answered by where to go on, or that
//! all is there. They have a stream of their own beside the control stream, and end with the link.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use agent_core::Event;
use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use rand::Rng;

use crate::ledger::Rule;
use crate::mutant::Mutant;
use crate::world::{World, note};

/// Most bytes in one message.
const MESSAGE: usize = 3;

/// One log on its way from an agent.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// None while more may come.
    end: Option<LogEnd>,
    /// Where the coordinator wants to go on; none before it said so in this session.
    next: Option<usize>,
    asked: bool,
    end_sent: bool,
}

/// What an agent sends of a log.
#[derive(Debug, Clone)]
pub enum Part {
    /// The question where to go on.
    Question,
    /// Bytes from this offset on.
    Bytes(usize, Vec<u8>),
    /// That there are no more.
    End(LogEnd),
}

/// What the coordinator answers.
#[derive(Debug, Clone, Copy)]
pub enum Ack {
    /// Go on from here.
    Rewind(usize),
    /// All of it is durable.
    Complete,
}

/// Logs on the coordinator's disk.
#[derive(Debug, Default)]
pub struct Logs(BTreeMap<AttemptId, File>);

#[derive(Debug, Default)]
struct File {
    seen: Vec<u8>,
    synced: usize,
}

impl Upload {
    /// One of which all is known.
    pub fn ended(end: &LogEnd) -> Upload {
        Upload { end: Some(end.clone()), ..Upload::default() }
    }

    /// There will be no more than this.
    pub fn ends(&mut self, end: &LogEnd) {
        self.end = Some(end.clone());
    }

    /// A new session: the coordinator is asked again.
    fn ask_again(&mut self) {
        (self.next, self.asked, self.end_sent) = (None, false, false);
    }

    fn part(&self, log: &[u8]) -> Option<Part> {
        let Some(next) = self.next else { return (!self.asked).then_some(Part::Question) };
        if next < log.len() {
            let end = log.len().min(next + MESSAGE);
            return Some(Part::Bytes(next, log[next..end].to_vec()));
        }
        self.end.clone().filter(|_| !self.end_sent).map(Part::End)
    }
}

impl Logs {
    /// The power fails: any part of what was not synced is kept.
    pub fn lose_power(&mut self, rng: &mut impl Rng) {
        for file in self.0.values_mut() {
            file.seen.truncate(rng.random_range(file.synced..=file.seen.len()));
            file.synced = file.seen.len();
        }
    }

    /// What would be there of a log after power loss.
    pub fn durable(&self, attempt: AttemptId) -> &[u8] {
        self.0.get(&attempt).map_or(&[], |file| &file.seen[..file.synced])
    }

    fn take(&mut self, attempt: AttemptId, part: Part, lazy: bool) -> Option<Ack> {
        let file = self.0.entry(attempt).or_default();
        let written = file.seen.len();
        match part {
            Part::Question => Some(Ack::Rewind(written)),
            Part::Bytes(offset, _) if offset > written => Some(Ack::Rewind(written)),
            Part::Bytes(offset, bytes) => {
                file.seen.extend(bytes.get(written - offset..).unwrap_or_default());
                None
            }
            Part::End(end) if (written as u64) < end.length => Some(Ack::Rewind(written)),
            Part::End(end) if end == log_end(&file.seen) => {
                if !lazy {
                    file.synced = written;
                }
                Some(Ack::Complete)
            }
            // It differs from what the runner wrote: all of it is asked for again.
            Part::End(_) => {
                *file = File::default();
                Some(Ack::Rewind(0))
            }
        }
    }
}

/// A log's length and checksum.
pub fn log_end(log: &[u8]) -> LogEnd {
    let mut hasher = DefaultHasher::new();
    log.hash(&mut hasher);
    LogEnd { length: log.len() as u64, sha256: format!("{:x}", hasher.finish()) }
}

impl World {
    /// What an agent would send of a log just now.
    fn part(&self, h: usize, attempt: AttemptId) -> Option<Part> {
        let host = &self.hosts[h];
        let agent = host.agent.as_ref().filter(|agent| agent.welcomed)?;
        let log = host.dirs.get(&attempt).map_or(&[][..], |dir| &dir.log);
        agent.uploads.get(&attempt)?.part(log)
    }

    /// Logs of which an agent has something to send.
    pub(crate) fn sendable(&self, h: usize) -> Vec<AttemptId> {
        let uploads = self.hosts[h].agent.iter().flat_map(|agent| agent.uploads.keys());
        uploads.copied().filter(|attempt| self.part(h, *attempt).is_some()).collect()
    }

    /// An agent sends more of a log.
    pub(crate) fn send_log(&mut self, h: usize, attempt: AttemptId) {
        let Some(part) = self.part(h, attempt) else { return };
        let Some(agent) = &mut self.hosts[h].agent else { return };
        let Some(upload) = agent.uploads.get_mut(&attempt) else { return };
        match &part {
            Part::Question => upload.asked = true,
            Part::Bytes(offset, bytes) => upload.next = Some(offset + bytes.len()),
            Part::End(_) => upload.end_sent = true,
        }
        let stream = agent.stream.and_then(|stream| self.streams.get_mut(&stream));
        if let Some(stream) = stream.filter(|it| !it.broken && it.coordinator) {
            stream.logs_up.push_back((attempt, part));
        }
    }

    /// A piece of a log reaches the coordinator.
    pub(crate) fn log_arrives(&mut self, id: u64) {
        let lazy = self.mutant == Some(Mutant::AcknowledgeUnsyncedLogs);
        let is_full = self.coordinator.disk.troubles().full;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some((attempt, part)) = stream.logs_up.pop_front() else { return };
        let Some(running) = &self.coordinator.running else { return };
        let agent = &self.hosts[stream.host].key;
        note!(self, "{attempt} {part:?}");
        // What is not known here is passed over: the control stream says what becomes of it.
        if running.view.attempts.get(&attempt).is_none_or(|record| record.agent != *agent) {
            return;
        }
        if is_full && matches!(part, Part::Bytes(..)) {
            let h = stream.host;
            note!(self, "there is no space: the stream of logs is opened again");
            (stream.logs_up, stream.logs_down) = Default::default();
            return self.ask_again(h);
        }
        if let Some(ack) = self.coordinator.logs.take(attempt, part, lazy)
            && stream.agent
            && !stream.broken
        {
            stream.logs_down.push_back((attempt, ack));
        }
    }

    /// A stream of logs begins.
    pub(crate) fn ask_again(&mut self, h: usize) {
        let agent = self.hosts[h].agent.iter_mut();
        agent.flat_map(|agent| agent.uploads.values_mut()).for_each(Upload::ask_again);
    }

    /// An agent hears how far one of its logs is.
    pub(crate) fn log_ack_arrives(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let h = stream.host;
        let Some((attempt, ack)) = stream.logs_down.pop_front() else { return };
        note!(self, "{attempt} {ack:?}");
        let Some(agent) = &mut self.hosts[h].agent else { return };
        let Some(upload) = agent.uploads.get_mut(&attempt) else { return };
        match ack {
            Ack::Rewind(offset) => (upload.next, upload.end_sent) = (Some(offset), false),
            Ack::Complete => {
                agent.uploads.remove(&attempt);
                self.agent_event(h, Event::LogAcknowledged { attempt });
            }
        }
    }

    /// A program writes a byte.
    pub(crate) fn write_output(&mut self, h: usize, attempt: AttemptId) {
        let byte = self.unique() as u8;
        let host = &mut self.hosts[h];
        host.dir(attempt).into_iter().for_each(|dir| dir.log.push(byte));
        // Its keeper hears that the log has grown.
        if let Some(agent) = &mut host.agent
            && agent.keepers.contains_key(&attempt)
        {
            agent.uploads.entry(attempt).or_default();
        }
    }

    /// An attempt's directory goes with its log: all of it must be with the coordinator, durably.
    pub(crate) fn check_log(&mut self, h: usize, attempt: AttemptId) {
        let Some(dir) = self.hosts[h].dirs.get(&attempt) else { return };
        if self.coordinator.logs.durable(attempt) != dir.log {
            let text = format!("{attempt} is removed, and not all of its log has arrived");
            self.ledger.find(Rule::Logs, text);
        }
        self.ledger.logs.insert(attempt, dir.log.clone());
    }

    /// Logs that were whole once are so at the end.
    pub(crate) fn check_logs(&mut self) {
        let logs = &self.coordinator.logs;
        let broken =
            self.ledger.logs.iter().find(|(attempt, log)| logs.durable(**attempt) != **log);
        if let Some((attempt, _)) = broken {
            let text = format!("the log of {attempt} was whole, and is so no more");
            self.ledger.find(Rule::Logs, text);
        }
    }
}
