//! Who looks at a page, by the session's cookie.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use coordinator_core::actor::Actor;
use coordinator_core::token::TokenHash;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::Problem;
use super::logins::Session;
use crate::api::{Api, Failure, Shared};
use crate::{driver, token};

/// Somebody with a session.
#[derive(Clone)]
pub(super) struct Visitor {
    /// Who it is.
    pub(super) actor: Actor,
    /// What their forms must carry.
    pub(super) csrf_token: String,
    /// Hash of the session's secret.
    pub(super) session: TokenHash,
}

/// What every form sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub(super) csrf_token: String,
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let secret = read(api, &parts.headers).ok_or_else(Problem::no_session)?;
        let hash = token::hash(secret);
        let session = api.logins.session(&hash, driver::now()).ok_or_else(Problem::no_session)?;
        let Session { actor, csrf_token } = session;
        let visitor = Visitor { actor, csrf_token, session: hash };
        if visitor.is_in(api)? { Ok(visitor) } else { Err(Problem::no_session()) }
    }
}

impl Visitor {
    /// Whether the session goes on: it ends by itself, by signing out, and with its token.
    pub(super) fn is_in(&self, api: &Api) -> Result<bool, Failure> {
        let now = driver::now();
        if api.logins.session(&self.session, now).is_none() {
            return Ok(false);
        }
        let Actor::Token { name, grant } = &self.actor else { return Ok(true) };
        let token = api.view.api_token(name)?;
        Ok(token.is_some_and(|it| !it.revoked && it.expires > now && it.grant == *grant))
    }

    /// Refuses a form that no page of this session sent.
    pub(super) fn check(&self, sent: &Sent) -> Result<(), Problem> {
        let is_own = sent.csrf_token.as_bytes().ct_eq(self.csrf_token.as_bytes());
        if is_own.into() { Ok(()) } else { Err(Problem::foreign_form()) }
    }

    /// Who it is and what they may do, such as `ci: edit in fra, muc`.
    pub(super) fn rights(&self) -> String {
        let Actor::Token { name, grant } = &self.actor else { return self.actor.to_string() };
        format!("{name}: {grant}")
    }
}

fn read<'a>(api: &Api, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(api);
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split("; "))
        .find_map(|pair| pair.strip_prefix(&name)?.strip_prefix('='))
}

/// The cookie's name. Browsers tell cookies of one host's ports apart by their names only, so that
/// each coordinator has its own.
pub(super) fn cookie_name(api: &Api) -> String {
    format!("garrison_session_{}", api.ca_fingerprint.get(..8).unwrap_or_default())
}
