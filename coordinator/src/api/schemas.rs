//! `/schemas`: what others can rely on of events; anybody may ask.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Failure;
use crate::events::schema;

/// The schema of any event of version 1.
pub(super) async fn events() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/schema+json")], schema::of_all().to_string())
}

/// The schema of a topic's events, such as `job.finished`.
pub(super) async fn event(Path(topic): Path<String>) -> Result<impl IntoResponse, Failure> {
    let schema = schema::of(&topic);
    let schema =
        schema.ok_or_else(|| Failure::not_found(format!("there is no topic '{topic}'")))?;
    Ok(([(CONTENT_TYPE, "application/schema+json")], schema.to_string()))
}
