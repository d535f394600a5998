//! `/api/v1/programs`: what agents can be upgraded to.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use coordinator_core::actor::Role;

use super::types::Program;
use super::{Caller, Failure, Shared};
use crate::programs::Error;
use crate::store::disk;

pub(super) async fn create(
    State(api): State<Shared>,
    Caller(actor): Caller,
    body: Body,
) -> Result<Json<Program>, Failure> {
    if !actor.may_everywhere(Role::Admin) {
        return Err(Failure::forbidden(format!(
            "sending programs needs admin in all partitions; {actor} lacks it"
        )));
    }
    let program = api.programs.take(body.into_data_stream()).await?;
    Ok(Json(Program { program: program.to_string() }))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match &error {
            Error::NoProgram => StatusCode::UNPROCESSABLE_ENTITY,
            Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Broken(_) => StatusCode::BAD_REQUEST,
            Error::Disk(source) if disk::is_full(source) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, error.to_string())
    }
}
