//! How much there is to do, for people who watch.

use std::collections::BTreeMap;

use pipelines::name::PartitionName;

use super::Core;
use crate::run::{self, Run};

/// Numbers of what is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Active runs.
    pub runs: usize,
    /// Those of them that wait for their group.
    pub runs_waiting: usize,
    /// Jobs that wait for other jobs.
    pub waiting: usize,
    /// Jobs that are with an agent.
    pub active: usize,
    /// Jobs that wait for an agent with room, in each partition that has any.
    pub queued: BTreeMap<PartitionName, usize>,
    /// Gates that wait for people, in each partition that has any.
    pub gates: BTreeMap<PartitionName, usize>,
    /// Agents that may connect, in each partition that has any.
    pub agents: BTreeMap<PartitionName, Agents>,
}

/// Numbers of agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agents {
    /// Those that are connected.
    pub connected: usize,
    /// Those that are not.
    pub away: usize,
}

impl Core {
    /// The numbers now; costs a look at each active run and each agent.
    pub fn counts(&self) -> Counts {
        let state = &self.state;
        let queued: BTreeMap<_, _> =
            state.queued.iter().map(|(partition, jobs)| (partition.clone(), jobs.len())).collect();
        let open: usize = state.runs.values().flat_map(|run| run.open.values()).sum();
        let active = state.attempts.len();
        let mut gates: BTreeMap<PartitionName, usize> = BTreeMap::new();
        for spec in state.expiries.iter().filter_map(|(_, id)| state.spec(*id)) {
            *gates.entry(spec.partition.clone()).or_default() += 1;
        }
        let elsewhere = active + queued.values().sum::<usize>() + state.expiries.len();
        let mut agents: BTreeMap<PartitionName, Agents> = BTreeMap::new();
        for agent in state.agents.values().filter(|agent| !agent.revoked) {
            let counts = agents.entry(agent.key.partition.clone()).or_default();
            match agent.session() {
                Some(_) => counts.connected += 1,
                None => counts.away += 1,
            }
        }
        Counts {
            runs: state.runs.len(),
            runs_waiting: state.runs.values().filter(|it| is_waiting(&it.run)).count(),
            waiting: open.saturating_sub(elsewhere),
            active,
            queued,
            gates,
            agents,
        }
    }
}

fn is_waiting(run: &Run) -> bool {
    matches!(run.state, run::State::Waiting { .. })
}
