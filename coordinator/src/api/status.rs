//! `/api/v1/status`: in short how the coordinator is, and how far others were told.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use coordinator_core::actor::Role;

use super::health::look;
use super::types::{Feed, PartitionStatus, Runs, Status, Trouble};
use super::{Api, Caller, Failure, Shared};
use crate::driver;

/// The partitions that the caller sees; runs and feeds concern all partitions, so they are shown to who
/// may see all.
pub(super) async fn show(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Status>, Failure> {
    let counts = look(&api).await?;
    let configured = api.config.partitions.iter().map(|partition| &partition.name);
    let others = counts.agents.keys().chain(counts.queued.keys()).chain(counts.gates.keys());
    let names: BTreeSet<_> = configured.chain(others).filter(|name| caller.sees(name)).collect();
    let partitions = names.into_iter().map(|name| {
        let agents = counts.agents.get(name).copied().unwrap_or_default();
        PartitionStatus {
            partition: name.clone(),
            connected: agents.connected,
            away: agents.away,
            queued: counts.queued.get(name).copied().unwrap_or_default(),
            gates: counts.gates.get(name).copied().unwrap_or_default(),
        }
    });
    let partitions = partitions.collect();
    let sees_all = caller.0.may_everywhere(Role::View);
    let runs = Runs { active: counts.runs - counts.runs_waiting, waiting: counts.runs_waiting };
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        partitions,
        runs: sees_all.then_some(runs),
        events: sees_all.then(|| feed(&api, "events")).flatten(),
        statuses: sees_all.then(|| feed(&api, "statuses")).flatten(),
    }))
}

/// How far a feed was told; none if it is not configured.
fn feed(api: &Api, name: &str) -> Option<Feed> {
    let progress = api.metrics.feed(name)?;
    let (behind, waited) = progress.lag(*api.driver.committed().borrow(), driver::now());
    let trouble = progress.trouble();
    Some(Feed {
        behind,
        waited_us: u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
        trouble: trouble.map(|it| Trouble { since_us: it.since.0, reason: it.reason }),
    })
}
