//! Agents' links, and what agents say of attempts.
//!
//! Level, not edge: a hello lists all that an agent holds, and comparing it with what is remembered
//! gives everything that must be said again. Nothing depends on a message having arrived before.

use std::cmp::Ordering;

use pipelines::id::AttemptId;
use pipelines::limits;
use pipelines::outcome::{Outcome, Progress, Verdict};
use pipelines::output::{self, Outputs};
use pipelines::plan::{OnLost, RetryOn};

use crate::agent::{About, Agent, AgentKey, Link, SessionId};
use crate::attempt::{self, Attempt};
use crate::change::Change;
use crate::deadline::Due;
use crate::event::ToAgent;
use crate::job::{self, Job};
use crate::upgrade;

use super::Core;

impl Core {
    pub(super) fn connected(
        &mut self,
        key: &AgentKey,
        fingerprint: &str,
        session: SessionId,
        about: &About,
        attempts: &[(AttemptId, Progress)],
    ) {
        let agent = match self.admit(key, fingerprint, about) {
            Ok(agent) => agent.clone(),
            Err(reason) => return self.close(session, reason),
        };
        // Its packets vanished, and the agent noticed first.
        if let Some(before) = agent.session() {
            self.close(before, format!("agent {key} has a newer link"));
        }
        self.put(Change::Agent(Agent {
            about: Some(about.clone()),
            link: Link::Up { session, since: self.now },
            ..agent
        }));
        self.send(session, ToAgent::Welcome);
        if let Some(report) = &about.upgrade {
            self.upgrade_reported(key, session, report);
        }
        self.send_upgrade(key);
        for (attempt, progress) in attempts {
            self.reported(key, session, *attempt, progress);
        }
        let absent: Vec<Attempt> = self
            .state
            .held
            .get(key)
            .into_iter()
            .flatten()
            .filter(|held| !attempts.iter().any(|(reported, _)| reported == *held))
            .map(|held| self.state.attempts[held].clone())
            .collect();
        for attempt in absent {
            self.absent(session, about, attempt);
        }
        self.dirty.insert(key.partition.clone());
    }

    fn admit(&self, key: &AgentKey, fingerprint: &str, about: &About) -> Result<&Agent, String> {
        let agent = self.state.agents.get(key);
        let agent = agent.ok_or_else(|| format!("agent {key} is not enrolled here"))?;
        if agent.revoked {
            return Err(format!("agent {key} was revoked"));
        }
        if agent.fingerprint != fingerprint {
            return Err(format!(
                "agent {key} was enrolled again with another key since this certificate was given"
            ));
        }
        let compared = agent.about.as_ref().and_then(|before| about.compared_to(before));
        // What it lists was so before the later one: what came since would seem lost.
        if compared == Some(Ordering::Less) {
            return Err(format!("agent {key} has said hello again since it said this one"));
        }
        if agent.session().is_some() && compared != Some(Ordering::Greater) {
            return Err(format!(
                "agent {key} is connected already: two hosts must not share one certificate"
            ));
        }
        Ok(agent)
    }

    /// An attempt of this agent that its hello does not list.
    fn absent(&mut self, session: SessionId, about: &About, attempt: Attempt) {
        if attempt.instance != about.instance {
            let reason = "the agent was installed anew, or its host restored from a copy";
            return self.abandon(attempt, lost(reason));
        }
        match attempt.state {
            // It may have the order all the same and be storing it just now. So a cancelled one goes
            // out again too, and its end is the agent's own word.
            attempt::State::Assigned => {
                self.send_order(session, &attempt);
                if attempt.cancelled_by.is_some() {
                    self.send(session, ToAgent::Cancel(attempt.id));
                }
            }
            attempt::State::Accepted | attempt::State::Running { .. } => {
                let reason = "the agent had acknowledged it and no longer knows it";
                self.abandon(attempt, lost(reason));
            }
            attempt::State::Finished { .. } | attempt::State::Abandoned { .. } => {}
        }
    }

    pub(super) fn reported(
        &mut self,
        agent: &AgentKey,
        session: SessionId,
        id: AttemptId,
        progress: &Progress,
    ) {
        let current = self.state.agents.get(agent).and_then(Agent::session);
        if current != Some(session) {
            return;
        }
        let known = self.state.attempts.get(&id).filter(|attempt| attempt.agent == *agent);
        let Some(attempt) = known.cloned() else {
            let message = match progress {
                // It ended and its run with it; only the acknowledgement was lost.
                Progress::Finished(_) if id.job.run.0 <= self.state.last_run => {
                    ToAgent::Acknowledge(id)
                }
                Progress::Finished(_) | Progress::Accepted | Progress::Running { .. } => {
                    ToAgent::Forget(id)
                }
            };
            return self.send(session, message);
        };
        match progress {
            Progress::Accepted => self.progressed(session, attempt, attempt::State::Accepted),
            Progress::Running { started_us } => {
                let state = attempt::State::Running { started_us: *started_us };
                self.progressed(session, attempt, state);
            }
            Progress::Finished(verdict) => {
                self.finished(attempt, verdict);
                self.send(session, ToAgent::Acknowledge(id));
            }
        }
    }

    fn progressed(&mut self, session: SessionId, attempt: Attempt, state: attempt::State) {
        let id = attempt.id;
        let cancelled = attempt.cancelled_by.is_some();
        // Reports of one session are in order; only a hello repeats what is known.
        if attempt.state != state {
            self.put(Change::Attempt(Attempt { state, ..attempt }));
        }
        if cancelled {
            self.send(session, ToAgent::Cancel(id));
        }
    }

    fn finished(&mut self, attempt: Attempt, verdict: &Verdict) {
        let spec = self.state.spec(attempt.id.job);
        let declared = spec.map_or(&[][..], |spec| &spec.outputs);
        let outputs = output::declared(&verdict.outputs, declared);
        let has_ansible = spec.is_some_and(|spec| spec.ansible.is_some());
        let recap = verdict.recap.clone().filter(|_| has_ansible);
        let recap = recap.map(|recap| Box::new(recap.bounded()));
        let verdict = Verdict { outputs, recap, ..verdict.clone() };
        let state = attempt::State::Finished { at: self.now, verdict };
        self.close_attempt(attempt, state);
    }

    pub(super) fn abandon(&mut self, attempt: Attempt, outcome: Outcome) {
        let state = attempt::State::Abandoned { at: self.now, outcome };
        self.close_attempt(attempt, state);
    }

    fn close_attempt(&mut self, attempt: Attempt, state: attempt::State) {
        let attempt = Attempt { state, ..attempt };
        self.deadlines.clear(Due::Lost(attempt.id));
        self.dirty.insert(attempt.agent.partition.clone());
        let id = attempt.id;
        let outcome = attempt.outcome().cloned();
        let (artifacts, outputs) = match &attempt.state {
            attempt::State::Finished { verdict, .. } => {
                (verdict.artifacts.clone(), verdict.outputs.clone())
            }
            _ => (Vec::new(), Outputs::new()),
        };
        self.put(Change::Attempt(attempt));
        let (Some(job), Some(outcome)) = (self.state.job(id.job).cloned(), outcome) else { return };
        if outcome.may_run() {
            self.doubt(id);
        }
        match self.tries_again(&job, &outcome) {
            Some(delay_s) if delay_s > 0 => {
                let job = Job { state: job::State::Paused { delay_s }, ..job };
                self.pause(&job);
                self.put(Change::Job(job));
            }
            Some(_) => self.queue(job),
            None => {
                let state = job::State::Finished { outcome };
                self.put(Change::Job(Job { state, artifacts, outputs, ..job }));
                self.job_ended(id.job);
            }
        }
    }

    /// The pause before a job's next attempt, in seconds; none if the outcome is the job's own.
    fn tries_again(&self, job: &Job, outcome: &Outcome) -> Option<u32> {
        let active = self.state.runs.get(&job.id.run)?;
        if active.run.cancelled_by.is_some() {
            return None;
        }
        let spec = &active.plan.jobs[job.id.index as usize];
        let on = match outcome {
            Outcome::Failed { .. } => RetryOn::Failed,
            Outcome::TimedOut => RetryOn::TimedOut,
            Outcome::InfraError { .. } => RetryOn::InfraError,
            Outcome::Lost { may_run: false, .. }
                if matches!(spec.on_lost, OnLost::Retry { .. }) =>
            {
                let most = spec.retry.as_ref().map_or(limits::RETRIES, |retry| retry.max);
                return (job.tried <= most).then_some(0);
            }
            _ => return None,
        };
        let retry = spec.retry.as_ref().filter(|it| it.on.contains(&on) && job.tried <= it.max)?;
        Some(retry.delay_s)
    }

    pub(super) fn upgrade_reported(
        &mut self,
        key: &AgentKey,
        session: SessionId,
        report: &upgrade::Report,
    ) {
        let Some(agent) = self.state.agents.get(key) else { return };
        if agent.session() != Some(session) {
            return;
        }
        let upgrade = agent.upgrade.as_ref().and_then(|it| it.reported(report, self.now));
        if upgrade.is_some() {
            self.put(Change::Agent(Agent { upgrade, ..agent.clone() }));
        }
    }

    /// Tells a connected agent which program it is to run, if the end of that is not known.
    pub(super) fn send_upgrade(&mut self, key: &AgentKey) {
        let Some(agent) = self.state.agents.get(key) else { return };
        if let (Some(session), Some(upgrade)) = (agent.session(), &agent.upgrade)
            && upgrade.state == upgrade::State::Asked
        {
            let (number, program) = (upgrade.number, upgrade.program.clone());
            self.send(session, ToAgent::Upgrade { number, program });
        }
    }

    pub(super) fn disconnected(&mut self, key: &AgentKey, session: SessionId) {
        let Some(agent) = self.state.agents.get(key).cloned() else { return };
        if agent.session() == Some(session) {
            self.put(Change::Agent(Agent { link: Link::Down { since: self.now }, ..agent }));
            self.wait_for(key);
        }
    }
}

/// What may still run.
fn lost(reason: &str) -> Outcome {
    Outcome::Lost { reason: reason.to_owned(), may_run: true }
}
