//! Mutants: ways to break the guarantees on purpose, to see that the rules notice.
//!
//! They live in the simulated edges alone; the product has no switch for any of them.

use std::fmt;
use std::str::FromStr;

use coordinator_core::event::Event;

use crate::coordinator::Input;
use crate::world::World;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The agent starts an attempt before its order rests on the disk.
    StartBeforeStoring,
    /// A report of an older attempt counts as one of the job's latest.
    DropFence,
    /// An agent that is away for a while is taken to hold nothing, so its jobs can be tried again.
    ReassignOnTimeout,
    /// All agents say the same instance, so an agent that was installed anew is taken for the old.
    ForgetInstance,
    /// The driver acts on a batch, then commits it.
    ActBeforeCommit,
    /// A session acknowledges a verdict when it comes, not when it is durable.
    AcknowledgeEarly,
    /// Logs are called whole before they are synced.
    AcknowledgeUnsyncedLogs,
    /// The journal's writes are not synced.
    ForgetSync,
    /// Locks do not survive a restart of the coordinator.
    ForgetLocks,
    /// Which group a run belongs to does not survive a restart of the coordinator.
    ForgetGroups,
    /// People are not told apart: each who asks counts as somebody else.
    MixUpPeople,
    /// What a dead runner left on a device is taken to be over.
    TrustTheDead,
    /// Runners leave it to their agent to end what has no lease any more.
    LeaveLeaseToAgent,
    /// The core is told the time by a clock that jumps.
    TickByWallClock,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 14] = [
        Mutant::StartBeforeStoring,
        Mutant::DropFence,
        Mutant::ReassignOnTimeout,
        Mutant::ForgetInstance,
        Mutant::ActBeforeCommit,
        Mutant::AcknowledgeEarly,
        Mutant::AcknowledgeUnsyncedLogs,
        Mutant::ForgetSync,
        Mutant::ForgetLocks,
        Mutant::ForgetGroups,
        Mutant::MixUpPeople,
        Mutant::TrustTheDead,
        Mutant::LeaveLeaseToAgent,
        Mutant::TickByWallClock,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::StartBeforeStoring => "start-before-storing",
            Mutant::DropFence => "drop-fence",
            Mutant::ReassignOnTimeout => "reassign-on-timeout",
            Mutant::ForgetInstance => "forget-instance",
            Mutant::ActBeforeCommit => "act-before-commit",
            Mutant::AcknowledgeEarly => "acknowledge-early",
            Mutant::AcknowledgeUnsyncedLogs => "acknowledge-unsynced-logs",
            Mutant::ForgetSync => "forget-sync",
            Mutant::ForgetLocks => "forget-locks",
            Mutant::ForgetGroups => "forget-groups",
            Mutant::MixUpPeople => "mix-up-people",
            Mutant::TrustTheDead => "trust-the-dead",
            Mutant::LeaveLeaseToAgent => "leave-lease-to-agent",
            Mutant::TickByWallClock => "tick-by-wall-clock",
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mutant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Mutant::ALL.map(Mutant::name).join(", ");
        let found = Mutant::ALL.into_iter().find(|mutant| mutant.name() == text);
        found.ok_or_else(|| format!("there is no such mutant; there are {}", names()))
    }
}

impl World {
    /// [`Mutant::ReassignOnTimeout`]: forged hellos that hold nothing.
    pub(crate) fn time_out_agents(&mut self) {
        const PATIENCE: u64 = 30_000;
        let now = self.now;
        let away = self.hosts.iter().filter(|host| !host.is_clone && now > PATIENCE);
        let away: Vec<_> = away.map(|host| (host.key.clone(), host.fingerprint.clone())).collect();
        let Some(running) = &mut self.coordinator.running else { return };
        for (agent, fingerprint) in away {
            let record = running.view.agents.get(&agent).filter(|it| it.session().is_none());
            let Some(about) = record.and_then(|record| record.about.clone()) else { continue };
            let session = running.next_session();
            let (attempts, key) = (vec![], agent.clone());
            let hello = Event::AgentConnected { agent, fingerprint, session, about, attempts };
            running.inbox.push_back(Input::Event(hello));
            let gone = Event::AgentDisconnected { agent: key, session };
            running.inbox.push_back(Input::Event(gone));
        }
    }
}
