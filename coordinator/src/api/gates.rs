//! `/api/v1/gates`: what waits for people, and what they say.

use axum::Json;
use axum::extract::{Path, Query, State};
use coordinator_core::actor::{Actor, Role};
use coordinator_core::event::Ask;
use coordinator_core::gate::{Standing, words};
use coordinator_core::job;
use coordinator_core::job::Approval as Approved;
use coordinator_core::run::Run;
use pipelines::gate::{Asks, Triggerer};
use pipelines::id::{JobId, RunId};
use pipelines::plan::Task;
use serde::Deserialize;

use super::types::{Acknowledge, Approval, Approve, Gate, Reject, RunGate};
use super::{Api, Body, Caller, Failure, Shared};

/// Longest comment or reason, in bytes.
const WORDS: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this run's.
    run: Option<RunId>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<RunGate>>, Failure> {
    Ok(Json(open(&api, &actor, query.run)?))
}

pub(super) async fn approve(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path(job): Path<JobId>,
    Body(Approve { comment }): Body<Approve>,
) -> Result<Json<RunGate>, Failure> {
    ask_approve(&api, actor.clone(), job, comment.as_deref().unwrap_or_default()).await?;
    Ok(Json(one(&api, &actor, job)?))
}

pub(super) async fn reject(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path(job): Path<JobId>,
    Body(Reject { reason }): Body<Reject>,
) -> Result<Json<RunGate>, Failure> {
    ask_reject(&api, actor.clone(), job, &reason).await?;
    Ok(Json(one(&api, &actor, job)?))
}

pub(super) async fn acknowledge(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path(job): Path<JobId>,
    Body(Acknowledge { text }): Body<Acknowledge>,
) -> Result<Json<RunGate>, Failure> {
    ask_acknowledge(&api, actor.clone(), job, text).await?;
    Ok(Json(one(&api, &actor, job)?))
}

/// Approves at a gate; an empty comment is none.
pub(crate) async fn ask_approve(
    api: &Api,
    actor: Actor,
    job: JobId,
    comment: &str,
) -> Result<(), Failure> {
    let comment = line(comment, "the comment")?;
    api.driver.ask(actor, Ask::Approve { job, comment }).await?;
    Ok(())
}

/// Rejects at a gate.
pub(crate) async fn ask_reject(
    api: &Api,
    actor: Actor,
    job: JobId,
    reason: &str,
) -> Result<(), Failure> {
    let reason = line(reason, "the reason")?;
    let reason = reason.ok_or_else(|| Failure::invalid("a reject needs a reason"))?;
    api.driver.ask(actor, Ask::Reject { job, reason }).await?;
    Ok(())
}

/// Acknowledges at a gate.
pub(crate) async fn ask_acknowledge(
    api: &Api,
    actor: Actor,
    job: JobId,
    text: String,
) -> Result<(), Failure> {
    api.driver.ask(actor, Ask::Acknowledge { job, text }).await?;
    Ok(())
}

/// What somebody writes beside an answer: one line that fits; none if it is empty.
pub(super) fn line(text: &str, what: &str) -> Result<Option<String>, Failure> {
    let text = text.trim();
    if text.len() > WORDS {
        return Err(Failure::invalid(format!(
            "{what} has {} bytes; at most {WORDS} fit",
            text.len()
        )));
    }
    if text.contains(char::is_control) {
        return Err(Failure::invalid(format!(
            "{what} holds a line break or another control character: write one line"
        )));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Open gates that the actor may see, of one run or of all, the oldest run's first.
pub(crate) fn open(api: &Api, actor: &Actor, only: Option<RunId>) -> Result<Vec<RunGate>, Failure> {
    let mut open = Vec::new();
    for id in api.view.active()?.into_iter().filter(|id| only.is_none_or(|only| only == *id)) {
        let (Some(run), Some(plan)) = (api.view.run(id)?, api.view.plan(id)?) else { continue };
        if !plan.jobs.iter().any(|job| matches!(job.task, Task::Gate(_))) {
            continue;
        }
        for (spec, job) in plan.jobs.iter().zip(api.view.jobs(id)?) {
            let is_open = matches!(job.state, job::State::Open { .. });
            if is_open && actor.may(Role::View, &spec.partition) {
                open.extend(shown(actor, &Standing { run: &run, spec, job: &job }));
            }
        }
    }
    Ok(open)
}

/// A gate, open or not.
fn one(api: &Api, actor: &Actor, id: JobId) -> Result<RunGate, Failure> {
    let missing = || Failure::not_found(format!("there is no gate {id}"));
    let run = api.view.run(id.run)?.ok_or_else(missing)?;
    let plan = api.view.plan(id.run)?.ok_or_else(missing)?;
    let spec = plan.jobs.get(id.index as usize).ok_or_else(missing)?;
    let job = api.view.job(id)?.ok_or_else(missing)?;
    shown(actor, &Standing { run: &run, spec, job: &job }).ok_or_else(missing)
}

fn shown(actor: &Actor, standing: &Standing<'_>) -> Option<RunGate> {
    let Standing { run, spec, job } = standing;
    let Run { pipeline, repository, reference, commit, .. } = run;
    Some(RunGate {
        job: job.id,
        name: spec.name.to_string(),
        partition: spec.partition.clone(),
        status: job.state.kind().to_owned(),
        detail: words(spec, &job.state),
        pipeline: pipeline.clone(),
        repository: repository.clone(),
        reference: reference.clone(),
        commit: commit.clone(),
        actor: run.actor.to_string(),
        gate: gate(actor, standing)?,
    })
}

/// What a job asks people, as the actor sees it; none if it is no gate.
pub(super) fn gate(actor: &Actor, standing: &Standing<'_>) -> Option<Gate> {
    let asked = standing.gate()?;
    let (acknowledge, triggerer) = match &asked.asks {
        Asks::Approval { triggerer, .. } => (None, *triggerer),
        Asks::Acknowledgement { text } => (Some(text.clone()), Triggerer::Allowed),
    };
    let count = asked.count();
    let approvals = standing.approvals();
    let since = match standing.job.state {
        job::State::Open { since, .. } => Some(since),
        _ => None,
    };
    let refusal = match acknowledge {
        Some(_) => standing.may_acknowledge(actor).err(),
        None => standing.may_approve(actor).err(),
    };
    let approval = |Approved { by, at, comment }: Approved| Approval {
        by: by.to_string(),
        at_us: at.0,
        comment,
    };
    Some(Gate {
        role: asked.role,
        message: asked.message.clone(),
        count,
        triggerer,
        since_us: since.map(|since| since.0),
        expires_us: standing.expires().map(|at| at.0),
        waits_for: since.map(|_| asked.wants(approvals.len())),
        missing: since.map(|_| count.saturating_sub(approvals.len() as u32)),
        approvals: approvals.into_iter().map(approval).collect(),
        may_answer: refusal.is_none(),
        refusal: refusal.filter(|_| since.is_some()).map(|refusal| refusal.to_string()),
        acknowledge,
        may_reject: standing.may_reject(actor).is_ok(),
    })
}
