//! `/hooks/…`: webhooks of forges. They carry no token of ours but what shows that they are the forge's
//! own.

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
use crate::driver::{self, AskError};
use crate::forge::{self, Forge};

/// Largest body, in bytes. A push with the 2,048 commits that GitHub lists at most stays well below;
/// the other forges list fewer.
const BODY: usize = 8 << 20;

/// The limit of GitHub and of GitLab, in bytes.
const MOST: usize = 25 << 20;

/// Webhooks read at once: with [`BODY`] it bounds what strangers can have us hold.
const AT_ONCE: usize = 16;

/// How long a webhook may take to come, its turn included; GitHub and GitLab wait for 10 s, Gitea and
/// Forgejo for 5 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets in so many at once.
pub(crate) fn gate() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

pub(super) async fn take(
    State(api): State<Shared>,
    Path((kind, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Hook>), Failure> {
    let forge = api.forges.find(&kind, &name).ok_or_else(|| {
        Failure::not_found("there is no such forge of that kind in the configuration")
    })?;
    let envelope = forge.envelope(&headers)?;
    let reading = async { (api.hooks.acquire().await, read(body).await) };
    let (_turn, body) = tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    let body = body?;
    let delivery = envelope.delivery;
    let hook = forge.open(&envelope, &body, driver::now()).map_err(|error| {
        warn!(forge = %forge.name(), delivery, %error, "webhook refused");
        Failure::from(error)
    })?;
    drop(body);
    let key = format!("{kind}:{name}:{delivery}");
    match hook {
        forge::Hook::Ping => Ok(taken("pong".to_owned())),
        forge::Hook::Ignored { reason } => Ok(taken(format!("ignored: {reason}"))),
        forge::Hook::Push { repository, reference, commit, before, login } => {
            let reference = triggers::full(&reference)
                .ok_or_else(|| Failure::invalid(format!("{reference:?} is no reference")))?;
            let cause = Cause::Push { commit, before };
            trigger(&api, forge, login, Ask::Trigger { key, repository, reference, cause }).await
        }
        forge::Hook::PullRequest { repository, number, reference, commit, branch, base, login } => {
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
        } else if length > MOST {
            break;
        }
    }
    if length > BODY {
        let words = format!("the body is larger than {} MiB", BODY >> 20);
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    Ok(kept.freeze())
}

fn bad_request(message: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, message)
}

impl From<forge::Error> for Failure {
    fn from(error: forge::Error) -> Failure {
        let status = match &error {
            forge::Error::Signature => StatusCode::UNAUTHORIZED,
            forge::Error::Header { .. } | forge::Error::Delivery(_) | forge::Error::Payload(_) => {
                StatusCode::BAD_REQUEST
            }
            forge::Error::UnknownRepository(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Failure::new(status, error.to_string())
    }
}
