//! Gates that wait for people: on their run's page, and all of them on one of their own.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use coordinator_core::change::Change;
use pipelines::id::{JobId, RunId};
use serde::Deserialize;

use super::live::{self, Part};
use super::visitor::Sent;
use super::words::{self, Time};
use super::{Problem, Shell, Visitor, html};
use crate::api::types::{self, RunGate};
use crate::api::{self, Api, Failure, Shared};

/// Most gates on one page.
pub(super) const MOST: usize = 50;

/// A gate that waits, and what the visitor may say.
pub(super) struct Gate {
    pub(super) id: JobId,
    /// Such as `approve in fra-equ01`.
    pub(super) title: String,
    pub(super) waits_for: String,
    pub(super) message: String,
    pub(super) since: Time,
    pub(super) expires: Time,
    pub(super) approvals: Vec<Approval>,
    pub(super) acknowledge: Option<String>,
    pub(super) may_answer: bool,
    /// Why the visitor may not.
    pub(super) refusal: Option<String>,
    pub(super) may_reject: bool,
}

pub(super) struct Approval {
    pub(super) by: String,
    pub(super) at: Time,
    pub(super) comment: Option<String>,
}

#[derive(Template)]
#[template(path = "gates.html")]
struct Page {
    shell: Shell,
    live: Option<String>,
    list: List,
}

#[derive(Template)]
#[template(path = "gates_list.html")]
struct List {
    mine: Vec<Row>,
    others: Vec<Row>,
    /// How many more there are.
    more: usize,
    csrf_token: String,
}

/// A gate with its run.
struct Row {
    gate: Gate,
    run: RunId,
    pipeline: String,
    repository: String,
    branch: String,
    commit: String,
    actor: String,
}

/// What the form of an approval sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    csrf_token: String,
    #[serde(default)]
    comment: String,
}

/// What the form of a reject sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reject {
    csrf_token: String,
    #[serde(default)]
    reason: String,
}

/// What the form of an acknowledgement sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acknowledge {
    csrf_token: String,
    #[serde(default)]
    text: String,
}

/// `GET /gates`.
pub(super) async fn show(State(api): State<Shared>, visitor: Visitor) -> Result<Response, Problem> {
    let list = list(&api, &visitor)?;
    let live = Some("/gates/live".to_owned());
    Ok(html(&Page { shell: Shell::new("Gates", &visitor), live, list }))
}

/// `GET /gates/live`: the list after each change.
pub(super) async fn live(State(api): State<Shared>, visitor: Visitor) -> Response {
    let (own, who) = (api.clone(), visitor.clone());
    let part = move || {
        let list = list(&own, &who).ok()?;
        Part::new("Gates".to_owned(), &list, false)
    };
    let concerns = |change: &Change| match change {
        Change::Job(job) => job.state.is_of_gate(),
        // Its end closes its gates.
        Change::Run(_) => true,
        _ => false,
    };
    live::updates(api, visitor, concerns, part).into_response()
}

/// `POST /gates/{job}/approve`.
pub(super) async fn approve(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(job): Path<JobId>,
    Form(Approve { csrf_token, comment }): Form<Approve>,
) -> Result<Redirect, Problem> {
    visitor.check(&Sent { csrf_token })?;
    api::gates::ask_approve(&api, visitor.actor, job, &comment).await?;
    Ok(back(job))
}

/// `POST /gates/{job}/reject`.
pub(super) async fn reject(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(job): Path<JobId>,
    Form(Reject { csrf_token, reason }): Form<Reject>,
) -> Result<Redirect, Problem> {
    visitor.check(&Sent { csrf_token })?;
    api::gates::ask_reject(&api, visitor.actor, job, &reason).await?;
    Ok(back(job))
}

/// `POST /gates/{job}/acknowledge`.
pub(super) async fn acknowledge(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(job): Path<JobId>,
    Form(Acknowledge { csrf_token, text }): Form<Acknowledge>,
) -> Result<Redirect, Problem> {
    visitor.check(&Sent { csrf_token })?;
    api::gates::ask_acknowledge(&api, visitor.actor, job, text.trim().to_owned()).await?;
    Ok(back(job))
}

fn back(job: JobId) -> Redirect {
    Redirect::to(&format!("/runs/{}", job.run))
}

fn list(api: &Api, visitor: &Visitor) -> Result<List, Failure> {
    let mut gates = api::gates::open(api, &visitor.actor, None)?;
    // Those that wait for the visitor stay when there are too many.
    gates.sort_by_key(|it| !it.gate.may_answer);
    let more = gates.len().saturating_sub(MOST);
    gates.truncate(MOST);
    let (mine, others): (Vec<_>, Vec<_>) = gates.into_iter().partition(|it| it.gate.may_answer);
    Ok(List {
        mine: mine.into_iter().filter_map(row).collect(),
        others: others.into_iter().filter_map(row).collect(),
        more,
        csrf_token: visitor.csrf_token.clone(),
    })
}

fn row(it: RunGate) -> Option<Row> {
    let title = format!("{} in {}", it.name, it.partition);
    Some(Row {
        run: it.job.run,
        pipeline: it.pipeline.to_string(),
        repository: it.repository.to_string(),
        branch: words::branch(&it.reference).to_owned(),
        commit: words::short(&it.commit).to_owned(),
        actor: it.actor,
        gate: gate(it.job, title, it.gate)?,
    })
}

/// A gate that is open, of a run's page; none of another job.
pub(super) fn of_job(job: &types::Job) -> Option<Gate> {
    let title = format!("{} in {}", job.title, job.partition);
    gate(job.id, title, job.gate.clone()?)
}

fn gate(id: JobId, title: String, gate: types::Gate) -> Option<Gate> {
    let approval =
        |it: types::Approval| Approval { by: it.by, at: Time(it.at_us), comment: it.comment };
    Some(Gate {
        id,
        title,
        waits_for: gate.waits_for?,
        message: gate.message,
        since: Time(gate.since_us?),
        expires: Time(gate.expires_us?),
        approvals: gate.approvals.into_iter().map(approval).collect(),
        acknowledge: gate.acknowledge,
        may_answer: gate.may_answer,
        refusal: gate.refusal,
        may_reject: gate.may_reject,
    })
}
