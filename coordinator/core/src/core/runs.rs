//! Runs and their graphs of jobs: created, carried forward as jobs end, cancelled, tried again.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::output::Outputs;
use pipelines::plan::{Plan, Task, When};

use crate::actor::{Actor, Role};
use crate::attempt::Attempt;
use crate::change::{Change, Stored};
use crate::deadline::Due;
use crate::event::{Answer, Refusal, Resolution, ToAgent};
use crate::group::GroupKey;
use crate::job::{self, Job};
use crate::run::{self, Run};
use crate::trigger::{self, Trigger, TriggerId};

use super::Core;
use super::asks::needs;

impl Core {
    pub(super) fn resolved(
        &mut self,
        trigger: TriggerId,
        resolution: &Result<Vec<Resolution>, String>,
    ) {
        let Some(trigger) = self.state.pending.get(&trigger).cloned() else { return };
        let state = match resolution {
            Ok(resolutions) => match may_deploy(&trigger.actor, resolutions) {
                Ok(()) => {
                    let runs = resolutions.iter().map(|one| self.create_run(&trigger, one));
                    trigger::State::Resolved { runs: runs.collect() }
                }
                Err(refusal) => trigger::State::Failed { reason: refusal.to_string() },
            },
            Err(reason) => trigger::State::Failed { reason: reason.clone() },
        };
        self.put(Change::Trigger(Trigger { state, ..trigger }));
    }

    fn create_run(&mut self, trigger: &Trigger, resolution: &Resolution) -> RunId {
        let id = RunId(self.state.last_run + 1);
        let concurrency = resolution.plan.as_ref().ok().and_then(|plan| plan.concurrency.as_ref());
        let group = concurrency
            .map(|it| GroupKey { repository: trigger.repository.clone(), name: it.group.clone() });
        let is_only_planned = trigger.cause.is_only_planned();
        let state = match &resolution.plan {
            Ok(_) if is_only_planned => {
                run::State::Finished { at: self.now, outcome: run::Outcome::Planned }
            }
            Ok(_) => self.first_state(group.as_ref()),
            Err(diagnostics) => run::State::Invalid { diagnostics: diagnostics.clone() },
        };
        self.put(Change::Run(Run {
            id,
            trigger: trigger.id,
            actor: trigger.actor.clone(),
            repository: trigger.repository.clone(),
            reference: trigger.reference.clone(),
            commit: resolution.commit.clone(),
            pipeline: resolution.pipeline.clone(),
            file: resolution.file.clone(),
            source: resolution.source.clone(),
            created: self.now,
            cancelled_by: None,
            group: group.map(|group| group.name),
            superseded_by: None,
            override_window: None,
            waves: resolution.plan.as_ref().map_or(Vec::new(), |plan| vec![0; plan.rollouts.len()]),
            step: Some(run::Step::Created),
            state,
        }));
        if let Ok(plan) = &resolution.plan {
            self.put(Change::Plan(id, Arc::clone(plan)));
            let state = if is_only_planned { job::State::Planned } else { job::State::Waiting };
            for index in 0..plan.jobs.len() as u32 {
                let (id, state) = (id.job(index), state.clone());
                self.put(Change::Job(Job {
                    id,
                    attempts: 0,
                    tried: 0,
                    artifacts: Vec::new(),
                    outputs: Outputs::new(),
                    state,
                }));
            }
            self.begin(id, plan);
        }
        id
    }

    /// Moves every waiting job on whose needs are final, and the run if all jobs are.
    pub(super) fn advance_all(&mut self, run: RunId, plan: &Plan) {
        // Each job stands behind what it needs, so that one pass carries a skip all the way.
        for index in 0..plan.jobs.len() as u32 {
            self.advance(run.job(index));
        }
        self.settle(run, Vec::new(), (0..plan.rollouts.len() as u32).collect());
    }

    /// Moves a waiting job on if all that it needs is final.
    pub(super) fn advance(&mut self, id: JobId) {
        let Some(active) = self.state.runs.get(&id.run) else { return };
        let job = &active.jobs[id.index as usize];
        if job.state != job::State::Waiting {
            return;
        }
        let spec = &active.plan.jobs[id.index as usize];
        let begun_by = spec.begun_by.map(|first| &active.jobs[first as usize].state);
        let needs = spec.needs.iter().map(|need| (*need, &active.jobs[*need as usize].state));
        // Where nothing failed that it could have waived, it keeps nobody.
        let is_idle = |need: u32, state: &job::State| {
            *state == job::State::Unneeded && active.plan.jobs[need as usize].when == When::Waive
        };
        let needs = needs.filter(|(need, state)| !is_idle(*need, state));
        let Some(state) = after(spec.when, needs) else { return };
        let state = left_out(begun_by).unwrap_or(state);
        if state == job::State::Queued && !active.may_begin(id.index) {
            return;
        }
        if state == job::State::Queued
            && let Some(at) = active.opens(id.index, self.now)
        {
            self.openings.insert(at, id.run);
            return;
        }
        let state = match (state, &spec.task) {
            (job::State::Queued, Task::Gate(_)) => {
                job::State::Open { since: self.now, approvals: Vec::new() }
            }
            (job::State::Queued, _) => {
                self.dirty.insert(spec.partition.clone());
                job::State::Queued
            }
            (state, _) => state,
        };
        let job = Job { state, ..job.clone() };
        self.put(Change::Job(job));
    }

    /// A job became final: moves on what waited for it, and the run.
    pub(super) fn job_ended(&mut self, id: JobId) {
        self.settle(id.run, vec![id], BTreeSet::new());
    }

    /// Moves on what waited for jobs that have `ended`, and what waited for its turn in these rollouts.
    pub(super) fn settle(
        &mut self,
        run: RunId,
        mut ended: Vec<JobId>,
        mut rollouts: BTreeSet<u32>,
    ) {
        loop {
            while let Some(id) = ended.pop() {
                let Some(active) = self.state.runs.get(&run) else { return };
                let members = &active.plan.jobs[id.index as usize].rollouts;
                rollouts.extend(members.iter().map(|member| member.rollout));
                for index in active.dependents[id.index as usize].clone() {
                    let dependent = run.job(index);
                    self.advance(dependent);
                    if self.state.job(dependent).is_some_and(|job| job.state.is_final()) {
                        ended.push(dependent);
                    }
                }
            }
            let Some(rollout) = rollouts.pop_first() else { break };
            ended = self.carry_on(run, rollout);
        }
        self.finish_run(run);
    }

    fn finish_run(&mut self, id: RunId) {
        let Some(active) = self.state.runs.get(&id) else { return };
        if !active.open.is_empty() {
            return;
        }
        let outcome = if !active.jobs.iter().any(|job| job.state.is_failure()) {
            run::Outcome::Succeeded
        } else if active.run.cancelled_by.is_some() {
            run::Outcome::Cancelled
        } else {
            run::Outcome::Failed
        };
        let state = run::State::Finished { at: self.now, outcome };
        let run = Run { state, step: Some(run::Step::Finished), ..active.run.clone() };
        let group = run.group_key();
        self.put(Change::Run(run));
        if let Some(group) = group {
            self.begin_next(&group);
        }
    }

    pub(super) fn cancel(&mut self, actor: &Actor, id: RunId) -> Result<Answer, Refusal> {
        let Some(active) = self.state.runs.get(&id) else { return Err(self.not_active(id)) };
        self.may_edit_run(actor, id, "cancelling")?;
        if active.run.cancelled_by.is_some() {
            return Ok(Answer::Done);
        }
        let run = active.run.clone();
        self.end_run(run, actor);
        Ok(Answer::Done)
    }

    /// Ends what runs of an active run, and what waits does not start.
    pub(super) fn end_run(&mut self, run: Run, actor: &Actor) {
        let id = run.id;
        let jobs = self.state.runs.get(&id).map_or(Vec::new(), |active| active.jobs.clone());
        let step = Some(run::Step::Cancelled);
        self.put(Change::Run(Run { cancelled_by: Some(actor.clone()), step, ..run }));
        for job in jobs {
            match job.state {
                job::State::Waiting
                | job::State::Queued
                | job::State::Open { .. }
                | job::State::Paused { .. } => {
                    self.deadlines.clear(Due::Again(job.id));
                    let state = job::State::Cancelled { by: actor.clone() };
                    self.put(Change::Job(Job { state, ..job }));
                }
                job::State::Active => self.cancel_attempt(job.id.attempt(job.attempts), actor),
                job::State::Finished { .. }
                | job::State::Approved { .. }
                | job::State::Acknowledged { .. }
                | job::State::Rejected { .. }
                | job::State::Expired { .. }
                | job::State::Skipped { .. }
                | job::State::Unneeded
                | job::State::Stopped { .. }
                | job::State::Planned
                | job::State::Cancelled { .. } => {}
            }
        }
        self.finish_run(id);
    }

    fn cancel_attempt(&mut self, id: AttemptId, actor: &Actor) {
        let Some(attempt) = self.state.attempts.get(&id).cloned() else { return };
        let session = self.state.agents.get(&attempt.agent).and_then(|agent| agent.session());
        self.put(Change::Attempt(Attempt { cancelled_by: Some(actor.clone()), ..attempt }));
        if let Some(session) = session {
            self.send(session, ToAgent::Cancel(id));
        }
    }

    pub(super) fn retry(&mut self, actor: &Actor, stored: &Stored) -> Result<Answer, Refusal> {
        let id = stored.run.id;
        let conflict = |text: &str| Err(Refusal::Conflict(format!("run {id} {text}")));
        if self.state.runs.contains_key(&id) {
            return conflict("is still active: cancel it first, or wait for its end");
        }
        match stored.run.state {
            run::State::Waiting { .. } | run::State::Active => {
                return conflict("is still active");
            }
            run::State::Invalid { .. } => {
                return conflict("did not compile: correct the pipeline and trigger it again");
            }
            run::State::Finished { outcome: run::Outcome::Succeeded, .. } => {
                return conflict("succeeded: there is nothing to try again");
            }
            run::State::Finished { outcome: run::Outcome::Planned, .. } => {
                return conflict("is the plan of a pull request: there is nothing to try again");
            }
            run::State::Finished { .. } => {}
        }
        for job in &stored.plan.jobs {
            needs(actor, Role::Edit, &job.partition, "retrying")?;
        }
        let state = self.first_state(stored.run.group_key().as_ref());
        let run = Run {
            state,
            cancelled_by: None,
            superseded_by: None,
            override_window: None,
            step: Some(run::Step::Retried),
            ..stored.run.clone()
        };
        self.put(Change::Run(run));
        self.put(Change::Plan(id, Arc::clone(&stored.plan)));
        for (job, again) in stored.jobs.iter().zip(again(stored)) {
            let state = if again { job::State::Waiting } else { job.state.clone() };
            self.put(Change::Job(Job { state, tried: 0, ..job.clone() }));
        }
        self.resume_waves(id);
        self.begin(id, &stored.plan);
        Ok(Answer::Done)
    }

    pub(super) fn not_active(&self, id: RunId) -> Refusal {
        if id.0 == 0 || id.0 > self.state.last_run {
            Refusal::NotFound(format!("there is no run {id}"))
        } else {
            Refusal::Conflict(format!("run {id} has ended already"))
        }
    }
}

/// What becomes of a job whose pipeline another one starts and did not: nothing.
fn left_out(begun_by: Option<&job::State>) -> Option<job::State> {
    begun_by
        .filter(|state| matches!(state, job::State::Skipped { .. } | job::State::Unneeded))
        .cloned()
}

/// What becomes of a job that waits for others; none while it still waits.
fn after<'s>(
    when: When,
    needs: impl Iterator<Item = (u32, &'s job::State)> + Clone,
) -> Option<job::State> {
    let failed = needs.clone().find(|(_, state)| state.is_failure()).map(|(need, _)| need);
    if let (When::Success, Some(need)) = (when, failed) {
        return Some(job::State::Skipped { need });
    }
    if needs.clone().any(|(_, state)| !state.is_final()) {
        return None;
    }
    let is_unneeded = needs.clone().any(|(_, state)| *state == job::State::Unneeded);
    // What was never tried, because of what came before it, is not for this gate to waive.
    let has_failed =
        |state: &job::State| state.is_failure() && !matches!(state, job::State::Skipped { .. });
    Some(match (when, failed) {
        (When::Success, _) if is_unneeded => job::State::Unneeded,
        (When::Failure | When::Waive, None) => job::State::Unneeded,
        (When::Waive, Some(need)) if !needs.into_iter().any(|(_, state)| has_failed(state)) => {
            job::State::Skipped { need }
        }
        (When::Success | When::Failure | When::Always | When::Waive, _) => job::State::Queued,
    })
}

/// Which jobs of a run are tried again: those that did not succeed, and those that looked at how
/// such a job ended.
fn again(stored: &Stored) -> Vec<bool> {
    let mut again: Vec<bool> = stored.jobs.iter().map(|job| !job.state.is_success()).collect();
    for (index, spec) in stored.plan.jobs.iter().enumerate() {
        let looks_back = spec.when != When::Success;
        again[index] |= looks_back && spec.needs.iter().any(|need| again[*need as usize]);
    }
    again
}

/// Whether the actor may edit in every partition of every plan.
fn may_deploy(actor: &Actor, resolutions: &[Resolution]) -> Result<(), Refusal> {
    let plans = resolutions.iter().filter_map(|resolution| resolution.plan.as_ref().ok());
    plans
        .flat_map(|plan| &plan.jobs)
        .try_for_each(|job| needs(actor, Role::Edit, &job.partition, "deploying"))
}
