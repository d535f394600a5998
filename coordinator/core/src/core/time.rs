//! What happens because time passed: schedules are due, gates expire, windows open, pauses end, and agents that are away are waited for no more.

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::PartitionName;
use pipelines::outcome::Outcome;

use crate::agent::{Agent, AgentKey};
use crate::change::Change;
use crate::deadline::{Due, Steady};
use crate::event::Effect;
use crate::job::{self, Job};

use super::Core;

/// What an agent has more than its lease for ending an attempt, in seconds, beside a tenth of the
/// lease for clocks that differ.
const MARGIN_S: u64 = 60;

/// Between two checks of what waits, in seconds.
const CHECK_S: u64 = 60;

impl Core {
    pub(super) fn tick(&mut self, at: Steady) {
        self.steady = self.steady.max(at);
        self.start_due();
        self.expire_due();
        self.open_due();
        while let Some(due) = self.deadlines.pop(self.steady) {
            match due {
                Due::Again(job) => self.again(job),
                Due::Wave(run, rollout) => self.wave_due(run, rollout),
                Due::Lost(attempt) => self.lease_over(attempt),
                Due::Check => self.check(),
            }
        }
    }

    /// After a restart everything is waited for in full: nobody knows how long it was.
    pub(super) fn wait_anew(&mut self) {
        let paused: Vec<Job> = self
            .state
            .runs
            .values()
            .flat_map(|active| &active.jobs)
            .filter(|job| matches!(job.state, job::State::Paused { .. }))
            .cloned()
            .collect();
        for job in paused {
            self.pause(&job);
        }
        let runs: Vec<RunId> = self.state.runs.keys().copied().collect();
        for run in runs {
            self.pause_waves(run);
            self.look_at_windows(run);
        }
        self.check_later();
        let agents: Vec<AgentKey> = self.state.held.keys().cloned().collect();
        for agent in agents {
            self.wait_for(&agent);
        }
    }

    /// The time of a paused job's next attempt.
    pub(super) fn pause(&mut self, job: &Job) {
        if let job::State::Paused { delay_s } = job.state {
            self.deadlines.set(Due::Again(job.id), self.steady.plus_s(delay_s.into()));
        }
    }

    fn again(&mut self, id: JobId) {
        let Some(job) = self.state.job(id).cloned() else { return };
        if matches!(job.state, job::State::Paused { .. }) {
            self.queue(job);
        }
    }

    /// An agent went away: from now on its leases are counted.
    pub(super) fn wait_for(&mut self, agent: &AgentKey) {
        for attempt in self.state.held.get(agent).into_iter().flatten() {
            let lease = self.state.spec(attempt.job).and_then(|job| job.on_lost.lease_s());
            if let Some(lease) = lease.map(u64::from) {
                let at = self.steady.plus_s(lease + lease.div_ceil(10) + MARGIN_S);
                self.deadlines.set(Due::Lost(*attempt), at);
            }
        }
    }

    fn lease_over(&mut self, id: AttemptId) {
        let Some(attempt) = self.state.attempts.get(&id).cloned() else { return };
        let agent = self.state.agents.get(&attempt.agent);
        // It is back, and its own word counts.
        if agent.and_then(Agent::session).is_some() {
            return;
        }
        let reason = format!(
            "agent {} was away for so long that it has ended the attempt by itself",
            attempt.agent
        );
        self.abandon(attempt, Outcome::Lost { reason, may_run: false });
    }

    /// Sets the next check, if anything waits.
    pub(super) fn check_later(&mut self) {
        if !self.state.queued.is_empty() {
            self.deadlines.set_if_none(Due::Check, self.steady.plus_s(CHECK_S));
        }
    }

    /// No job waits although it could start. If one does, that is a fault of this core: it is said,
    /// and mended.
    fn check(&mut self) {
        let waiting = self.state.queued.keys().filter(|it| !self.dirty.contains(*it));
        let missed: Vec<PartitionName> =
            waiting.filter(|it| self.next(it).is_some()).cloned().collect();
        for partition in missed {
            let text = format!("jobs of {partition} waited although an agent had room");
            self.step.effects.push(Effect::Complain(text));
            self.dirty.insert(partition);
        }
        self.check_later();
    }

    /// Queues a job for its next attempt.
    pub(super) fn queue(&mut self, job: Job) {
        if let Some(spec) = self.state.spec(job.id) {
            self.dirty.insert(spec.partition.clone());
        }
        self.put(Change::Job(Job { state: job::State::Queued, ..job }));
    }
}
