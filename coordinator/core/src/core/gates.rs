//! Gates: jobs that wait for people, on no agent and under no lock of their own.
//!
//! Invariant: a gate never has an attempt, and lets nothing through before as many different people as
//! its plan says have allowed it. Its time counts by the wall clock, so that a restart does not begin
//! it anew.

use pipelines::id::JobId;

use crate::actor::Actor;
use crate::change::Change;
use crate::event::{Answer, Refusal, Wall};
use crate::gate::{Open, Standing};
use crate::job::{self, Approval, Job};

use super::Core;

impl Core {
    /// When a gate expires at the earliest, by the wall clock.
    pub fn next_expiry(&self) -> Option<Wall> {
        self.state.expiries.first().map(|(at, _)| *at)
    }

    pub(super) fn approve(
        &mut self,
        actor: &Actor,
        id: JobId,
        comment: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let standing = self.standing(id)?;
        let Open { gate, since, approvals } = standing.may_approve(actor)?;
        let (count, mut approvals) = (gate.count() as usize, approvals.to_vec());
        let (job, told) = (standing.job.clone(), told(&standing, actor, "approved", comment));
        self.audit(actor, told);
        let (by, at, comment) = (actor.clone(), self.now, comment.map(str::to_owned));
        approvals.push(Approval { by, at, comment });
        if approvals.len() < count {
            let state = job::State::Open { since, approvals };
            self.put(Change::Job(Job { state, ..job }));
        } else {
            self.close_gate(job, job::State::Approved { at, approvals });
        }
        Ok(Answer::Done)
    }

    pub(super) fn reject(
        &mut self,
        actor: &Actor,
        id: JobId,
        reason: &str,
    ) -> Result<Answer, Refusal> {
        let standing = self.standing(id)?;
        standing.may_reject(actor)?;
        let (job, told) = (standing.job.clone(), told(&standing, actor, "rejected", Some(reason)));
        self.audit(actor, told);
        let (at, by, reason) = (self.now, actor.clone(), reason.to_owned());
        self.close_gate(job, job::State::Rejected { at, by, reason });
        Ok(Answer::Done)
    }

    pub(super) fn acknowledge(
        &mut self,
        actor: &Actor,
        id: JobId,
        said: &str,
    ) -> Result<Answer, Refusal> {
        let standing = self.standing(id)?;
        let text = standing.may_acknowledge(actor)?;
        if said != text {
            return Err(Refusal::Conflict(format!(
                "{}: '{said}' is not what is to be acknowledged: '{text}'",
                standing.title()
            )));
        }
        let (job, told) =
            (standing.job.clone(), told(&standing, actor, "acknowledged", Some(said)));
        self.audit(actor, told);
        self.close_gate(job, job::State::Acknowledged { at: self.now, by: actor.clone() });
        Ok(Answer::Done)
    }

    /// Ends what nobody answered in time.
    pub(super) fn expire_due(&mut self) {
        while let Some((at, id)) = self.state.expiries.first().copied()
            && at <= self.now
        {
            let Some(job) = self.state.job(id).cloned() else { return };
            self.close_gate(job, job::State::Expired { at: self.now });
        }
    }

    fn close_gate(&mut self, job: Job, state: job::State) {
        let id = job.id;
        self.put(Change::Job(Job { state, ..job }));
        self.job_ended(id);
    }

    /// A job of a run that is not over.
    fn standing(&self, id: JobId) -> Result<Standing<'_>, Refusal> {
        let active = self.state.runs.get(&id.run).ok_or_else(|| self.not_active(id.run))?;
        let index = id.index as usize;
        match (active.plan.jobs.get(index), active.jobs.get(index)) {
            (Some(spec), Some(job)) => Ok(Standing { run: &active.run, spec, job }),
            _ => Err(Refusal::NotFound(format!("there is no job {id}"))),
        }
    }
}

/// Who answered a gate, with what, and by which right, for the audit.
fn told(gate: &Standing<'_>, actor: &Actor, did: &str, words: Option<&str>) -> String {
    let words = words.map(|words| format!(": {words}")).unwrap_or_default();
    let (title, pipeline, right) = (gate.title(), &gate.run.pipeline, actor.right());
    format!("{did} {title} of {pipeline}, as {right}{words}")
}
