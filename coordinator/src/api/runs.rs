//! `/api/v1/runs`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use coordinator_core::actor::{Actor, Role, Scope};
use coordinator_core::change::{Change, Stored};
use coordinator_core::event::Ask;
use coordinator_core::gate::{self, Standing};
use coordinator_core::{attempt, job, run};
use futures::{Stream, stream};
use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::outcome::Outcome;
use pipelines::plan::{self, Plan, Task};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::groups::Started;
use super::types::{Attempt, Job, Run, RunDetail, WindowOverridden};
use super::windows::Windows;
use super::{Api, Caller, Failure, Shared, agents, gates, locks};
use crate::store::view::Filter;

/// Most runs in one answer.
const LIMIT: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    before: Option<u64>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Run>>, Failure> {
    let limit = query.limit.unwrap_or(50).min(LIMIT);
    Ok(Json(newest(&api, &caller.0, query.before.map(RunId), limit)?))
}

pub(super) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<RunId>,
) -> Result<Json<RunDetail>, Failure> {
    Ok(Json(detail(&api, &caller.0, id)?))
}

/// The run now and after each of its changes, until it is final and its logs are there.
pub(super) async fn events(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<RunId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let changes = api.driver.watch();
    let first = detail(&api, &caller.0, id)?;
    let stop = api.stop.clone();
    let following = stream::unfold(Some((changes, Some(first))), move |state| {
        let (api, caller) = (api.clone(), Caller(caller.0.clone()));
        async move {
            let (mut changes, first) = state?;
            let now = match first {
                Some(first) => first,
                None => {
                    changed(&mut changes, |change| concerns(change, id)).await?;
                    detail(&api, &caller.0, id).ok()?
                }
            };
            let last = now.run.finished_us.is_some();
            let event = Event::default().json_data(&now).ok()?;
            Some((Ok(event), (!last).then_some((changes, None))))
        }
    });
    let until_stop = futures::StreamExt::take_until(following, stop.cancelled_owned());
    Ok(Sse::new(until_stop).keep_alive(KeepAlive::default()))
}

/// Waits for a change that `concerns` the caller, or may have been missed; none when no more come.
pub(crate) async fn changed(
    changes: &mut Receiver<Arc<[Change]>>,
    concerns: impl Fn(&Change) -> bool,
) -> Option<()> {
    loop {
        match changes.recv().await {
            Ok(batch) if batch.iter().any(&concerns) => return Some(()),
            Ok(_) => {}
            // Behind by more than is kept: what is in the view now is newer.
            Err(RecvError::Lagged(_)) => return Some(()),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Whether a run's detail may differ after a change.
pub(crate) fn concerns(change: &Change, id: RunId) -> bool {
    match change {
        // Of another one of its group: it may have waited for that.
        Change::Run(run) => run.id == id || run.group.is_some(),
        Change::Job(job) => job.id.run == id,
        Change::Attempt(attempt) => attempt.id.job.run == id,
        // Its link decides whether an attempt shows as unknown.
        Change::Agent(_) => true,
        // Its holder decides whether a job waits.
        Change::Lock(_) => true,
        Change::Trigger(_)
        | Change::Plan(..)
        | Change::ApiToken(_)
        | Change::JoinToken(_)
        | Change::Secret(_)
        | Change::Schedule(_)
        | Change::Subscriber(_)
        | Change::Audit(_) => false,
    }
}

pub(super) async fn cancel(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<RunId>,
) -> Result<Json<RunDetail>, Failure> {
    ask_cancel(&api, caller.0.clone(), id).await?;
    Ok(Json(detail(&api, &caller.0, id)?))
}

pub(super) async fn retry(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<RunId>,
) -> Result<Json<RunDetail>, Failure> {
    ask_retry(&api, caller.0.clone(), id).await?;
    Ok(Json(detail(&api, &caller.0, id)?))
}

/// Cancels a run.
pub(crate) async fn ask_cancel(api: &Api, actor: Actor, id: RunId) -> Result<(), Failure> {
    api.driver.ask(actor, Ask::Cancel { run: id }).await?;
    Ok(())
}

/// Has the jobs of a run that did not succeed tried again.
pub(crate) async fn ask_retry(api: &Api, actor: Actor, id: RunId) -> Result<(), Failure> {
    let stored = api.view.stored(id)?.ok_or_else(|| missing(id))?;
    // Who may not retry at all hears that, and no more.
    if may_edit(api, &actor, id)? {
        still_bound(api, &stored)?;
    }
    api.driver.ask(actor, Ask::Retry { stored: Box::new(stored) }).await?;
    Ok(())
}

/// Refuses a run whose repository may no longer deploy to one of its partitions: it was checked when
/// the run was made, and the configuration may have changed.
fn still_bound(api: &Api, Stored { run, plan, .. }: &Stored) -> Result<(), Failure> {
    let may_deploy = |partition| {
        let bound = api.config.partition(partition);
        bound.is_some_and(|bound| bound.repositories.contains(&run.repository))
    };
    match plan.jobs.iter().find(|job| !may_deploy(&job.partition)) {
        Some(job) => Err(Failure::forbidden(format!(
            "the repository '{}' may no longer deploy to '{}': have it allowed there in the \
             coordinator's configuration",
            run.repository, job.partition
        ))),
        None => Ok(()),
    }
}

/// Whether the actor may cancel and retry a run: that takes the right in each of its partitions.
pub(crate) fn may_edit(api: &Api, actor: &Actor, id: RunId) -> Result<bool, Failure> {
    if actor.may_everywhere(Role::Edit) {
        return Ok(true);
    }
    let plan = api.view.plan(id)?;
    Ok(plan.is_some_and(|plan| plan.jobs.iter().all(|job| actor.may(Role::Edit, &job.partition))))
}

/// The newest `limit` runs before a run that the actor may see.
pub(crate) fn newest(
    api: &Api,
    actor: &Actor,
    before: Option<RunId>,
    limit: usize,
) -> Result<Vec<Run>, Failure> {
    let partitions = match actor {
        Actor::Token { grant, .. } => match &grant.partitions {
            Scope::All => None,
            Scope::Only(partitions) => Some(partitions.clone()),
        },
        _ => None,
    };
    let filter = Filter { partitions, ..Filter::default() };
    let page = api.view.runs(&filter, before, limit)?;
    let started = Started::beside(&api.view, &page.runs)?;
    Ok(page.runs.into_iter().map(|record| run(record, &started)).collect())
}

fn missing(id: RunId) -> Failure {
    Failure::not_found(format!("there is no run {id}"))
}

/// A run with those of its jobs that the actor may see.
pub(crate) fn detail(api: &Api, actor: &Actor, id: RunId) -> Result<RunDetail, Failure> {
    let record = api.view.run(id)?.ok_or_else(|| missing(id))?;
    let (mut jobs, mut inputs) = (Vec::new(), Inputs::new());
    if let Some(plan) = api.view.plan(id)? {
        let records = api.view.jobs(id)?;
        let windows = Windows::new(&record, &plan, &records);
        for (spec, job) in plan.jobs.iter().zip(&records) {
            if actor.may(Role::View, &spec.partition) {
                let standing = Standing { run: &record, spec, job };
                jobs.push(self::job(api, actor, &plan, &windows, &standing)?);
            }
        }
        if jobs.is_empty() {
            // Not theirs to know of.
            return Err(missing(id));
        }
        inputs.clone_from(&plan.inputs);
    } else if !actor.may_everywhere(Role::View) && !is_same(actor, &record.actor) {
        // It got to no partition: who may see some only sees what he has triggered himself.
        return Err(missing(id));
    }
    let started = Started::beside(&api.view, [&record])?;
    Ok(RunDetail { run: run(record, &started), inputs, jobs })
}

/// Whether both are the same token, whatever it may do by now.
fn is_same(one: &Actor, other: &Actor) -> bool {
    match (one, other) {
        (Actor::Token { name, .. }, Actor::Token { name: other, .. }) => name == other,
        _ => false,
    }
}

fn run(run: run::Run, started: &Started) -> Run {
    let waits_for = started.before(&run);
    let (finished_us, diagnostics) = match &run.state {
        run::State::Waiting { .. } | run::State::Active => (None, None),
        run::State::Finished { at, .. } => (Some(at.0), None),
        run::State::Invalid { diagnostics } => (Some(run.created.0), Some(diagnostics.clone())),
    };
    Run {
        id: run.id,
        status: run.status().to_owned(),
        pipeline: run.pipeline,
        file: run.file,
        repository: run.repository,
        reference: run.reference,
        commit: run.commit,
        actor: run.actor.to_string(),
        created_us: run.created.0,
        finished_us,
        cancelled_by: run.cancelled_by.map(|actor| actor.to_string()),
        group: run.group,
        waits_for,
        superseded_by: run.superseded_by,
        window_overridden: run.override_window.map(|word| WindowOverridden {
            by: word.by.to_string(),
            at_us: word.at.0,
            reason: word.reason,
        }),
        diagnostics,
    }
}

fn job(
    api: &Api,
    actor: &Actor,
    plan: &Plan,
    windows: &Windows<'_>,
    standing: &Standing<'_>,
) -> Result<Job, Failure> {
    let Standing { spec, job, .. } = *standing;
    let attempts = api.view.attempts(job.id)?;
    let attempts = attempts.into_iter().map(|it| attempt(api, it)).collect::<Result<_, _>>()?;
    let awaited = windows.awaited(spec, job);
    let detail = match &job.state {
        job::State::Finished { outcome: Outcome::Succeeded } | job::State::Active => None,
        job::State::Waiting => match awaited {
            Some((window, opens)) => Some(format!(
                "waits for the window {}, which opens {}",
                window.name,
                window.local(opens)
            )),
            None => turn(plan, spec),
        },
        job::State::Planned => {
            standing.gate().map(|gate| format!("would wait for {}", gate.wants(0)))
        }
        job::State::Queued => match locks::in_the_way(&api.view, plan, spec, job.id)? {
            Some(lock) => Some(lock),
            None => agents::in_the_way(&api.view, spec)?,
        },
        job::State::Paused { delay_s } => {
            Some(format!("tried {} times, again after {delay_s} s", job.tried))
        }
        job::State::Finished { outcome } => Some(outcome.to_string()),
        job::State::Open { .. }
        | job::State::Approved { .. }
        | job::State::Acknowledged { .. }
        | job::State::Rejected { .. }
        | job::State::Expired { .. } => gate::words(spec, &job.state),
        job::State::Skipped { need } => plan.jobs.get(*need as usize).map(|need| match need.task {
            Task::Gate(_) => format!("{} did not let it through", need.title()),
            Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Render(_) | Task::Wait => {
                format!("{} did not succeed", need.title())
            }
        }),
        job::State::Unneeded => Some("nothing that it needs failed".to_owned()),
        job::State::Stopped { rollout } => Some(stopped(plan, *rollout)),
        job::State::Cancelled { by } => Some(format!("cancelled by {by} before it started")),
    };
    let kind = match spec.task {
        Task::Process => "process",
        Task::Container(_) => "container",
        Task::Ssh(_) => "ssh",
        Task::Render(_) => "render",
        Task::Wait => "wait",
        Task::Gate(_) => "gate",
    };
    Ok(Job {
        id: job.id,
        title: spec.title(),
        environment: spec.environment.clone(),
        partition: spec.partition.clone(),
        kind: kind.to_owned(),
        needs: spec.needs.iter().map(|need| job.id.run.job(*need)).collect(),
        status: job.state.kind().to_owned(),
        detail,
        opens_us: awaited.map(|(_, opens)| opens),
        gate: gates::gate(actor, standing),
        outputs: job.outputs.clone(),
        attempts,
    })
}

/// When it is a waiting job's turn, if it belongs to a rollout.
fn turn(plan: &Plan, spec: &plan::Job) -> Option<String> {
    let member = spec.rollouts.last()?;
    let rollout = plan.rollouts.get(member.rollout as usize)?;
    let unit = rollout.units.get(member.unit as usize)?;
    Some(format!("in wave {} of {}", unit.wave + 1, rollout.waves()))
}

/// Why a rollout begins no other unit.
fn stopped(plan: &Plan, rollout: u32) -> String {
    let rollout = plan.rollouts.get(rollout as usize);
    let what = match rollout.map(|it| &it.job) {
        Some(Some(job)) => format!("devices of {job}"),
        _ => "partitions".to_owned(),
    };
    let after = rollout.and_then(|it| it.stop_after).unwrap_or_default();
    format!("not begun: the rollout stops when {after} of its {what} failed")
}

fn attempt(api: &Api, attempt: attempt::Attempt) -> Result<Attempt, Failure> {
    let away = || -> Result<bool, Failure> {
        let agent = api.view.agent(&attempt.agent)?;
        Ok(agent.is_none_or(|agent| agent.session().is_none()))
    };
    let status = match &attempt.state {
        attempt::State::Finished { verdict, .. } => verdict.outcome.kind(),
        attempt::State::Abandoned { outcome, .. } => outcome.kind(),
        _ if away()? => "unknown",
        attempt::State::Assigned => "assigned",
        attempt::State::Accepted => "accepted",
        attempt::State::Running { .. } => "running",
    };
    let verdict = match &attempt.state {
        attempt::State::Finished { verdict, .. } => Some(verdict),
        _ => None,
    };
    let started_us = match &attempt.state {
        attempt::State::Running { started_us } => Some(*started_us),
        _ => verdict.and_then(|verdict| verdict.started_us),
    };
    Ok(Attempt {
        id: attempt.id,
        agent: attempt.agent.name.clone(),
        status: status.to_owned(),
        outcome: attempt.outcome().cloned(),
        started_us,
        finished_us: verdict.map(|verdict| verdict.finished_us),
        artifacts: verdict.map(|verdict| verdict.artifacts.clone()).unwrap_or_default(),
        recap: verdict.and_then(|verdict| verdict.recap.as_deref().cloned()),
        log_length: verdict.map(|verdict| verdict.log.length),
        // Of an attempt whose order found no room on the agent's disk there is no log.
        log_complete: verdict.is_some_and(|verdict| verdict.log.length == 0)
            || api.logs.is_complete(attempt.id),
    })
}
