//! `/hooks/…`: webhooks of forges. They carry no token but a signature over their body.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::BytesMut;
use coordinator_core::actor::Actor;
use coordinator_core::event::{Answer, Ask};
use coordinator_core::trigger::Cause;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::types::Hook;
use super::{Failure, Shared, triggers};
use crate::config::ForgeKind;
use crate::driver::AskError;
use crate::forge::{Forge, github};
use crate::git::PULL_REQUESTS;

/// Largest body, in bytes. A push with the 2,048 commits that GitHub lists at most stays well below.
const BODY: usize = 8 << 20;

/// GitHub's own limit, in bytes.
const GITHUB_MOST: usize = 25 << 20;

/// Webhooks read at once: with [`BODY`] it bounds what strangers can have us hold.
const AT_ONCE: usize = 16;

/// How long a webhook may take to come, its turn included; GitHub itself waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest delivery id, in bytes; GitHub's are UUIDs.
const DELIVERY: usize = 128;

/// Lets in so many at once.
pub(crate) fn gate() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

pub(super) async fn github(
    State(api): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Hook>), Failure> {
    let forge = api.forges.find(&name, ForgeKind::Github);
    let forge = forge.ok_or_else(|| {
        Failure::not_found("there is no such forge of kind 'github' in the configuration")
    })?;
    let signature = header(&headers, "x-hub-signature-256")?;
    let event = header(&headers, "x-github-event")?;
    let delivery = header(&headers, "x-github-delivery")?;
    if delivery.is_empty() || delivery.len() > DELIVERY {
        return Err(bad_request("X-GitHub-Delivery is no delivery's id"));
    }
    let reading = async { (api.hooks.acquire().await, read(body).await) };
    let (_turn, body) = tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    let body = body?;
    let hook = github::read(forge, signature, event, &body).map_err(|error| {
        warn!(forge = %forge.name(), delivery, %error, "webhook refused");
        Failure::from(error)
    })?;
    drop(body);
    let key = format!("github:{}:{delivery}", forge.name());
    match hook {
        github::Hook::Ping => Ok(taken("pong".to_owned())),
        github::Hook::Ignored { reason } => Ok(taken(format!("ignored: {reason}"))),
        github::Hook::Push { repository, reference, commit, before, login } => {
            let reference = triggers::full(&reference)
                .ok_or_else(|| Failure::invalid(format!("{reference:?} is no reference")))?;
            let cause = Cause::Push { commit, before };
            trigger(&api, forge, login, Ask::Trigger { key, repository, reference, cause }).await
        }
        github::Hook::PullRequest { repository, number, commit, branch, base, login } => {
            let reference = format!("{PULL_REQUESTS}{number}/head");
            let cause = Cause::PullRequest { number, commit, branch, base };
            trigger(&api, forge, login, Ask::Trigger { key, repository, reference, cause }).await
        }
    }
}

/// Answers once the trigger is durable.
async fn trigger(
    api: &Shared,
    forge: &Forge,
    login: String,
    ask: Ask,
) -> Result<(StatusCode, Json<Hook>), Failure> {
    let actor = Actor::Forge { forge: forge.name().to_string(), login };
    match api.driver.ask(actor, ask).await? {
        Answer::Triggered { trigger, new } => {
            info!(forge = %forge.name(), trigger = trigger.0, new, "webhook");
            let (status, message) = if new {
                (StatusCode::ACCEPTED, "triggered")
            } else {
                (StatusCode::OK, "triggered before")
            };
            Ok((status, Json(Hook { message: message.to_owned(), trigger: Some(trigger.0) })))
        }
        Answer::Done | Answer::Enrolled(_) => Err(AskError::Stopped.into()),
    }
}

fn taken(message: String) -> (StatusCode, Json<Hook>) {
    (StatusCode::OK, Json(Hook { message, trigger: None }))
}

/// A body that is too large is read to its end but not kept: a forge that is cut off while it
/// sends would not show the answer.
async fn read(body: Body) -> Result<Bytes, Failure> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut length) = (BytesMut::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| bad_request(error.to_string()))?;
        length += chunk.len();
        if length <= BODY {
            kept.extend_from_slice(&chunk);
        } else if length > GITHUB_MOST {
            break;
        }
    }
    if length > BODY {
        let words = format!("the body is larger than {} MiB", BODY >> 20);
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    Ok(kept.freeze())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Failure> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| bad_request(format!("the header {name} is missing: is this GitHub?")))
}

fn bad_request(message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, message)
}

impl From<github::Error> for Failure {
    fn from(error: github::Error) -> Failure {
        let status = match &error {
            github::Error::Signature => StatusCode::UNAUTHORIZED,
            github::Error::Payload(_) => StatusCode::BAD_REQUEST,
            github::Error::UnknownRepository(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Failure::new(status, error.to_string())
    }
}
