//! One attempt's log: a page of it, and the newest page with what arrives.

mod tail;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::{AppendHeaders, IntoResponse, Response};
use pipelines::id::{AttemptId, RunId};
use serde::Deserialize;
use tracing::warn;

use super::live::Part;
use super::output::{Rendered, Renderer};
use super::pager::{Pager, Window};
use super::words::{self, Status, Time, Took};
use super::{Problem, Shell, Visitor, html};
use crate::api::types::RunDetail;
use crate::api::{self, Api, Failure, Shared};
use crate::logs::{self, Followed};

#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    /// A line of the page that is wanted; none for the newest.
    line: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LiveQuery {
    /// What the reader has: `LINE-OFFSET`, the line that was not ended and where it starts.
    from: String,
}

#[derive(Template)]
#[template(path = "log.html")]
struct Page {
    shell: Shell,
    head: Head,
    id: AttemptId,
    /// Where what arrives comes from.
    live: Option<String>,
    first: u64,
    last: u64,
    lines: u64,
    earlier: Option<u64>,
    later: Option<u64>,
    output: Rendered,
}

#[derive(Template)]
#[template(path = "log_head.html")]
struct Head {
    id: AttemptId,
    run: RunId,
    pipeline: String,
    partition: String,
    job: String,
    agent: String,
    status: Status,
    detail: Option<String>,
    started: Option<Time>,
    took: Option<Took>,
    has_ended: bool,
    is_complete: bool,
}

/// `GET /attempts/{id}/log`.
pub(super) async fn show(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<AttemptId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Problem> {
    let head = head(&api, &visitor, id)?;
    let pager = read(&api, id, query.line).await.map_err(Failure::from)?;
    let (lines, (line, offset)) = (pager.lines(), pager.position());
    let Window { page, earlier, later } = pager.window();
    let is_live = later.is_none() && !head.is_complete;
    Ok(html(&Page {
        shell: Shell::new(head.title(), &visitor),
        head,
        id,
        live: is_live.then(|| format!("/attempts/{id}/live?from={line}-{offset}")),
        first: page.first,
        last: page.last(),
        lines,
        earlier,
        later,
        output: Renderer::new(page.first).render(&page.frames),
    }))
}

/// `GET /attempts/{id}/live`: lines as they arrive, and how the attempt fares, until it ended.
pub(super) async fn live(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<AttemptId>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    head(&api, &visitor, id)?;
    // A browser that comes again by itself names the last event that it got.
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let (line, offset) = seen.and_then(position).or(position(&query.from)).unwrap_or((1, 0));
    Ok(tail::events(api, visitor, id, Pager::at(line, offset)).into_response())
}

/// `GET /attempts/{id}/raw`: the output as it is, to keep.
pub(super) async fn raw(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<AttemptId>,
) -> Result<Response, Problem> {
    let text = api::logs::text(&api, &visitor.actor, id)?;
    let file = format!("attachment; filename=\"{id}.log\"");
    Ok((AppendHeaders([(CONTENT_DISPOSITION, file)]), text).into_response())
}

/// What has arrived, in pages.
async fn read(api: &Api, id: AttemptId, wanted: Option<u64>) -> Result<Pager, logs::Error> {
    let mut follower = api.logs.follow(id, 0);
    let mut pager = Pager::new(wanted);
    while let Some(followed) = follower.arrived().await? {
        match followed {
            Followed::Frames(frames) => frames.into_iter().for_each(|frame| pager.push(frame)),
            Followed::Restarted => pager = Pager::new(wanted),
        }
    }
    Ok(pager)
}

fn position(text: &str) -> Option<(u64, u64)> {
    let (line, offset) = text.split_once('-')?;
    Some((line.parse().ok()?, offset.parse().ok()?))
}

fn head(api: &Api, visitor: &Visitor, id: AttemptId) -> Result<Head, Failure> {
    api::logs::check_seen(api, &visitor.actor, id)?;
    let RunDetail { run, jobs, .. } = api::runs::detail(api, &visitor.actor, id.job.run)?;
    let job = jobs.into_iter().find(|job| job.id == id.job);
    let job = job.ok_or_else(|| api::logs::missing(id))?;
    let attempt = job.attempts.iter().find(|attempt| attempt.id == id);
    let attempt = attempt.ok_or_else(|| api::logs::missing(id))?;
    let status = Status::from(attempt.status.as_str());
    let outcome = attempt.outcome.as_ref().map(ToString::to_string);
    Ok(Head {
        id,
        run: run.id,
        pipeline: run.pipeline.to_string(),
        partition: job.partition.to_string(),
        job: job.title.to_string(),
        agent: attempt.agent.to_string(),
        detail: outcome.and_then(|outcome| words::beyond(&status, &outcome)),
        status,
        started: attempt.started_us.map(Time),
        took: attempt.started_us.map(|from| Took::between(from, attempt.finished_us)),
        has_ended: attempt.outcome.is_some(),
        is_complete: attempt.log_complete,
    })
}

impl Head {
    fn title(&self) -> String {
        let Status { sign, word, .. } = &self.status;
        format!("{sign} {word}: {} {}", self.job, self.id)
    }

    fn part(&self, is_last: bool) -> Option<Part> {
        Part::new(self.title(), self, is_last)
    }
}

impl From<logs::Error> for Failure {
    fn from(error: logs::Error) -> Failure {
        warn!(%error, "a log cannot be read");
        Failure::unavailable(error.to_string())
    }
}
