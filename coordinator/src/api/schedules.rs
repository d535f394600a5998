//! `/api/v1/schedules`.

use axum::Json;
use axum::extract::State;
use coordinator_core::schedule::{Fired, Scheduled};
use coordinator_core::trigger;
use pipelines::schedule::Missed;

use super::types::{LastStart, Schedule};
use super::{Caller, Failure, Shared};
use crate::store::view::{self, View};

/// Schedules of pipelines that run in a partition which the caller may see, the next due first.
pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Schedule>>, Failure> {
    let mut schedules = api.view.schedules()?;
    schedules.retain(|it| it.partitions.iter().any(|partition| caller.sees(partition)));
    schedules.sort_by_key(|it| it.next);
    let shown = schedules.into_iter().map(|it| shown(&api.view, it));
    Ok(Json(shown.collect::<Result<_, _>>()?))
}

fn shown(view: &View, scheduled: Scheduled) -> Result<Schedule, view::Error> {
    let next_us = scheduled.next.map_or(0, |at| at.0);
    let last = scheduled.last.map(|fired| last(view, fired)).transpose()?;
    let schedule = scheduled.key.schedule;
    Ok(Schedule {
        pipeline: scheduled.pipeline,
        repository: scheduled.key.repository,
        file: scheduled.key.file,
        next_local: schedule.local(next_us),
        next_us,
        last,
        cron: schedule.cron,
        timezone: schedule.timezone,
        inputs: schedule.inputs,
        missed: match schedule.missed {
            Missed::Once => "once".to_owned(),
            Missed::Skip => "skip".to_owned(),
        },
        reference: scheduled.reference,
        commit: scheduled.commit,
    })
}

fn last(view: &View, fired: Fired) -> Result<LastStart, view::Error> {
    let runs = match view.trigger(fired.trigger)?.map(|trigger| trigger.state) {
        Some(trigger::State::Resolved { runs }) => runs,
        Some(trigger::State::Pending | trigger::State::Failed { .. }) | None => Vec::new(),
    };
    Ok(LastStart { due_us: fired.due.0, trigger: fired.trigger.0, runs })
}
