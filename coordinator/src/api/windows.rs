//! Windows that jobs of a run wait for, and the word that they need not.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use coordinator_core::actor::{Actor, Role};
use coordinator_core::event::Ask;
use coordinator_core::job::{self, Job};
use coordinator_core::run::{self, Run};
use pipelines::id::RunId;
use pipelines::name::PartitionName;
use pipelines::plan::{self, Member, Plan, Window};

use super::types::{OverrideWindow, RunDetail};
use super::{Api, Body, Caller, Failure, Shared, gates, runs};
use crate::driver;

pub(super) async fn override_window(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path(id): Path<RunId>,
    Body(OverrideWindow { reason }): Body<OverrideWindow>,
) -> Result<Json<RunDetail>, Failure> {
    ask_override(&api, actor.clone(), id, &reason).await?;
    Ok(Json(runs::detail(&api, &actor, id)?))
}

/// Lets the jobs of a run begin outside of its windows.
pub(crate) async fn ask_override(
    api: &Api,
    actor: Actor,
    run: RunId,
    reason: &str,
) -> Result<(), Failure> {
    let reason = gates::line(reason, "the reason")?;
    let reason = reason.ok_or_else(|| Failure::invalid("overriding a window needs a reason"))?;
    api.driver.ask(actor, Ask::OverrideWindow { run, reason }).await?;
    Ok(())
}

/// Whether the actor may override a run's windows: that takes the right in each of its partitions.
pub(crate) fn may_override(api: &Api, actor: &Actor, id: RunId) -> Result<bool, Failure> {
    let plan = api.view.plan(id)?;
    Ok(plan.is_some_and(|plan| plan.jobs.iter().all(|job| actor.may(Role::Admin, &job.partition))))
}

/// What of a run decides whether its jobs wait for windows, by the rules of the core.
pub(super) struct Windows<'p> {
    plan: &'p Plan,
    jobs: &'p [Job],
    waves: &'p [u32],
    now_us: u64,
    /// Where work has begun; none if nothing waits for a window.
    begun: Option<Begun<'p>>,
}

#[derive(Default)]
struct Begun<'p> {
    partitions: BTreeSet<&'p PartitionName>,
    units: BTreeSet<Member>,
}

impl<'p> Windows<'p> {
    pub(super) fn new(run: &'p Run, plan: &'p Plan, jobs: &'p [Job]) -> Windows<'p> {
        let counts = run.state == run::State::Active
            && run.override_window.is_none()
            && !plan.windows.is_empty();
        let begun = counts.then(|| {
            let mut begun = Begun::default();
            for (spec, job) in plan.jobs.iter().zip(jobs).filter(|(_, job)| job.has_begun()) {
                begun.units.extend(&spec.rollouts);
                begun.partitions.extend(job.is_worked_at(spec).then_some(&spec.partition));
            }
            begun
        });
        Windows { plan, jobs, waves: &run.waves, now_us: driver::now().0, begun }
    }

    /// The window that a job waits for, and when it opens, in µs since 1970.
    pub(super) fn awaited(&self, spec: &plan::Job, job: &Job) -> Option<(&'p Window, u64)> {
        let (begun, window) = (self.begun.as_ref()?, self.plan.window(&spec.partition)?);
        let needs = spec.needs.iter().map(|need| &self.jobs[*need as usize].state);
        let is_next = job.state == job::State::Waiting && needs.clone().all(job::State::is_final);
        let rollout = |member: &Member| &self.plan.rollouts[member.rollout as usize];
        let wave = |member: &Member| rollout(member).units[member.unit as usize].wave;
        let is_later = |it: &Member| wave(it) > self.waves[it.rollout as usize];
        let unit = spec.rollouts.iter().find(|member| rollout(member).job.is_some());
        let has_begun = match unit {
            Some(member) => begun.units.contains(member),
            None => begun.partitions.contains(&spec.partition),
        };
        if !is_next || has_begun || spec.rollouts.iter().any(is_later) {
            return None;
        }
        let opens = window.next(self.now_us)?;
        (opens > self.now_us).then_some((window, opens))
    }
}
