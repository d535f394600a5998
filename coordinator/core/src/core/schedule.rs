//! Which agent gets which queued job.

use pipelines::id::JobId;
use pipelines::name::PartitionName;
use pipelines::order::{self, Order};

use crate::agent::{AgentKey, SessionId};
use crate::attempt::{self, Attempt};
use crate::change::Change;
use crate::event::{Step, ToAgent, Wall};
use crate::job::{self, Job};
use crate::state::State;

use super::Core;

impl Core {
    /// Gives queued jobs to agents with room. Costs what changed since the last call, not what
    /// waits.
    pub fn schedule(&mut self, now: Wall) -> Step {
        self.now = now;
        for partition in std::mem::take(&mut self.dirty) {
            while let Some((job, agent)) = self.next(&partition) {
                self.assign(job, agent);
            }
        }
        std::mem::take(&mut self.step)
    }

    /// The oldest queued job of a partition, and the agent with the most room.
    fn next(&self, partition: &PartitionName) -> Option<(JobId, AgentKey)> {
        let job = *self.state.queued.get(partition)?.first()?;
        let agents = self.state.agents_of(partition).filter(|agent| agent.session().is_some());
        let room = |agent: &AgentKey, capacity: u32| {
            (capacity as usize).saturating_sub(self.state.load_of(agent))
        };
        let (most, agent) = agents
            .filter_map(|agent| Some((room(&agent.key, agent.about.as_ref()?.capacity), agent)))
            // `rev` makes the first of equals win: `max_by_key` takes the last.
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .max_by_key(|(room, _)| *room)?;
        (most > 0).then(|| (job, agent.key.clone()))
    }

    fn assign(&mut self, id: JobId, agent: AgentKey) {
        let record = &self.state.agents[&agent];
        let (Some(session), Some(about)) = (record.session(), &record.about) else { return };
        let Some(job) = self.state.job(id).cloned() else { return };
        let number = job.attempts + 1;
        let attempt = Attempt {
            id: id.attempt(number),
            agent,
            instance: about.instance,
            assigned: self.now,
            cancelled_by: None,
            state: attempt::State::Assigned,
        };
        self.put(Change::Job(Job { attempts: number, state: job::State::Active, ..job }));
        self.put(Change::Attempt(attempt.clone()));
        self.send_order(session, &attempt);
    }

    /// Sends the order of an open attempt, the same each time.
    pub(super) fn send_order(&mut self, session: SessionId, attempt: &Attempt) {
        if let Some(order) = order(&self.state, attempt) {
            self.send(session, ToAgent::Order(Box::new(order)));
        }
    }
}

fn order(state: &State, attempt: &Attempt) -> Option<Order> {
    let active = state.runs.get(&attempt.id.job.run)?;
    let job = state.spec(attempt.id.job)?.clone();
    let artifacts = job
        .needs
        .iter()
        .flat_map(|need| &active.jobs[*need as usize].artifacts)
        .map(|artifact| artifact.sha256.clone())
        .collect();
    Some(Order {
        version: order::VERSION,
        attempt: attempt.id,
        partition: job.partition.clone(),
        pipeline: active.run.pipeline.clone(),
        repository: active.run.repository.clone(),
        commit: active.run.commit.clone(),
        reference: active.run.reference.clone(),
        job,
        source: active.run.source.clone(),
        artifacts,
    })
}
