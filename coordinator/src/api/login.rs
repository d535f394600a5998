//! `/api/v1/login-link`.

use axum::Json;
use axum::extract::State;

use super::types::LoginLink;
use super::{Caller, Failure, Shared};
use crate::driver;

/// A link that opens the pages once, with the caller's own rights.
pub(super) async fn link(
    State(api): State<Shared>,
    Caller(actor): Caller,
) -> Result<Json<LoginLink>, Failure> {
    let link = api.logins.invite(actor, driver::now());
    let origin = api.config.http.url.as_ref();
    let url = origin.map(|origin| format!("{}{}", origin.as_str(), link.path));
    Ok(Json(LoginLink { path: link.path, url, expires_us: link.expires.0 }))
}
