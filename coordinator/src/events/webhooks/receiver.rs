//! The receiver of a webhook: one request for one event, as Standard Webhooks 1.0.0 has it.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::StatusCode;

use super::Gone;
use crate::config;
use crate::driver;
use crate::events::derive::Event;
use crate::outgoing::{self, Answer};
use crate::secret::{self, Secret};
use crate::signing::Key;

/// Where events are posted to. A clone is the same.
#[derive(Clone)]
pub(super) struct Receiver {
    agent: Agent,
    url: Arc<str>,
    key: Key,
}

/// An event as it is posted.
#[derive(Clone)]
pub(super) struct Message {
    id: Arc<str>,
    body: Arc<[u8]>,
}

/// Why nothing can be posted.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The key cannot be had.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// It is no key.
    #[error(
        "{0} holds no key: make one with 'echo whsec_$(openssl rand -base64 32)' and give it to the \
         receiver too"
    )]
    Key(std::path::PathBuf),
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] outgoing::Error),
}

impl Message {
    /// In the id `-` stands for the dots of the event's own, which would not be told from those that
    /// are signed between id, time and body.
    pub(super) fn new(event: Event) -> Message {
        Message { id: event.id.replace('.', "-").into(), body: event.payload.into() }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Receiver {
    /// Reads key and certificates; connects to nobody. A request gives up after `patience`.
    pub(super) fn open(
        webhook: &config::Webhook,
        patience: Duration,
    ) -> Result<Receiver, Unusable> {
        let path = &webhook.secret_file;
        let key = Key::read(Secret::read(path)?.reveal());
        Ok(Receiver {
            agent: outgoing::agent(webhook.ca_file.as_deref(), patience)?,
            url: webhook.url.as_str().into(),
            key: key.ok_or_else(|| Unusable::Key(path.clone()))?,
        })
    }

    /// Posts an event.
    ///
    /// # Errors
    /// If the receiver is gone for good (410).
    pub(super) async fn post(&self, message: &Message) -> Result<Answer, Gone> {
        let (receiver, message) = (self.clone(), message.clone());
        match tokio::task::spawn_blocking(move || receiver.send(&message)).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only a stopping runtime ends it, and then nobody waits.
            Err(_) => std::future::pending().await,
        }
    }

    fn send(&self, message: &Message) -> Result<Answer, Gone> {
        let timestamp = driver::now().0 / 1_000_000;
        let sent = self
            .agent
            .post(&*self.url)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", &*message.id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.key.sign(&message.id, timestamp, &message.body))
            .send(&message.body[..]);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Answer::Failed(error.to_string())),
        };
        let text = outgoing::text(&mut response);
        match response.status() {
            StatusCode::GONE => Err(Gone),
            status => Ok(outgoing::answer(status, response.headers(), &text, driver::now())),
        }
    }
}
