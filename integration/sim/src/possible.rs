//! What is possible just then, and for whom.

use pipelines::id::AttemptId;

use crate::act::What;
use crate::host::Host;
use crate::network::Stream;
use crate::world::{AGENTS, World};

/// Most bytes that a program writes.
const OUTPUT: usize = 8;

/// To whom an act happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The coordinator.
    Coordinator,
    Stream(u64),
    Host(usize),
    Attempt(usize, AttemptId),
    Runner(usize, u64),
    /// One of a row.
    Nth(usize),
    Task(usize, usize),
}

impl World {
    fn hosts_where(&self, fits: impl Fn(&Host) -> bool) -> Vec<Target> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(|(_, host)| fits(host)).map(|(h, _)| Target::Host(h)).collect()
    }

    fn streams_where(&self, fits: impl Fn(&Stream, &Host) -> bool) -> Vec<Target> {
        let fits = |stream: &Stream| fits(stream, &self.hosts[stream.host]);
        let streams = self.streams.iter().filter(|(_, stream)| fits(stream));
        streams.map(|(id, _)| Target::Stream(*id)).collect()
    }

    /// On every host that is awake.
    fn awake<T>(&self, list: impl Fn(usize, &Host) -> Vec<T>) -> Vec<T> {
        let hosts = self.hosts.iter().enumerate().filter(|(_, host)| host.is_awake());
        hosts.flat_map(|(h, host)| list(h, host)).collect()
    }

    fn coordinator_if(&self, fits: bool) -> Vec<Target> {
        if fits { vec![Target::Coordinator] } else { vec![] }
    }

    /// To whom an act can happen just now.
    pub(crate) fn targets(&self, what: What) -> Vec<Target> {
        let running = self.coordinator.running.as_ref();
        let up = running.is_some();
        let troubles = || self.coordinator.disk.troubles();
        let has_agent = |host: &Host| host.is_awake() && host.agent.is_some();
        match what {
            What::ArriveUp => {
                self.streams_where(|it, host| it.coordinator && !it.up.is_empty() && !host.cut)
            }
            What::ArriveDown => self.streams_where(|it, host| {
                it.agent && !it.down.is_empty() && !host.cut && has_agent(host)
            }),
            What::CoordinatorHangsUp => self.streams_where(|it, _| it.has_ended_above()),
            What::AgentHangsUp => {
                self.streams_where(|it, host| it.has_ended_below() && has_agent(host))
            }
            What::Beat => {
                let hosts = (0..self.hosts.len()).filter(|h| self.hosts[*h].is_awake());
                hosts.filter(|h| self.can_beat(*h)).map(Target::Host).collect()
            }
            What::Moment | What::Wait => self.coordinator_if(true),
            What::EndOnDevice => (0..self.devices.len()).map(Target::Nth).collect(),
            What::Cordon | What::DeclareLost if !up => vec![],
            What::Cordon => (0..self.known_agents().len()).map(Target::Nth).collect(),
            What::DeclareLost => (0..self.away_agents().len()).map(Target::Nth).collect(),
            What::BreakLock => (0..self.held_locks().len()).map(Target::Nth).collect(),
            What::Dial => self.hosts_where(|host| {
                let unlinked = host.agent.as_ref().is_some_and(|agent| agent.stream.is_none());
                up && host.is_awake() && !host.cut && unlinked
            }),
            What::Batch => {
                self.coordinator_if(running.is_some_and(|it| it.is_busy(self.clock(), self.wall())))
            }
            What::Resolve => {
                (0..running.map_or(0, |it| it.resolving.len())).map(Target::Nth).collect()
            }
            What::Checkpoint | What::CrashCoordinator | What::JumpCoordinator => {
                self.coordinator_if(up)
            }
            What::CrashInBatch => {
                self.coordinator_if(running.is_some_and(|it| !it.inbox.is_empty()))
            }
            What::Task => self.awake(|h, host| {
                let tasks = host.agent.as_ref().map_or(0, |agent| agent.tasks.len());
                (0..tasks).map(|nth| Target::Task(h, nth)).collect()
            }),
            What::Keep => self.awake(|h, host| {
                let keepers = host.agent.iter().flat_map(|agent| agent.keepers.keys());
                let keepers = keepers.filter(|attempt| self.can_keep(h, **attempt));
                keepers.map(|attempt| Target::Attempt(h, *attempt)).collect()
            }),
            What::Run => self.awake(|h, host| {
                let runners =
                    host.runners.iter().filter(|(_, runner)| runner.can_step(self.boot_time(h)));
                runners.map(|(pid, _)| Target::Runner(h, *pid)).collect()
            }),
            What::KillRunner => self
                .awake(|h, host| host.runners.keys().map(|pid| Target::Runner(h, *pid)).collect()),
            What::End => self.awake(|h, host| {
                host.programs.keys().map(|attempt| Target::Attempt(h, *attempt)).collect()
            }),
            What::Write => self.awake(|h, host| {
                let has_room = |attempt: &AttemptId| {
                    let dir = host.dirs.get(attempt);
                    host.is_locked(*attempt) && dir.is_some_and(|dir| dir.log.len() < OUTPUT)
                };
                let writing = host.programs.keys().filter(|attempt| has_room(attempt));
                writing.map(|attempt| Target::Attempt(h, *attempt)).collect()
            }),
            What::SendLog => self.awake(|h, _| {
                self.sendable(h).into_iter().map(|attempt| Target::Attempt(h, attempt)).collect()
            }),
            What::LogArrives => {
                self.streams_where(|it, host| it.coordinator && !it.logs_up.is_empty() && !host.cut)
            }
            What::LogAckArrives => self.streams_where(|it, host| {
                it.agent && !it.logs_down.is_empty() && !host.cut && has_agent(host)
            }),
            What::StartCoordinator => self.coordinator_if(!up && !troubles().full),
            What::Boot => self.hosts_where(|host| !host.powered),
            What::StartAgent => {
                self.hosts_where(|it| it.is_awake() && it.joined && it.agent.is_none())
            }
            What::Join => self.hosts_where(|it| up && it.is_awake() && !it.joined && !it.cut),
            What::Trigger => self.coordinator_if(self.has_deliveries()),
            What::TriggerAgain => self.coordinator_if(up && self.deliveries > 0),
            What::Cancel => (0..self.runs(true).len()).map(Target::Nth).collect(),
            What::Retry => (0..self.runs(false).len()).map(Target::Nth).collect(),
            What::Approve | What::Reject => (0..self.open_gates().len()).map(Target::Nth).collect(),
            What::Break => self.streams_where(|it, _| !it.broken),
            What::Cut => self.hosts_where(|host| !host.cut),
            What::Reconnect => self.hosts_where(|host| host.cut),
            What::FillDisk => self.coordinator_if(up && !troubles().full),
            What::FreeDisk => self.coordinator_if(troubles().full),
            What::FailSync => self.coordinator_if(up && !troubles().failing_sync),
            What::LoseView => self.coordinator_if(!up),
            What::KillAgent => self.hosts_where(|host| host.agent.is_some()),
            What::CutPower | What::JumpHost => self.hosts_where(|host| host.powered),
            What::Reinstall | What::LoseState => {
                self.hosts_where(|host| host.joined && !host.is_clone)
            }
            What::Clone => {
                let cloned = self.hosts.len() > AGENTS.len();
                self.hosts_where(|host| host.joined && !cloned)
            }
            What::Freeze => self.hosts_where(Host::is_awake),
            What::Thaw => self.hosts_where(|host| host.frozen),
            What::FillHost => self.hosts_where(|host| !host.full),
            What::FreeHost => self.hosts_where(|host| host.full),
        }
    }
}
