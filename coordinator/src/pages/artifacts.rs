//! What an attempt left: its files, each to be downloaded.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use pipelines::id::{AttemptId, RunId};

use super::{Problem, Shell, Visitor, html};
use crate::api::types::{ArtifactLink, RunDetail};
use crate::api::{self, Shared};

#[derive(Template)]
#[template(path = "artifacts.html")]
struct Page {
    shell: Shell,
    run: RunId,
    pipeline: String,
    job: String,
    partition: String,
    id: AttemptId,
    files: Vec<File>,
    links: Vec<ArtifactLink>,
}

struct File {
    path: String,
    address: String,
    size: u64,
    sha256: String,
}

/// `GET /attempts/{id}/artifacts`.
pub(super) async fn show(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<AttemptId>,
) -> Result<Response, Problem> {
    let artifacts = api::artifacts::of(&api, &visitor.actor, id).await?;
    let RunDetail { run, jobs, .. } = api::runs::detail(&api, &visitor.actor, id.job.run)?;
    let job = jobs.into_iter().find(|job| job.id == id.job);
    let job = job.ok_or_else(|| api::logs::missing(id))?;
    let files = artifacts.files.into_iter().map(|file| File {
        address: file.address(id),
        path: file.path,
        size: file.size,
        sha256: file.sha256,
    });
    Ok(html(&Page {
        shell: Shell::new(format!("Artifacts of {} {id}", job.title), &visitor),
        run: run.id,
        pipeline: run.pipeline.to_string(),
        job: job.title.to_string(),
        partition: job.partition.to_string(),
        id,
        files: files.collect(),
        links: artifacts.links,
    }))
}

/// `GET /attempts/{id}/artifacts/{path}`: a file, to keep.
pub(super) async fn file(
    State(api): State<Shared>,
    visitor: Visitor,
    Path((id, path)): Path<(AttemptId, String)>,
) -> Result<Response, Problem> {
    Ok(api::artifacts::file(&api, &visitor.actor, id, &path).await?)
}
