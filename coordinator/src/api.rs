//! The HTTP API, version 1, and who may call it.
//!
//! Invariant: every request but `/healthz` and `/schemas` carries a token, or as a webhook a signature,
//! and its actor stands in every event that comes of it.

mod agents;
pub(crate) mod artifacts;
pub(crate) mod environments;
pub(crate) mod gates;
mod groups;
mod health;
pub(crate) mod hooks;
mod login;
pub(crate) mod locks;
pub(crate) mod logs;
mod metrics;
mod programs;
pub(crate) mod runs;
mod schedules;
mod schemas;
mod secrets;
mod status;
mod subscriptions;
mod tokens;
mod triggers;
pub mod types;
pub(crate) mod windows;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use coordinator_core::actor::{Actor, Role};
use coordinator_core::event::Refusal;
use coordinator_core::token::TokenHash;
use pipelines::name::PartitionName;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::Config;
use crate::content::Contents;
use crate::driver::{self, AskError};
use crate::forge::Forges;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::pages::logins::Logins;
use crate::programs::Programs;
use crate::secrets::Secrets;
use crate::store::view::{self, View};
use crate::token;

/// Largest request body, in bytes.
const BODY: usize = 1 << 20;

/// What the handlers work with.
pub struct Api {
    /// The way to the core.
    pub driver: driver::Handle,
    /// What is remembered.
    pub view: View,
    /// Logs.
    pub logs: Logs,
    /// What attempts left.
    pub contents: Contents,
    /// The configuration.
    pub config: Arc<Config>,
    /// Whose webhooks are taken.
    pub forges: Forges,
    /// How many webhooks are read at once.
    pub hooks: tokio::sync::Semaphore,
    /// Stands in join tokens.
    pub ca_fingerprint: String,
    /// Hash of the token in the data directory.
    pub local_admin: TokenHash,
    /// Who may open the pages.
    pub logins: Logins,
    /// What agents can be upgraded to.
    pub programs: Programs,
    /// Seals values.
    pub secrets: Secrets,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Ends followers when the coordinator stops.
    pub stop: CancellationToken,
}

pub(crate) type Shared = Arc<Api>;

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(health::show))
        .route("/metrics", get(metrics::show))
        .route("/schemas/events/v1", get(schemas::events))
        .route("/schemas/events/v1/{topic}", get(schemas::event))
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/triggers", post(triggers::create))
        .route("/api/v1/triggers/{id}", get(triggers::show))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{id}", get(runs::show))
        .route("/api/v1/runs/{id}/events", get(runs::events))
        .route("/api/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{id}/retry", post(runs::retry))
        .route("/api/v1/runs/{id}/override-window", post(windows::override_window))
        .route("/api/v1/gates", get(gates::list))
        .route("/api/v1/gates/{job}/approve", post(gates::approve))
        .route("/api/v1/gates/{job}/reject", post(gates::reject))
        .route("/api/v1/gates/{job}/acknowledge", post(gates::acknowledge))
        .route("/api/v1/environments", get(environments::list))
        .route("/api/v1/environments/{partition}/{*name}", get(environments::show))
        .route("/api/v1/diffs/{partition}/{*name}", get(environments::diff))
        .route("/api/v1/attempts/{id}/log", get(logs::show))
        .route("/api/v1/attempts/{id}/artifacts", get(artifacts::list))
        .route("/api/v1/attempts/{id}/artifacts/{*path}", get(artifacts::show))
        .route("/api/v1/agents", get(agents::list))
        .route("/api/v1/agents/{partition}/{name}/token", post(agents::token))
        .route("/api/v1/agents/{partition}/{name}/revoke", post(agents::revoke))
        .route("/api/v1/agents/{partition}/{name}/cordon", post(agents::cordon))
        .route("/api/v1/agents/{partition}/{name}/uncordon", post(agents::uncordon))
        .route("/api/v1/agents/{partition}/{name}/lost", post(agents::lost))
        .route("/api/v1/agents/{partition}/{name}/upgrade", post(agents::upgrade))
        .route("/api/v1/programs", post(programs::create).layer(DefaultBodyLimit::disable()))
        .route("/api/v1/locks", get(locks::list))
        .route("/api/v1/locks/{partition}/{name}/break", post(locks::break_lock))
        .route("/api/v1/audit", get(locks::audit))
        .route("/api/v1/schedules", get(schedules::list))
        .route("/api/v1/subscriptions", get(subscriptions::list))
        .route("/api/v1/secrets", get(secrets::list).post(secrets::set))
        .route("/api/v1/secrets/delete", post(secrets::delete))
        .route("/api/v1/login-link", post(login::link))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{name}/revoke", post(tokens::revoke))
        .route("/hooks/{kind}/{forge}", post(hooks::take))
        .fallback(|| async { Failure::not_found("there is no such path") })
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(api)
}

/// Why a request was not carried out.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// A sentence for people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    /// It cannot be done now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    fn forbidden(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, message)
    }

    fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(types::Error { error: self.message })).into_response()
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        let status = match &error {
            AskError::Refused(Refusal::NotFound(_)) => StatusCode::NOT_FOUND,
            AskError::Refused(Refusal::Forbidden(_)) => StatusCode::FORBIDDEN,
            AskError::Refused(Refusal::Conflict(_)) => StatusCode::CONFLICT,
            AskError::Refused(Refusal::Unauthenticated(_)) => StatusCode::UNAUTHORIZED,
            AskError::NotDurable(_) | AskError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<view::Error> for Failure {
    fn from(error: view::Error) -> Failure {
        error!(%error, "the view cannot be read");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// A JSON body whose mistakes are told in the API's own form.
struct Body<T>(T);

impl<T: serde::de::DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: axum::extract::Request, api: &Shared) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, api).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection @ JsonRejection::BytesRejection(_)) => Err(Failure::new(
                rejection.status(),
                format!("{} (limit {BODY} bytes)", rejection.body_text()),
            )),
            Err(rejection) => Err(Failure::new(rejection.status(), rejection.body_text())),
        }
    }
}

/// Who calls.
struct Caller(Actor);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::new(StatusCode::UNAUTHORIZED, why);
        let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        let text = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| {
            refuse("this needs a token: send it as 'Authorization: Bearer TOKEN'")
        })?;
        let hash = token::hash(text);
        if equal(&hash, &api.local_admin) {
            return Ok(Caller(Actor::LocalAdmin));
        }
        let tokens = api.view.api_tokens()?;
        let token = tokens.into_iter().find(|token| equal(&token.hash, &hash));
        let token = token.ok_or_else(|| refuse("this token is not known here"))?;
        if token.revoked {
            return Err(refuse(&format!("token '{}' was revoked", token.name)));
        }
        if token.expires <= driver::now() {
            return Err(refuse(&format!("token '{}' has expired: make another", token.name)));
        }
        Ok(Caller(Actor::Token { name: token.name, grant: token.grant }))
    }
}

/// Whether two hashes are the same, in constant time.
pub(crate) fn equal(one: &TokenHash, other: &TokenHash) -> bool {
    one.0.as_bytes().ct_eq(other.0.as_bytes()).into()
}

impl Caller {
    fn sees(&self, partition: &PartitionName) -> bool {
        self.0.may(Role::View, partition)
    }
}
