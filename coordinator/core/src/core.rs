//! The state machine: events in, a step out. What each kind of event means stands in the modules
//! below, in the order of a job's life.

mod agents;
mod asks;
pub mod counts;
mod gates;
mod groups;
mod locks;
mod operators;
mod rollouts;
mod runs;
mod schedule;
mod schedules;
mod subscribers;
mod secrets;
mod time;
mod windows;

use std::collections::BTreeSet;

use pipelines::name::PartitionName;

use crate::agent::{Agent, Link, SessionId};
use crate::change::{Change, Snapshot};
use crate::deadline::{Deadlines, Steady};
use crate::event::{Answer, Effect, Event, Refusal, RequestId, Step, ToAgent, Wall};
use crate::state::State;

use windows::Openings;

/// The coordinator's decisions.
#[derive(Debug)]
pub struct Core {
    state: State,
    /// Partitions in which a job or room came up since the last [`Core::schedule`].
    dirty: BTreeSet<PartitionName>,
    /// What came of the event in hand.
    step: Step,
    now: Wall,
    /// The latest tick.
    steady: Steady,
    deadlines: Deadlines,
    openings: Openings,
}

impl Core {
    /// The core after a restart, and what must be done again. No agent is connected.
    pub fn load(snapshot: Snapshot, now: Wall) -> (Core, Step) {
        let state = State::load(snapshot);
        let mut core = Core {
            state,
            dirty: BTreeSet::new(),
            step: Step::default(),
            now,
            steady: Steady::default(),
            deadlines: Deadlines::default(),
            openings: Openings::default(),
        };
        let connected: Vec<Agent> =
            core.state.agents.values().filter(|agent| agent.session().is_some()).cloned().collect();
        for agent in connected {
            core.put(Change::Agent(Agent { link: Link::Down { since: now }, ..agent }));
        }
        core.wait_anew();
        let resolve = core.state.pending.values().cloned().map(Box::new).map(Effect::Resolve);
        core.step.effects.extend(resolve);
        let step = std::mem::take(&mut core.step);
        (core, step)
    }

    /// Takes one event. Call [`Core::schedule`] once all waiting events are taken.
    pub fn handle(&mut self, event: &Event, now: Wall) -> Step {
        self.now = now;
        match event {
            Event::Tick { at } => self.tick(*at),
            Event::Reloaded { .. } => {}
            Event::Asked { request, actor, ask } => self.asked(*request, actor, ask),
            Event::Resolved { trigger, resolution } => self.resolved(*trigger, resolution),
            Event::SchedulesFound { repository, reference, commit, pipelines } => {
                self.schedules_found(repository, reference, commit, pipelines);
                self.subscribers_found(repository, reference, commit, pipelines);
            }
            Event::AgentConnected { agent, fingerprint, session, about, attempts } => {
                self.connected(agent, fingerprint, *session, about, attempts);
            }
            Event::AttemptReported { agent, session, attempt, progress } => {
                self.reported(agent, *session, *attempt, progress);
            }
            Event::UpgradeReported { agent, session, report } => {
                self.upgrade_reported(agent, *session, report);
            }
            Event::AgentDisconnected { agent, session } => self.disconnected(agent, *session),
        }
        std::mem::take(&mut self.step)
    }

    /// When a tick is due at the latest, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Steady> {
        self.deadlines.next()
    }

    /// Whether these records give the very state that it decides by. Between batches they must:
    /// what is in none of them would be gone after a restart.
    pub fn agrees_with(&self, records: Snapshot) -> bool {
        self.state == State::load(records)
    }

    /// Changes the state, and remembers the change.
    fn put(&mut self, change: Change) {
        self.state.apply(&change);
        let ended = match &change {
            Change::Job(job) if job.state.is_final() => Some(job.id),
            _ => None,
        };
        self.step.changes.push(change);
        if let Some(job) = ended {
            self.release(job);
        }
    }

    fn answer(&mut self, request: RequestId, answer: Result<Answer, Refusal>) {
        self.step.effects.push(Effect::Answer { request, answer });
    }

    fn send(&mut self, session: SessionId, message: ToAgent) {
        self.step.effects.push(Effect::Send { session, message });
    }

    #[cfg(test)]
    fn state(&self) -> &State {
        &self.state
    }

    fn close(&mut self, session: SessionId, reason: impl Into<String>) {
        self.step.effects.push(Effect::Close { session, reason: reason.into() });
    }
}

#[cfg(test)]
mod tests;
