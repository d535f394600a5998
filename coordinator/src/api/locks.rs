//! `/api/v1/locks` and `/api/v1/audit`.

use axum::Json;
use axum::extract::{Path, State};
use coordinator_core::actor::Role;
use coordinator_core::event::Ask;
use coordinator_core::lock::{Holder, LockKey};
use coordinator_core::{job, lock};
use pipelines::id::JobId;
use pipelines::lock::Subject;
use pipelines::name::{DeviceName, PartitionName};
use pipelines::plan::{self, Plan};

use super::types::{Audit, BreakLock, Lock};
use super::{Body, Caller, Failure, Shared};
use crate::store::view::{self, View};

/// Operators' words that are shown at most.
const WORDS: usize = 1000;

pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Lock>>, Failure> {
    let locks = api.view.locks()?.into_iter().filter(|lock| caller.sees(&lock.key.partition));
    let waiting = waiting(&api.view)?;
    Ok(Json(locks.map(|lock| shown(lock, &waiting)).collect()))
}

pub(super) async fn break_lock(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, Subject)>,
    Body(body): Body<BreakLock>,
) -> Result<Json<serde_json::Value>, Failure> {
    let lock = LockKey { partition, name };
    api.driver.ask(actor, Ask::BreakLock { lock, holder: body.holder }).await?;
    Ok(Json(serde_json::json!({})))
}

pub(super) async fn audit(
    State(api): State<Shared>,
    Caller(actor): Caller,
) -> Result<Json<Vec<Audit>>, Failure> {
    if !actor.may_everywhere(Role::Admin) {
        return Err(Failure::forbidden(format!("{actor} may not read what operators declared")));
    }
    let words = api.view.audit(WORDS)?.into_iter().map(|word| Audit {
        number: word.number,
        at_us: word.at.0,
        actor: word.actor.to_string(),
        text: word.text,
    });
    Ok(Json(words.collect()))
}

/// For which lock a queued job waits, if it does.
pub(super) fn in_the_way(
    view: &View,
    plan: &Plan,
    spec: &plan::Job,
    id: JobId,
) -> Result<Option<String>, view::Error> {
    let held = view.locks()?;
    Ok(locks_of(plan, spec).find_map(|(key, device)| {
        let lock = held.iter().find(|lock| lock.key == key)?;
        is_in_the_way(lock, device.as_ref(), id).then(|| in_words(lock))
    }))
}

fn is_in_the_way(lock: &lock::Lock, device: Option<&DeviceName>, job: JobId) -> bool {
    let is_own = match lock.holder {
        Some(Holder::Run(run)) => run == job.run,
        Some(Holder::Job(holder)) => holder == job,
        None => true,
    };
    let is_open_to_all = lock.failed.is_some() && lock.in_doubt.is_none();
    lock.device.as_ref() != device || !(is_own || is_open_to_all)
}

fn in_words(lock: &lock::Lock) -> String {
    let name = &lock.key.name;
    let holder = lock.holder.map_or(String::new(), |holder| holder.to_string());
    match (&lock.device, &lock.failed) {
        (Some(device), Some(job)) => format!(
            "waits for lock {name}: job {job} did not succeed at {device}; it is free once one does \
             there, or somebody breaks it"
        ),
        (Some(device), None) => format!("waits for lock {name}, held by {holder} for {device}"),
        (None, _) => format!("waits for lock {name}, held by {holder}"),
    }
}

/// What a job wants locked, and the device for which.
fn locks_of(plan: &Plan, spec: &plan::Job) -> impl Iterator<Item = (LockKey, Option<DeviceName>)> {
    let named = plan.lock.iter().chain(&spec.lock);
    let named = named.map(|name| (Subject::Named(name.clone()), None));
    let device = spec.exclusive.iter().map(|it| (it.subject(), Some(it.device.clone())));
    let subjects: Vec<_> = named.chain(device).collect();
    let partition = spec.partition.clone();
    let key = move |(name, device)| (LockKey { partition: partition.clone(), name }, device);
    subjects.into_iter().map(key)
}

/// A queued job and a lock that it wants.
struct Waiting {
    key: LockKey,
    device: Option<DeviceName>,
    job: JobId,
}

/// Every queued job, with each lock that it wants.
fn waiting(view: &View) -> Result<Vec<Waiting>, view::Error> {
    let mut waiting = Vec::new();
    for run in view.active()? {
        let Some(plan) = view.plan(run)? else { continue };
        for (spec, job) in plan.jobs.iter().zip(view.jobs(run)?) {
            if job.state == job::State::Queued {
                let wanted = locks_of(&plan, spec);
                waiting.extend(wanted.map(|(key, device)| Waiting { key, device, job: job.id }));
            }
        }
    }
    Ok(waiting)
}

fn shown(lock: lock::Lock, waiting: &[Waiting]) -> Lock {
    let waits =
        |it: &&Waiting| it.key == lock.key && is_in_the_way(&lock, it.device.as_ref(), it.job);
    Lock {
        waiting: waiting.iter().filter(waits).map(|it| it.job).collect(),
        partition: lock.key.partition,
        name: lock.key.name,
        holder: lock.holder,
        device: lock.device,
        failed: lock.failed,
        since_us: lock.since.0,
        in_doubt: lock.in_doubt,
    }
}
