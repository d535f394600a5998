//! One run: its jobs by partition, and the buttons that change it.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use coordinator_core::change::Change;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::PartitionName;
use serde::Deserialize;

use super::gates::{self, Gate};
use super::live::{self, Part};
use super::visitor::Sent;
use super::words::{self, Status, Time, Took};
use super::{Problem, Shell, Visitor, html};
use crate::api::types::{self, RunDetail};
use crate::api::{self, Api, Failure, Shared};

/// Most jobs on one page; of a larger run a page shows its partitions, or one of them.
const JOBS: usize = 200;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunQuery {
    /// Only this one's jobs.
    partition: Option<PartitionName>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    shell: Shell,
    live: Option<String>,
    body: Body,
}

#[derive(Template)]
#[template(path = "run_body.html")]
struct Body {
    run: types::Run,
    status: Status,
    detail: Option<String>,
    inputs: Vec<(String, String)>,
    branch: String,
    commit: String,
    created: Time,
    took: Took,
    /// Those that wait for people, in all partitions.
    gates: Vec<Gate>,
    more_gates: usize,
    partitions: Vec<Partition>,
    /// The only partition that is shown.
    chosen: Option<PartitionName>,
    csrf_token: String,
    may_cancel: bool,
    may_retry: bool,
    may_override: bool,
    overridden: Option<String>,
}

struct Partition {
    name: PartitionName,
    /// How many of its jobs are in which status.
    counts: Vec<(Status, usize)>,
    /// Empty where there are too many to show.
    jobs: Vec<Job>,
}

struct Job {
    name: String,
    kind: String,
    needs: String,
    status: Status,
    detail: Option<String>,
    outputs: Vec<(String, String)>,
    /// What came of its hosts, by its latest attempt.
    recap: Option<String>,
    /// What failed there.
    failures: Vec<String>,
    agent: String,
    took: Option<Took>,
    /// The newest first.
    attempts: Vec<Attempt>,
}

struct Attempt {
    id: AttemptId,
    status: Status,
    /// How many files it left.
    files: u64,
}

/// `GET /runs/{id}`.
pub(super) async fn show(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<RunId>,
    Query(query): Query<RunQuery>,
) -> Result<Response, Problem> {
    let body = body(&api, &visitor, id, &query)?;
    let shell = Shell::new(body.title(), &visitor);
    let only = query.partition.map(|name| format!("?partition={name}")).unwrap_or_default();
    let live = (!body.is_final()).then(|| format!("/runs/{id}/live{only}"));
    Ok(html(&Page { shell, live, body }))
}

/// `GET /runs/{id}/live`: the run after each change, until it ended.
pub(super) async fn live(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<RunId>,
    Query(query): Query<RunQuery>,
) -> Result<Response, Problem> {
    // Refused here rather than in the stream.
    body(&api, &visitor, id, &query)?;
    let (own, who) = (api.clone(), visitor.clone());
    let part = move || {
        let body = body(&own, &who, id, &query).ok()?;
        Part::new(body.title(), &body, body.is_final())
    };
    let concerns = move |change: &Change| api::runs::concerns(change, id);
    Ok(live::updates(api, visitor, concerns, part).into_response())
}

/// `POST /runs/{id}/cancel`.
pub(super) async fn cancel(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<RunId>,
    Form(sent): Form<Sent>,
) -> Result<Redirect, Problem> {
    visitor.check(&sent)?;
    api::runs::ask_cancel(&api, visitor.actor, id).await?;
    Ok(Redirect::to(&format!("/runs/{id}")))
}

/// `POST /runs/{id}/retry`.
pub(super) async fn retry(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<RunId>,
    Form(sent): Form<Sent>,
) -> Result<Redirect, Problem> {
    visitor.check(&sent)?;
    api::runs::ask_retry(&api, visitor.actor, id).await?;
    Ok(Redirect::to(&format!("/runs/{id}")))
}

/// What the form for beginning outside of the window sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    csrf_token: String,
    #[serde(default)]
    reason: String,
}

/// `POST /runs/{id}/override-window`.
pub(super) async fn override_window(
    State(api): State<Shared>,
    visitor: Visitor,
    Path(id): Path<RunId>,
    Form(Override { csrf_token, reason }): Form<Override>,
) -> Result<Redirect, Problem> {
    visitor.check(&Sent { csrf_token })?;
    api::windows::ask_override(&api, visitor.actor, id, &reason).await?;
    Ok(Redirect::to(&format!("/runs/{id}")))
}

fn body(api: &Api, visitor: &Visitor, id: RunId, query: &RunQuery) -> Result<Body, Failure> {
    let RunDetail { run, inputs, jobs } = api::runs::detail(api, &visitor.actor, id)?;
    let is_retryable = matches!(run.status.as_str(), "failed" | "cancelled");
    let mut gates: Vec<Gate> = jobs.iter().filter_map(gates::of_job).collect();
    let more_gates = gates.len().saturating_sub(gates::MOST);
    gates.truncate(gates::MOST);
    // The core decides; this only saves people a refusal.
    let may_edit = api::runs::may_edit(api, &visitor.actor, id)?;
    let waits_for_window = jobs.iter().any(|job| job.opens_us.is_some());
    let overridden = run.window_overridden.as_ref();
    Ok(Body {
        may_override: waits_for_window && api::windows::may_override(api, &visitor.actor, id)?,
        overridden: overridden.map(|word| format!("{}: {}", word.by, word.reason)),
        status: Status::from(run.status.as_str()),
        detail: run.detail(),
        inputs: inputs.into_iter().collect(),
        branch: words::branch(&run.reference).to_owned(),
        commit: words::short(&run.commit).to_owned(),
        created: Time(run.created_us),
        took: Took::between(run.created_us, run.finished_us),
        gates,
        more_gates,
        partitions: partitions(jobs, query.partition.as_ref()),
        chosen: query.partition.clone(),
        csrf_token: visitor.csrf_token.clone(),
        may_cancel: matches!(run.status.as_str(), "waiting" | "active") && may_edit,
        may_retry: is_retryable && may_edit,
        run,
    })
}

impl Body {
    fn title(&self) -> String {
        format!("{} {}: {} #{}", self.status.sign, self.status.word, self.run.pipeline, self.run.id)
    }

    fn is_final(&self) -> bool {
        self.run.finished_us.is_some()
    }
}

/// The jobs in the plan's order, partitions in the order of their first jobs.
fn partitions(jobs: Vec<types::Job>, chosen: Option<&PartitionName>) -> Vec<Partition> {
    let shows_jobs = chosen.is_some() || jobs.len() <= JOBS;
    let names: BTreeMap<JobId, String> =
        jobs.iter().map(|job| (job.id, job.title.to_string())).collect();
    let mut places = BTreeMap::new();
    let mut groups: Vec<(PartitionName, Vec<types::Job>)> = Vec::new();
    for job in jobs {
        if chosen.is_some_and(|chosen| *chosen != job.partition) {
            continue;
        }
        let place = *places.entry(job.partition.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((job.partition.clone(), Vec::new()));
        }
        groups[place].1.push(job);
    }
    let partition = |(name, jobs): (PartitionName, Vec<types::Job>)| {
        let counts = counts(&jobs);
        let jobs = if shows_jobs { jobs } else { Vec::new() };
        Partition { name, counts, jobs: jobs.into_iter().map(|it| job(&names, it)).collect() }
    };
    groups.into_iter().map(partition).collect()
}

fn counts(jobs: &[types::Job]) -> Vec<(Status, usize)> {
    let mut counts: Vec<(Status, usize)> = Vec::new();
    for job in jobs {
        let status = status(job);
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => counts.push((status, 1)),
        }
    }
    counts
}

/// While a job is active its attempt says more.
fn status(job: &types::Job) -> Status {
    let attempt = job.attempts.last().filter(|_| job.status == "active");
    Status::from(attempt.map_or(job.status.as_str(), |attempt| &attempt.status))
}

fn job(names: &BTreeMap<JobId, String>, job: types::Job) -> Job {
    let needs: Vec<&str> =
        job.needs.iter().filter_map(|need| names.get(need)).map(String::as_str).collect();
    let status = status(&job);
    let detail = match status.word.as_str() {
        "queued" if job.detail.is_none() => Some("for an agent with room".to_owned()),
        "unknown" => Some("the agent's link is down: it may be running".to_owned()),
        _ => job.detail.as_deref().and_then(|detail| words::beyond(&status, detail)),
    };
    let latest = job.attempts.last();
    let took = latest.and_then(|it| Some(Took::between(it.started_us?, it.finished_us)));
    let recap = latest.and_then(|it| it.recap.as_ref());
    Job {
        name: job.title.to_string(),
        kind: job.kind,
        needs: needs.join(", "),
        status,
        detail,
        outputs: job.outputs.into_iter().collect(),
        recap: recap.map(ToString::to_string),
        failures: recap.map(|it| it.failures_in_words().collect()).unwrap_or_default(),
        agent: latest.map(|attempt| attempt.agent.to_string()).unwrap_or_default(),
        took: took.filter(|_| latest.is_some_and(is_timed)),
        attempts: job.attempts.iter().rev().map(attempt).collect(),
    }
}

/// Whether the time of an attempt means anything: not of one that ended nobody knows when.
fn is_timed(attempt: &types::Attempt) -> bool {
    attempt.outcome.is_none() || attempt.finished_us.is_some()
}

fn attempt(attempt: &types::Attempt) -> Attempt {
    let files = attempt.artifacts.iter().map(|artifact| artifact.files).sum();
    Attempt { id: attempt.id, status: Status::from(attempt.status.as_str()), files }
}
