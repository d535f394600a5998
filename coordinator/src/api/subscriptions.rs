//! `/api/v1/subscriptions`.

use axum::Json;
use axum::extract::State;
use coordinator_core::subscriber::Subscriber;

use super::types::Subscription;
use super::{Caller, Failure, Shared};

/// What pipelines want of events, of those that run in a partition which the caller may see; one that
/// chooses its partitions may run in any.
pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Subscription>>, Failure> {
    let mut subscribers = api.view.subscribers()?;
    let sees = |it: &Subscriber| {
        let bound = api.config.partitions.iter();
        let mut may = bound.filter(|bound| bound.repositories.contains(&it.key.repository));
        may.any(|bound| {
            caller.sees(&bound.name)
                && (it.partitions.is_empty() || it.partitions.contains(&bound.name))
        })
    };
    subscribers.retain(sees);
    Ok(Json(subscribers.into_iter().flat_map(shown).collect()))
}

fn shown(subscriber: Subscriber) -> impl Iterator<Item = Subscription> {
    let Subscriber { key, pipeline, reference, commit, subscriptions, .. } = subscriber;
    subscriptions.into_iter().map(move |wants| Subscription {
        pipeline: pipeline.clone(),
        repository: key.repository.clone(),
        file: key.file.clone(),
        reference: reference.clone(),
        commit: commit.clone(),
        wants,
    })
}
