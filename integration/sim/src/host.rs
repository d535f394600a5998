//! A host in a partition: its disk with the attempts' directories, its processes, its clock.
//!
//! What rests on the disk has two forms, as on the coordinator's: what a process reads, and what is
//! kept when power fails.

use std::collections::BTreeMap;

use agent_core::lease::BootTime;
use coordinator_core::agent::AgentKey;
use pipelines::id::AttemptId;
use pipelines::order::Order;
use pipelines::outcome::{LogEnd, Verdict};
use pipelines::plan::Task;
use rand::Rng;
use uuid::Uuid;

use crate::agent::Agent;
use crate::keeper::{Keeper, Way};
use crate::logs::log_end;
use crate::runner::Runner;

/// A management server.
#[derive(Debug)]
pub struct Host {
    /// Whose certificate it has.
    pub key: AgentKey,
    /// For people; a clone has another than its original.
    pub name: String,
    /// Of the key in its certificate.
    pub fingerprint: String,
    /// Made with the state directory.
    pub instance: Uuid,
    /// Whether it has a certificate.
    pub joined: bool,
    /// Which boot this is.
    pub boot: u32,
    /// Switched on.
    pub powered: bool,
    /// Standing still; what runs there does not even notice.
    pub frozen: bool,
    /// No message passes.
    pub cut: bool,
    /// No space is left on its disk.
    pub full: bool,
    /// How far its wall clock is off, in µs.
    pub clock: i64,
    /// A copy of another host.
    pub is_clone: bool,
    /// The attempts' directories.
    pub dirs: BTreeMap<AttemptId, Dir>,
    /// The agent's process.
    pub agent: Option<Agent>,
    /// Runners' processes, by pid.
    pub runners: BTreeMap<u64, Runner>,
    /// Attempts whose program runs. It outlives a killed runner.
    pub programs: BTreeMap<AttemptId, Program>,
}

/// A program that runs.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// When its lease ends by the host's clock, as its runner knows or knew it; none without one.
    pub lease_end: Option<BootTime>,
    /// It runs on a device, and does not end with its host.
    pub on_device: bool,
}

/// What an attempt's order says of its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Its lease, in seconds.
    pub lease_s: Option<u32>,
    /// From when the lease counts as of the order's arrival, and in which boot.
    pub base: Option<(u32, BootTime)>,
    /// Its program runs on a device.
    pub on_device: bool,
}

impl Terms {
    /// What the order's bytes say.
    pub fn read(order: &[u8], boot: u32, base: Option<BootTime>) -> Terms {
        // The simulation's coordinator sends nothing else.
        let order = Order::from_bytes(order).expect("an order is an order");
        Terms {
            lease_s: order.job.on_lost.lease_s(),
            base: base.map(|base| (boot, base)),
            on_device: matches!(order.job.task, Task::Ssh(_)),
        }
    }
}

/// One thing in an attempt's `state` file; `accepted` is written before the directory is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The program may run from here on.
    Started {
        /// Wall clock, µs.
        at_us: u64,
    },
    /// How it ended.
    Finished(Verdict),
}

/// One attempt's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dir {
    /// The order has its name, so this is an attempt's directory.
    pub visible: bool,
    /// That would be so after power loss.
    pub durable: bool,
    /// From the order.
    pub terms: Terms,
    /// What its program wrote.
    pub log: Vec<u8>,
    log_synced: usize,
    records: Vec<Record>,
    synced: usize,
}

/// Who has an attempt in hand, as its directory tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Provably nothing was started, and no runner lives.
    Unstarted,
    /// A runner lives.
    Held,
    /// Started, and its runner is dead.
    Dead,
    /// Ended.
    Finished(Verdict),
}

impl Host {
    /// A new host, switched off, without a certificate.
    pub fn new(key: AgentKey) -> Host {
        Host {
            name: key.to_string(),
            fingerprint: String::new(),
            instance: Uuid::nil(),
            joined: false,
            boot: 0,
            powered: false,
            frozen: false,
            cut: false,
            full: false,
            clock: 0,
            is_clone: false,
            dirs: BTreeMap::new(),
            agent: None,
            runners: BTreeMap::new(),
            programs: BTreeMap::new(),
            key,
        }
    }

    /// Whether its processes can take a step.
    pub fn is_awake(&self) -> bool {
        self.powered && !self.frozen
    }

    /// A directory that is an attempt's.
    pub fn dir(&mut self, attempt: AttemptId) -> Option<&mut Dir> {
        self.dirs.get_mut(&attempt).filter(|dir| dir.visible)
    }

    /// Who has an attempt in hand; none if it is not here.
    pub fn condition(&self, attempt: AttemptId) -> Option<Condition> {
        let dir = self.dirs.get(&attempt).filter(|dir| dir.visible)?;
        Some(match (self.is_locked(attempt), dir.verdict(), dir.started()) {
            (true, _, _) => Condition::Held,
            (false, Some(verdict), _) => Condition::Finished(verdict.clone()),
            (false, None, Some(_)) => Condition::Dead,
            (false, None, None) => Condition::Unstarted,
        })
    }

    /// A keeper for an attempt that begins this way.
    pub(crate) fn keeper(&self, attempt: AttemptId, way: Way) -> Keeper {
        let terms = self.dirs.get(&attempt).map(|dir| dir.terms).unwrap_or_default();
        Keeper::new(way, terms, self.boot)
    }

    /// Whether an attempt is here, or its order is being stored.
    pub fn holds(&self, attempt: AttemptId) -> bool {
        self.dirs.get(&attempt).is_some_and(|dir| dir.visible)
            || self.agent.as_ref().is_some_and(|agent| agent.is_storing(attempt))
    }

    /// Whether a runner holds the directory's lock.
    pub fn is_locked(&self, attempt: AttemptId) -> bool {
        self.runners.values().any(|runner| runner.attempt == attempt && runner.has_lock())
    }

    /// The power fails: processes are gone, and so is what the disk had not written. Says what goes
    /// on on devices.
    pub fn lose_power(&mut self, rng: &mut impl Rng) -> Vec<AttemptId> {
        (self.powered, self.frozen, self.agent) = (false, false, None);
        self.runners.clear();
        self.dirs.retain(|_, dir| dir.lose_power(rng));
        let programs = std::mem::take(&mut self.programs).into_iter();
        programs.filter(|(_, program)| program.on_device).map(|(attempt, _)| attempt).collect()
    }
}

impl Dir {
    /// One whose order has its name, and nothing is certain.
    pub fn named(terms: Terms) -> Dir {
        Dir { visible: true, terms, ..Dir::default() }
    }

    /// When its program was started, if it may have been.
    pub fn started(&self) -> Option<u64> {
        self.records.iter().find_map(|record| match record {
            Record::Started { at_us } => Some(*at_us),
            Record::Finished(_) => None,
        })
    }

    /// Its verdict; the first one stands.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.records.iter().find_map(|record| match record {
            Record::Finished(verdict) => Some(verdict),
            Record::Started { .. } => None,
        })
    }

    /// Whether its verdict would survive power loss.
    pub fn keeps_verdict(&self) -> bool {
        let is_verdict = |record: &Record| matches!(record, Record::Finished(_));
        self.durable && self.records[..self.synced].iter().any(is_verdict)
    }

    /// Writes a record; [`Dir::sync`] makes it durable.
    pub fn append(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Syncs the state file.
    pub fn sync(&mut self) {
        self.synced = self.records.len();
    }

    /// The log is closed: nothing more is written to it. Says what it is.
    pub fn close_log(&mut self) -> LogEnd {
        self.log_synced = self.log.len();
        log_end(&self.log)
    }

    /// Whether the directory is there after power loss, with any part of what was not synced.
    fn lose_power(&mut self, rng: &mut impl Rng) -> bool {
        if self.visible != self.durable {
            self.visible = rng.random_bool(0.5);
        }
        let kept = rng.random_range(self.synced..=self.records.len());
        self.records.truncate(kept);
        self.synced = kept;
        self.log.truncate(rng.random_range(self.log_synced..=self.log.len()));
        self.log_synced = self.log.len();
        self.durable = self.visible;
        self.visible
    }
}
