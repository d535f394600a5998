//! The stream in JetStream: made or checked, its end looked at, written to.
//!
//! Each event names the sequence number that the stream must have before it. So events that are on
//! their way together are stored in order or not at all, and so are two connections that overlap.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use serde::{Deserialize, Serialize};

use super::derive::Event;
use super::{Error, login};
use crate::config::{DUPLICATE_WINDOW, Nats};

/// What the stream takes.
const SUBJECTS: &str = "garrison.>";

/// How long JetStream may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which stream, and how far it was filled; to notice one that was emptied or made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// When it was made, in ns since 1970, by NATS.
    pub(super) created_ns: i64,
    /// The number of its last event.
    pub(super) sequence: u64,
}

/// A connection on which events can be published.
pub(super) struct Link {
    context: Context,
    stream: Stream,
    /// The stream as it is once all that was sent is stored.
    mark: Mark,
}

/// An event that was sent; gives its number in the stream once it is stored.
pub(super) struct Sent(PublishAckFuture);

impl Link {
    /// Connects, and makes the stream or checks it.
    pub(super) async fn open(nats: &Nats) -> Result<Link, Error> {
        let client = login::options(nats)?.connect(&nats.urls).await?;
        let context = ContextBuilder::new().timeout(PATIENCE).build(client);
        let wanted = wanted(nats);
        let stream = context.get_or_create_stream(wanted.clone()).await;
        let stream = stream.map_err(|error| Error::Stream {
            name: nats.stream.clone(),
            what: error.to_string(),
        })?;
        let info = stream.cached_info();
        if let Some(what) = difference(&wanted, &info.config) {
            return Err(Error::Stream { name: nats.stream.clone(), what });
        }
        let created = info.created.unix_timestamp_nanos();
        let mark = Mark {
            created_ns: i64::try_from(created).unwrap_or_default(),
            sequence: info.state.last_sequence,
        };
        Ok(Link { context, stream, mark })
    }

    /// The stream as it is.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// The id of the stream's last message; none if it has none any more.
    pub(super) async fn last_id(&self) -> Result<Option<String>, Error> {
        if self.mark.sequence == 0 {
            return Ok(None);
        }
        match self.stream.get_raw_message(self.mark.sequence).await {
            Ok(message) => {
                let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
                Ok(id.map(|id| id.as_str().to_owned()))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::Stream {
                name: self.stream.cached_info().config.name.clone(),
                what: error.to_string(),
            }),
        }
    }

    /// Sends an event, to be stored right after the one before it.
    pub(super) async fn send(&mut self, event: Event) -> Result<Sent, Error> {
        let message = PublishMessage::build()
            .message_id(&event.id)
            .expected_last_sequence(self.mark.sequence)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .payload(event.payload.into());
        let sent = self.context.send_publish(event.subject, message).await?;
        self.mark.sequence += 1;
        Ok(Sent(sent))
    }
}

impl Sent {
    /// Returns once it is stored.
    pub(super) async fn stored(self) -> Result<u64, Error> {
        Ok(self.0.await?.sequence)
    }
}

/// The stream as it is made.
fn wanted(nats: &Nats) -> Config {
    Config {
        name: nats.stream.clone(),
        description: Some("What happens in garrison".to_owned()),
        subjects: vec![SUBJECTS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: nats.max_age,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: nats.replicas,
        ..Config::default()
    }
}

/// What of a stream that was there keeps events from being stored as they should be. How much and
/// for how long it keeps is its owner's business.
fn difference(wanted: &Config, found: &Config) -> Option<String> {
    let mut differences = Vec::new();
    if found.subjects != wanted.subjects {
        differences.push(format!("it takes {}, not {SUBJECTS}", found.subjects.join(", ")));
    }
    if found.duplicate_window < wanted.duplicate_window {
        differences.push(format!(
            "its duplicate window is {:?}, less than {:?}",
            found.duplicate_window, wanted.duplicate_window
        ));
    }
    if found.retention != wanted.retention {
        differences.push("events leave it when they are consumed, not by its limits".to_owned());
    }
    if found.no_ack {
        differences.push("it does not acknowledge what it stores".to_owned());
    }
    if found.sealed || found.mirror.is_some() {
        differences.push("it takes nothing: it is sealed, or a mirror".to_owned());
    }
    let advice = "change it with 'nats stream edit', or configure another under nats.stream";
    (!differences.is_empty()).then(|| format!("{}; {advice}", differences.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_loses_or_refuses_events_is_told_in_words() {
        let nats: Nats = toml::from_str("urls = ['nats://a']").unwrap();
        let wanted = wanted(&nats);
        let edited = Config { max_age: Duration::ZERO, num_replicas: 3, ..wanted.clone() };
        assert_eq!(difference(&wanted, &edited), None);
        let other = Config {
            subjects: vec!["a.>".to_owned(), "b".to_owned()],
            duplicate_window: Duration::from_secs(1),
            retention: RetentionPolicy::WorkQueue,
            no_ack: true,
            sealed: true,
            ..wanted.clone()
        };
        let said = difference(&wanted, &other).unwrap();
        for part in ["takes a.>, b", "1s, less than 120s", "consumed", "acknowledge", "sealed"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
