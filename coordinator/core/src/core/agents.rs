//! Agents' links, and what agents say of attempts.
//!
//! Level, not edge: a hello lists all that an agent holds, and comparing it with what is remembered
//! gives everything that must be said again. Nothing depends on a message having arrived before.

use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Progress, Verdict};

use crate::agent::{About, Agent, AgentKey, Link, SessionId};
use crate::attempt::{self, Attempt};
use crate::change::Change;
use crate::event::ToAgent;
use crate::job::{self, Job};

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
        let agent = match self.admit(key, fingerprint) {
            Ok(agent) => agent.clone(),
            Err(reason) => return self.close(session, reason),
        };
        self.put(Change::Agent(Agent {
            about: Some(about.clone()),
            link: Link::Up { session, since: self.now },
            ..agent
        }));
        self.send(session, ToAgent::Welcome);
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

    fn admit(&self, key: &AgentKey, fingerprint: &str) -> Result<&Agent, String> {
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
        if agent.session().is_some() {
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
            return self.abandon(attempt, Outcome::Lost { reason: reason.to_owned() });
        }
        match attempt.state {
            attempt::State::Assigned if attempt.cancelled_by.is_some() => {
                self.abandon(attempt, Outcome::Cancelled);
            }
            attempt::State::Assigned => self.send_order(session, &attempt),
            attempt::State::Accepted | attempt::State::Running { .. } => {
                let reason = "the agent had acknowledged it and no longer knows it";
                self.abandon(attempt, Outcome::Lost { reason: reason.to_owned() });
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
        let state = attempt::State::Finished { at: self.now, verdict: verdict.clone() };
        self.close_attempt(attempt, state);
    }

    fn abandon(&mut self, attempt: Attempt, outcome: Outcome) {
        let state = attempt::State::Abandoned { at: self.now, outcome };
        self.close_attempt(attempt, state);
    }

    fn close_attempt(&mut self, attempt: Attempt, state: attempt::State) {
        let attempt = Attempt { state, ..attempt };
        self.dirty.insert(attempt.agent.partition.clone());
        let job = self.state.job(attempt.id.job).cloned();
        let outcome = attempt.outcome().cloned();
        let artifacts = match &attempt.state {
            attempt::State::Finished { verdict, .. } => verdict.artifacts.clone(),
            _ => Vec::new(),
        };
        self.put(Change::Attempt(attempt));
        if let (Some(job), Some(outcome)) = (job, outcome) {
            let id = job.id;
            let state = job::State::Finished { outcome };
            self.put(Change::Job(Job { state, artifacts, ..job }));
            self.job_ended(id);
        }
    }

    pub(super) fn disconnected(&mut self, key: &AgentKey, session: SessionId) {
        let Some(agent) = self.state.agents.get(key).cloned() else { return };
        if agent.session() == Some(session) {
            self.put(Change::Agent(Agent { link: Link::Down { since: self.now }, ..agent }));
        }
    }
}
