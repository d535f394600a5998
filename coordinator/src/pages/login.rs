//! The way in, by a link that works once, and out.
//!
//! Opening the link shows a button, and only the button uses the link up: chats and mail programs
//! open links to show what is behind them.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

use super::logins::SESSION;
use super::visitor::{self, Sent};
use super::{Problem, Shell, Visitor, host, html};
use crate::api::{Api, Shared};
use crate::driver;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    shell: Shell,
    secret: String,
    hours: u64,
}

/// `GET /login/{secret}`: asks whether to open the pages here.
pub(super) async fn ask(
    State(api): State<Shared>,
    Path(secret): Path<String>,
) -> Result<Response, Problem> {
    if !api.logins.is_good(&secret, driver::now()) {
        return Err(Problem::used_link());
    }
    let shell = Shell::outside("Sign in");
    Ok(html(&Page { shell, secret, hours: SESSION / 3600 }))
}

/// `POST /login/{secret}`: turns the link into a session.
pub(super) async fn open(
    State(api): State<Shared>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = api.logins.open(&secret, driver::now()).ok_or_else(Problem::used_link)?;
    let cookie = cookie(&api, &headers, &session, SESSION);
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to("/")).into_response())
}

/// `POST /logout`: ends the session.
pub(super) async fn close(
    State(api): State<Shared>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    visitor.check(&sent)?;
    api.logins.close(&visitor.session);
    let gone = cookie(&api, &headers, "", 0);
    Ok((AppendHeaders([(SET_COOKIE, gone)]), Redirect::to("/")).into_response())
}

/// A cookie for `lasts` seconds; 0 removes it.
fn cookie(api: &Api, headers: &HeaderMap, secret: &str, lasts: u64) -> String {
    let name = visitor::cookie_name(api);
    let secure = if host::is_public(headers, &api.config.http) { "; Secure" } else { "" };
    format!("{name}={secret}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
}
