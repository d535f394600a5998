//! Which agent gets which queued job.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use pipelines::id::JobId;
use pipelines::input;
use pipelines::name::PartitionName;
use pipelines::order::Order;

use crate::agent::{Agent, AgentKey, SessionId};
use crate::attempt::{self, Attempt};
use crate::change::Change;
use crate::event::{Step, ToAgent, Wall};
use crate::job::{self, Job};
use crate::lock::LockKey;
use crate::queue::Class;
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
        self.check_later();
        std::mem::take(&mut self.step)
    }

    /// The oldest job of a partition whose locks are free, and that an agent with room may have.
    pub(super) fn next(&self, partition: &PartitionName) -> Option<(JobId, AgentKey)> {
        let classes = self.state.queued.get(partition)?.classes();
        let candidates = classes.filter_map(|(class, jobs)| {
            let job = self.first(partition, class, jobs)?;
            Some((job, self.agent_for(partition, class)?))
        });
        candidates.min_by_key(|(job, _)| *job)
    }

    /// The oldest job of a class that its locks' holders let work.
    fn first(
        &self,
        partition: &PartitionName,
        class: &Class,
        jobs: &BTreeSet<JobId>,
    ) -> Option<JobId> {
        let (mut from, mut to) = (*jobs.first()?, *jobs.last()?);
        for (name, device) in class.locks() {
            let key = LockKey { partition: partition.clone(), name };
            let Some(lock) = self.state.locks.get(&key) else { continue };
            if lock.device.as_ref() != device {
                return None;
            }
            let (first, last) = lock.jobs();
            (from, to) = (from.max(first), to.min(last));
        }
        (from <= to).then(|| jobs.range(from..=to).next().copied())?
    }

    /// The only agent that may have a class's jobs, if it has room, or the one with the most room of
    /// those that have the class's labels.
    fn agent_for(&self, partition: &PartitionName, class: &Class) -> Option<AgentKey> {
        if let Some(name) = &class.agent {
            let key = AgentKey { partition: partition.clone(), name: name.clone() };
            self.room(self.state.agents.get(&key)?, class)?;
            return Some(key);
        }
        let agents = self.state.agents_of(partition);
        let with_room =
            agents.filter_map(|agent| Some((self.room(agent, class)?, Reverse(&agent.key))));
        // Of equals the first by name.
        with_room.max().map(|(_, Reverse(key))| key.clone())
    }

    /// For how many jobs of a class an agent has room; none if it takes none.
    fn room(&self, agent: &Agent, class: &Class) -> Option<usize> {
        let about = agent.about.as_ref()?;
        let has = |(name, value)| about.labels.get(name) == Some(value);
        let takes_work = agent.session().is_some() && agent.cordoned_by.is_none();
        let room = (about.capacity as usize).saturating_sub(self.state.load_of(&agent.key));
        (takes_work && room > 0 && class.labels.iter().all(has)).then_some(room)
    }

    fn assign(&mut self, id: JobId, agent: AgentKey) {
        let record = &self.state.agents[&agent];
        let (Some(session), Some(about)) = (record.session(), &record.about) else { return };
        let Some(job) = self.state.job(id).cloned() else { return };
        let (number, tried) = (job.attempts + 1, job.tried + 1);
        let attempt = Attempt {
            id: id.attempt(number),
            agent,
            instance: about.instance,
            assigned: self.now,
            cancelled_by: None,
            state: attempt::State::Assigned,
        };
        self.put(Change::Job(Job { attempts: number, tried, state: job::State::Active, ..job }));
        self.acquire(id);
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
    let mut job = state.spec(attempt.id.job)?.clone();
    job.env.extend(input::variables(&active.plan.inputs));
    for need in &job.needs {
        let (needed, outputs) =
            (&active.plan.jobs[*need as usize], &active.jobs[*need as usize].outputs);
        for (output, value) in outputs {
            job.env.insert(job.variable_of(needed, output), value.clone());
        }
    }
    let artifacts = job
        .needs
        .iter()
        .filter(|need| !job.without_artifacts.contains(need))
        .flat_map(|need| &active.jobs[*need as usize].artifacts)
        .map(|artifact| artifact.sha256.clone())
        .collect();
    let inventory = active.plan.inventory(&job).cloned();
    Some(Order {
        version: Order::version_of(&job),
        attempt: attempt.id,
        partition: job.partition.clone(),
        pipeline: active.run.pipeline.clone(),
        repository: active.run.repository.clone(),
        commit: active.run.commit.clone(),
        reference: active.run.reference.clone(),
        job,
        source: active.run.source.clone(),
        artifacts,
        inventory,
    })
}
