//! What is deployed where, and what was.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use pipelines::id::{AttemptId, RunId};
use pipelines::name::PartitionName;
use serde::Deserialize;

use super::words::{self, Status, Time};
use super::{Problem, Shell, Visitor, html};
use crate::api::Shared;
use crate::api::environments::{self as api, HistoryQuery};
use crate::api::types::Deployment;
use crate::store::view::Place;

/// Deployments on one page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    before: Option<AttemptId>,
}

#[derive(Template)]
#[template(path = "environments.html")]
struct List {
    shell: Shell,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "environment.html")]
struct History {
    shell: Shell,
    name: String,
    address: String,
    /// The run that deployed what is there.
    deployed: Option<RunId>,
    /// As the latest deployment has it.
    url: Option<String>,
    rows: Vec<Row>,
    older: Option<AttemptId>,
    is_newest: bool,
}

struct Row {
    name: String,
    /// Of its history.
    address: String,
    url: Option<String>,
    status: Status,
    at: Time,
    run: RunId,
    attempt: AttemptId,
    title: String,
    device: String,
    pipeline: String,
    repository: String,
    branch: String,
    commit: String,
    actor: String,
    approved_by: String,
}

/// `GET /environments`.
pub(super) async fn list(State(api): State<Shared>, visitor: Visitor) -> Result<Response, Problem> {
    let deployed = api::deployed(&api, &visitor.actor, None)?;
    let rows = deployed.into_iter().map(row).collect();
    Ok(html(&List { shell: Shell::new("Environments", &visitor), rows }))
}

/// `GET /environments/{partition}/{name}`: its deployments, the latest first.
pub(super) async fn show(
    State(api): State<Shared>,
    visitor: Visitor,
    Path((partition, environment)): Path<(PartitionName, String)>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let place = Place { partition, environment };
    let wanted = HistoryQuery::newest(PAGE + 1, query.before);
    let history = api::history(&api, &visitor.actor, &place, &wanted)?;
    let mut rows: Vec<Row> = history.deployments.into_iter().map(row).collect();
    let is_full = rows.len() > PAGE;
    rows.truncate(PAGE);
    let name = format!("{}/{}", place.partition, place.environment);
    Ok(html(&History {
        shell: Shell::new(name.clone(), &visitor),
        address: format!("/environments/{name}"),
        name,
        deployed: history.deployed,
        url: rows.first().and_then(|row| row.url.clone()),
        older: rows.last().filter(|_| is_full).map(|row| row.attempt),
        rows,
        is_newest: query.before.is_none(),
    }))
}

fn row(it: Deployment) -> Row {
    let name = format!("{}/{}", it.partition, it.environment);
    Row {
        address: format!("/environments/{name}"),
        name,
        url: it.url,
        status: Status::from(it.status.as_str()),
        at: Time(it.at_us),
        run: it.run,
        attempt: it.attempt,
        title: it.title,
        device: it.device.map(|device| device.to_string()).unwrap_or_default(),
        pipeline: it.pipeline.to_string(),
        repository: it.repository.to_string(),
        branch: words::branch(&it.reference).to_owned(),
        commit: words::short(&it.commit).to_owned(),
        actor: it.actor,
        approved_by: it.approved_by.join(", "),
    }
}
