//! `/metrics`: for Prometheus.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use coordinator_core::actor::Role;

use super::health::look;
use super::{Caller, Failure, Shared};
use crate::driver;
use crate::metrics::Now;

/// All metrics, for whoever may see everything: they tell of all partitions.
pub(super) async fn show(
    State(api): State<Shared>,
    Caller(actor): Caller,
) -> Result<impl IntoResponse, Failure> {
    if !actor.may_everywhere(Role::View) {
        let why = format!("metrics need view in all partitions; {actor} lacks it");
        return Err(Failure::new(StatusCode::FORBIDDEN, why));
    }
    let now = Now {
        counts: &look(&api).await?,
        time: driver::now(),
        partitions: api.config.partitions.iter().map(|partition| &partition.name).collect(),
        last: *api.driver.committed().borrow(),
        log_bytes: api.logs.received(),
    };
    Ok(([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], api.metrics.text(&now)))
}
