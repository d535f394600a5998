//! `/api/v1/locks` and `/api/v1/audit`.

use axum::Json;
use axum::extract::{Path, State};
use coordinator_core::actor::Role;
use coordinator_core::event::Ask;
use coordinator_core::lock::{Holder, LockKey};
use coordinator_core::{job, lock};
use pipelines::id::JobId;
use pipelines::name::{LockName, PartitionName};
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
    Path((partition, name)): Path<(PartitionName, LockName)>,
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
    let holder = |key: &LockKey| held.iter().find(|lock| lock.key == *key)?.holder;
    Ok(locks_of(plan, spec).find_map(|key| {
        let holder = holder(&key)?;
        let is_own = holder == Holder::Run(id.run) || holder == Holder::Job(id);
        (!is_own).then(|| format!("waits for lock {}, held by {holder}", key.name))
    }))
}

fn locks_of(plan: &Plan, spec: &plan::Job) -> impl Iterator<Item = LockKey> {
    let names = plan.lock.iter().chain(&spec.lock).cloned().collect::<Vec<_>>().into_iter();
    let partition = spec.partition.clone();
    names.map(move |name| LockKey { partition: partition.clone(), name })
}

/// Every queued job, with each lock that it asks for.
fn waiting(view: &View) -> Result<Vec<(LockKey, JobId)>, view::Error> {
    let mut waiting = Vec::new();
    for run in view.active()? {
        let Some(plan) = view.plan(run)? else { continue };
        for (spec, job) in plan.jobs.iter().zip(view.jobs(run)?) {
            if job.state == job::State::Queued {
                waiting.extend(locks_of(&plan, spec).map(|key| (key, job.id)));
            }
        }
    }
    Ok(waiting)
}

fn shown(lock: lock::Lock, waiting: &[(LockKey, JobId)]) -> Lock {
    let own = |job: &JobId| match lock.holder {
        Some(Holder::Run(run)) => job.run == run,
        Some(Holder::Job(holder)) => *job == holder,
        None => false,
    };
    let jobs = waiting.iter().filter(|(key, job)| *key == lock.key && !own(job));
    Lock {
        waiting: jobs.map(|(_, job)| *job).collect(),
        partition: lock.key.partition,
        name: lock.key.name,
        holder: lock.holder,
        since_us: lock.since.0,
        in_doubt: lock.in_doubt,
    }
}
