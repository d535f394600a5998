//! The first page: runs, the newest first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use coordinator_core::actor::Actor;
use coordinator_core::change::Change;
use pipelines::id::RunId;
use serde::Deserialize;

use super::live::{self, Part};
use super::words::{self, Status, Time, Took};
use super::{Problem, Shell, Visitor, html};
use crate::api::types::Run;
use crate::api::{self, Api, Failure, Shared};

/// Runs on one page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    before: Option<u64>,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Page {
    shell: Shell,
    /// Where changes come from; none on older pages, which hardly change.
    live: Option<String>,
    list: List,
}

#[derive(Template)]
#[template(path = "runs_list.html")]
struct List {
    rows: Vec<Row>,
    older: Option<RunId>,
    is_newest: bool,
}

struct Row {
    id: RunId,
    status: Status,
    detail: Option<String>,
    pipeline: String,
    repository: String,
    branch: String,
    commit: String,
    actor: String,
    created: Time,
    took: Took,
}

/// `GET /`.
pub(super) async fn show(
    State(api): State<Shared>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let list = list(&api, &visitor.actor, query.before.map(RunId))?;
    let live = query.before.is_none().then(|| "/live".to_owned());
    Ok(html(&Page { shell: Shell::new("Runs", &visitor), live, list }))
}

/// `GET /live`: the list after each change.
pub(super) async fn live(State(api): State<Shared>, visitor: Visitor) -> Response {
    let (own, actor) = (api.clone(), visitor.actor.clone());
    let part = move || {
        let list = list(&own, &actor, None).ok()?;
        Part::new("Runs".to_owned(), &list, false)
    };
    let concerns = |change: &Change| matches!(change, Change::Run(_));
    live::updates(api, visitor, concerns, part).into_response()
}

fn list(api: &Api, actor: &Actor, before: Option<RunId>) -> Result<List, Failure> {
    let mut runs = api::runs::newest(api, actor, before, PAGE + 1)?;
    let is_full = runs.len() > PAGE;
    runs.truncate(PAGE);
    let older = runs.last().filter(|_| is_full).map(|run| run.id);
    let rows = runs.into_iter().map(row).collect();
    Ok(List { rows, older, is_newest: before.is_none() })
}

fn row(run: Run) -> Row {
    Row {
        id: run.id,
        status: Status::from(run.status.as_str()),
        detail: run.detail(),
        pipeline: run.pipeline.to_string(),
        repository: run.repository.to_string(),
        branch: words::branch(&run.reference).to_owned(),
        commit: words::short(&run.commit).to_owned(),
        actor: run.actor,
        created: Time(run.created_us),
        took: Took::between(run.created_us, run.finished_us),
    }
}
