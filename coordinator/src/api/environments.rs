//! `/api/v1/environments` and `/api/v1/diffs`: what is deployed where, and what was.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use coordinator_core::actor::{Actor, Role};
use coordinator_core::event::Wall;
use coordinator_core::gate::Standing;
use coordinator_core::run::Run;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::PartitionName;
use pipelines::plan::{Plan, Task};
use serde::Deserialize;

use super::types::{Commit, Deployment, EnvironmentDiff, EnvironmentHistory};
use super::{Api, Caller, Failure, Shared};
use crate::git::{self, Mirror};
use crate::store::view::{self, Place};

/// Deployments in one answer, if it does not say how many.
const USUAL: usize = 50;

/// Most deployments in one answer.
const LIMIT: usize = 200;

/// Most changed files that are listed.
const FILES: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only there.
    partition: Option<PartitionName>,
}

/// Which part of a history is wanted; the default is its newest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// How many at most.
    limit: Option<usize>,
    /// Only what ended before this attempt.
    before: Option<AttemptId>,
    /// Only what this run deployed.
    run: Option<RunId>,
}

impl HistoryQuery {
    /// At most `limit`, of what ended before this attempt, if there is one.
    pub(crate) fn newest(limit: usize, before: Option<AttemptId>) -> HistoryQuery {
        HistoryQuery { limit: Some(limit), before, run: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    older: Option<RunId>,
    newer: Option<RunId>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Deployment>>, Failure> {
    Ok(Json(deployed(&api, &actor, query.partition.as_ref())?))
}

pub(super) async fn show(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, environment)): Path<(PartitionName, String)>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<EnvironmentHistory>, Failure> {
    Ok(Json(history(&api, &actor, &Place { partition, environment }, &query)?))
}

pub(super) async fn diff(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, environment)): Path<(PartitionName, String)>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<EnvironmentDiff>, Failure> {
    let place = Place { partition, environment };
    let (older, newer) = two(&api, &actor, &place, &query)?;
    if older.repository != newer.repository {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            format!(
                "run {} is of repository '{}' and run {} of '{}': nothing lies between them",
                older.run, older.repository, newer.run, newer.repository
            ),
        ));
    }
    let repository = api.config.repository(&newer.repository).ok_or_else(|| {
        Failure::not_found(format!(
            "repository '{}' is not in the coordinator's configuration any more",
            newer.repository
        ))
    })?;
    let mirror = Mirror::of(&api.config.data, repository);
    let between = mirror.between(&older.commit, &newer.commit).await;
    let between = between.map_err(|error| no_diff(&older, &newer, &error))?;
    let files = mirror.changed(&older.commit, &newer.commit).await;
    let commit = |it: git::Commit| Commit { commit: it.hash, subject: it.subject };
    Ok(Json(EnvironmentDiff {
        older,
        newer,
        added: between.added.into_iter().map(commit).collect(),
        removed: between.removed.into_iter().map(commit).collect(),
        more_commits: between.more,
        files: files.filter(|files| files.len() <= FILES),
    }))
}

fn no_diff(older: &Deployment, newer: &Deployment, error: &git::Error) -> Failure {
    match error {
        git::Error::Failed { .. } => Failure::new(
            StatusCode::CONFLICT,
            format!(
                "the mirror of '{}' lacks commit {} or {}: {error}",
                newer.repository, older.commit, newer.commit
            ),
        ),
        git::Error::Start(_)
        | git::Error::Mirror { .. }
        | git::Error::TimedOut { .. }
        | git::Error::NoReference { .. }
        | git::Error::TooLarge { .. } => Failure::unavailable(error.to_string()),
    }
}

/// What is deployed in each environment that the actor may see, by partition and name.
pub(crate) fn deployed(
    api: &Api,
    actor: &Actor,
    partition: Option<&PartitionName>,
) -> Result<Vec<Deployment>, Failure> {
    let mut places = api.view.deployed()?;
    places.retain(|(place, _)| {
        let wanted = partition.is_none_or(|wanted| *wanted == place.partition);
        wanted && actor.may(Role::View, &place.partition)
    });
    // Each run is read once.
    places.sort_by_key(|(_, deployment)| deployment.attempt);
    let mut teller = Teller { api, actor, latest: None };
    let told = places.into_iter().map(|(place, it)| Ok((teller.tell(&place, it)?, place)));
    let mut told = told.collect::<Result<Vec<_>, Failure>>()?;
    told.sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(told.into_iter().map(|(deployment, _)| deployment).collect())
}

/// The deployments to an environment.
pub(crate) fn history(
    api: &Api,
    actor: &Actor,
    place: &Place,
    query: &HistoryQuery,
) -> Result<EnvironmentHistory, Failure> {
    if !actor.may(Role::View, &place.partition) {
        return Err(missing(place));
    }
    let before = query.before.map(|attempt| ended(api, place, attempt)).transpose()?;
    let is_wanted = |it: &Result<view::Deployment, view::Error>| {
        it.as_ref().map_or(true, |it| query.run.is_none_or(|run| it.attempt.job.run == run))
    };
    let limit = query.limit.unwrap_or(USUAL).min(LIMIT);
    let mut teller = Teller { api, actor, latest: None };
    let deployments = api.view.deployments(place, before).filter(is_wanted).take(limit);
    let deployments = deployments.map(|it| teller.tell(place, it?));
    let deployments = deployments.collect::<Result<Vec<_>, Failure>>()?;
    let deployed = api.view.deployed_in(place)?;
    let is_known = deployed.is_some() || api.view.deployments(place, None).next().is_some();
    if !is_known {
        return Err(missing(place));
    }
    let previous = deployed.map(|it| previous(api, place, it)).transpose()?.flatten();
    Ok(EnvironmentHistory {
        deployed: deployed.map(|it| it.attempt.job.run),
        previous: previous.map(|it| it.attempt.job.run),
        deployments,
    })
}

/// Where in a history an attempt stands.
fn ended(api: &Api, place: &Place, attempt: AttemptId) -> Result<(Wall, AttemptId), Failure> {
    for deployment in api.view.deployments(place, None) {
        let deployment = deployment?;
        if deployment.attempt == attempt {
            return Ok((deployment.at, attempt));
        }
    }
    let (partition, name) = (&place.partition, &place.environment);
    Err(Failure::not_found(format!("attempt {attempt} did not deploy to {partition}/{name}")))
}

/// The latest deployment of another run that succeeded before this one.
fn previous(
    api: &Api,
    place: &Place,
    deployment: view::Deployment,
) -> Result<Option<view::Deployment>, view::Error> {
    let before = Some((deployment.at, deployment.attempt));
    let is_other =
        |it: &view::Deployment| it.succeeded && it.attempt.job.run != deployment.attempt.job.run;
    api.view.deployments(place, before).find(|it| it.as_ref().map_or(true, is_other)).transpose()
}

/// The two deployments that are compared.
fn two(
    api: &Api,
    actor: &Actor,
    place: &Place,
    query: &DiffQuery,
) -> Result<(Deployment, Deployment), Failure> {
    if !actor.may(Role::View, &place.partition) {
        return Err(missing(place));
    }
    let (partition, name) = (&place.partition, &place.environment);
    let newer = match query.newer {
        Some(run) => by_run(api, place, run)?,
        None => api.view.deployed_in(place)?.ok_or_else(|| missing(place))?,
    };
    let older = match query.older {
        Some(run) => by_run(api, place, run)?,
        None => previous(api, place, newer)?.ok_or_else(|| {
            let run = newer.attempt.job.run;
            Failure::not_found(format!(
                "nothing was deployed to {partition}/{name} before run {run}"
            ))
        })?,
    };
    let mut teller = Teller { api, actor, latest: None };
    Ok((teller.tell(place, older)?, teller.tell(place, newer)?))
}

/// The latest deployment by a run that succeeded.
fn by_run(api: &Api, place: &Place, run: RunId) -> Result<view::Deployment, Failure> {
    for deployment in api.view.deployments(place, None) {
        let deployment = deployment?;
        if deployment.succeeded && deployment.attempt.job.run == run {
            return Ok(deployment);
        }
    }
    let (partition, name) = (&place.partition, &place.environment);
    Err(Failure::not_found(format!("run {run} deployed nothing to {partition}/{name}")))
}

fn missing(place: &Place) -> Failure {
    let (partition, name) = (&place.partition, &place.environment);
    Failure::not_found(format!("nothing was deployed to {partition}/{name}"))
}

/// Tells all of deployments, with the latest run at hand: neighbours are often of one.
struct Teller<'a> {
    api: &'a Api,
    actor: &'a Actor,
    latest: Option<(Run, Arc<Plan>)>,
}

impl Teller<'_> {
    fn tell(&mut self, place: &Place, it: view::Deployment) -> Result<Deployment, Failure> {
        let lacks = || view::Error::Damaged(format!("attempt {} lacks its run", it.attempt));
        let job = it.attempt.job;
        let (run, plan) = match self.latest.take() {
            Some(latest) if latest.0.id == job.run => latest,
            _ => {
                let run = self.api.view.run(job.run)?;
                run.zip(self.api.view.plan(job.run)?).ok_or_else(lacks)?
            }
        };
        let spec = plan.jobs.get(job.index as usize).ok_or_else(lacks)?;
        let attempt = self.api.view.attempt(it.attempt)?.ok_or_else(lacks)?;
        let deployment = Deployment {
            partition: place.partition.clone(),
            environment: place.environment.clone(),
            url: spec.environment.as_ref().and_then(|it| it.url.clone()),
            status: attempt.outcome().ok_or_else(lacks)?.kind().to_owned(),
            at_us: it.at.0,
            run: run.id,
            job,
            title: spec.title().to_string(),
            attempt: it.attempt,
            device: spec.at().cloned(),
            repository: run.repository.clone(),
            pipeline: run.pipeline.clone(),
            reference: run.reference.clone(),
            commit: run.commit.clone(),
            actor: run.actor.to_string(),
            approved_by: self.approved_by(&run, &plan, job)?,
        };
        self.latest = Some((run, plan));
        Ok(deployment)
    }

    /// Who let a job through, at gates that the actor may see.
    fn approved_by(&self, run: &Run, plan: &Plan, job: JobId) -> Result<Vec<String>, Failure> {
        let mut people = Vec::new();
        for index in gates_before(plan, job.index) {
            let spec = &plan.jobs[index as usize];
            if !self.actor.may(Role::View, &spec.partition) {
                continue;
            }
            let Some(gate) = self.api.view.job(run.id.job(index))? else { continue };
            if gate.state.is_success() {
                let standing = Standing { run, spec, job: &gate };
                people.extend(standing.approvals().into_iter().map(|it| it.by.to_string()));
            }
        }
        let mut seen = BTreeSet::new();
        people.retain(|name| seen.insert(name.clone()));
        Ok(people)
    }
}

/// Indexes of the gates that a job stands behind, by whatever way.
fn gates_before(plan: &Plan, index: u32) -> BTreeSet<u32> {
    let is_gate = |index: &u32| matches!(plan.jobs[*index as usize].task, Task::Gate(_));
    let mut before = BTreeSet::new();
    let mut next = vec![index];
    while let Some(index) = next.pop() {
        let needs = plan.jobs[index as usize].needs.iter().copied();
        next.extend(needs.filter(|need| before.insert(*need)));
    }
    before.into_iter().filter(is_gate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures;

    #[test]
    fn a_job_stands_behind_the_gates_of_the_jobs_that_it_needs_too() {
        let gate = fixtures::gated().jobs[0].clone();
        let mut plan = Arc::unwrap_or_clone(fixtures::plan(&["fra", "fra", "fra", "fra"], "true"));
        plan.jobs[0] = gate.clone();
        plan.jobs[1] = gate;
        plan.jobs[2].needs = vec![0];
        plan.jobs[3].needs = vec![2];
        assert_eq!(gates_before(&plan, 3), BTreeSet::from([0]));
        assert_eq!(gates_before(&plan, 0), BTreeSet::new());
    }
}
