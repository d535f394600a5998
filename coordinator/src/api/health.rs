//! `/healthz`: whether the coordinator can do anything.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use coordinator_core::core::counts::Counts;

use super::{Api, Failure, Shared};

/// How long the driver may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says ok if the driver answers and the store has room; anybody may ask.
pub(super) async fn show(State(api): State<Shared>) -> Result<Json<serde_json::Value>, Failure> {
    look(&api).await?;
    Ok(Json(serde_json::json!({ "status": "ok" })))
}

/// What the driver says that there is to do.
pub(super) async fn look(api: &Api) -> Result<Counts, Failure> {
    match tokio::time::timeout(PATIENCE, api.driver.look()).await {
        Ok(counts) => Ok(counts?),
        Err(_) => Err(Failure::unavailable("the driver does not answer")),
    }
}
