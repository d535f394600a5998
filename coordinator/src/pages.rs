//! Pages for people: rendered on the server, kept up to date by server-sent events, whole without
//! JavaScript.
//!
//! They show what the API's own functions give, so both see and refuse the same. Invariant: every
//! page but assets and `/login` needs a session, and every form carries its session's token.

mod host;
pub mod logins;
mod visitor;
mod login;
mod problem;
mod runs;
mod run;
mod gates;
mod environments;
mod log;
mod artifacts;
mod pager;
mod output;
mod style;
mod live;
mod words;
mod assets;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use self::problem::Problem;
use self::visitor::Visitor;
use crate::api::Api;

/// What a browser may load for a page: our own files and nothing else, no inline script or style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// All pages.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/", get(runs::show))
        .route("/live", get(runs::live))
        .route("/runs", get(|| async { Redirect::to("/") }))
        .route("/runs/{id}", get(run::show))
        .route("/runs/{id}/live", get(run::live))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/runs/{id}/retry", post(run::retry))
        .route("/runs/{id}/override-window", post(run::override_window))
        .route("/gates", get(gates::show))
        .route("/gates/live", get(gates::live))
        .route("/gates/{job}/approve", post(gates::approve))
        .route("/gates/{job}/reject", post(gates::reject))
        .route("/gates/{job}/acknowledge", post(gates::acknowledge))
        .route("/environments", get(environments::list))
        .route("/environments/{partition}/{*name}", get(environments::show))
        .route("/attempts/{id}/log", get(log::show))
        .route("/attempts/{id}/live", get(log::live))
        .route("/attempts/{id}/raw", get(log::raw))
        .route("/attempts/{id}/artifacts", get(artifacts::show))
        .route("/attempts/{id}/artifacts/{*path}", get(artifacts::file))
        .route("/login/{secret}", get(login::ask).post(login::open))
        .route("/logout", post(login::close))
        .route("/assets/{name}", get(assets::show))
        .layer(from_fn_with_state(Arc::clone(&api), host::check))
        .layer(map_response(guard))
        .with_state(api)
}

/// Adds what keeps a page's content and address to itself.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What stands around each page.
struct Shell {
    title: String,
    /// Whose session it is; none outside of one.
    who: Option<Visitor>,
}

impl Shell {
    fn new(title: impl Into<String>, visitor: &Visitor) -> Shell {
        Shell { title: title.into(), who: Some(visitor.clone()) }
    }

    /// Outside of a session.
    fn outside(title: impl Into<String>) -> Shell {
        Shell { title: title.into(), who: None }
    }
}

/// A template's text as an answer.
fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
