//! The stream in JetStream: made or checked, its end looked at, written to.
//!
//! Each event names the sequence number that the stream must have before it. So events that are on
//! their way together are stored in order or not at all, and so are two connections that overlap.

use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, stream};
use serde::{Deserialize, Serialize};

use crate::{Connection, Error, Server, message};

/// What the stream takes.
const SUBJECTS: &str = "garrison.>";

/// How long NATS recognises what comes twice; no event is kept for less.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The stream of events, as it is made if it is not there.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// How long it keeps events.
    pub max_age: Duration,
    /// How many servers keep each event.
    pub replicas: usize,
}

/// Which stream, and how far it was filled; to notice one that was emptied or made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When it was made, in ns since 1970, by NATS.
    pub created_ns: i64,
    /// The number of its last event.
    pub sequence: u64,
}

/// A connection on which events can be published.
pub struct Link {
    context: Context,
    stream: stream::Stream,
    /// The stream as it is once all that was sent is stored.
    mark: Mark,
}

/// A stream's last message.
pub struct Last {
    /// Its `Nats-Msg-Id`; empty if it has none.
    pub id: String,
    /// Whose event it is, if it is one.
    pub source: Option<String>,
}

/// What of a stored event tells whose it is.
#[derive(Deserialize)]
struct Stored {
    source: String,
}

/// An event that was sent; gives its number in the stream once it is stored.
pub struct Sent(PublishAckFuture);

impl Link {
    /// Connects, and makes the stream or checks it. A connection that breaks is tried once at each
    /// server; then a new one is to be opened, by which what became of the stream is looked at.
    ///
    /// # Errors
    /// If NATS cannot be reached, or the stream cannot be made or loses what is stored in it.
    pub async fn open(server: &Server, spec: &Stream) -> Result<Link, Error> {
        let context = Connection::open_once(server).await?.context;
        let wanted = wanted(spec);
        let stream = context.get_or_create_stream(wanted.clone()).await;
        let stream = stream
            .map_err(|error| Error::Stream { name: spec.name.clone(), what: error.to_string() })?;
        let info = stream.cached_info();
        if let Some(what) = difference(&wanted, &info.config) {
            return Err(Error::Stream { name: spec.name.clone(), what });
        }
        let mark =
            Mark { created_ns: message::created(&stream), sequence: info.state.last_sequence };
        Ok(Link { context, stream, mark })
    }

    /// The stream as it is.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The stream's last message; none if it has none any more.
    ///
    /// # Errors
    /// If NATS does not say.
    pub async fn last(&self) -> Result<Option<Last>, Error> {
        if self.mark.sequence == 0 {
            return Ok(None);
        }
        match self.stream.get_raw_message(self.mark.sequence).await {
            Ok(message) => {
                let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
                let event = serde_json::from_slice::<Stored>(&message.payload).ok();
                Ok(Some(Last {
                    id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
                    source: event.map(|event| event.source),
                }))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// An error about this stream.
    pub fn error(&self, what: String) -> Error {
        Error::Stream { name: self.stream.cached_info().config.name.clone(), what }
    }

    /// Sends an event, to be stored right after the one before it. The same id is stored once.
    ///
    /// # Errors
    /// If it could not be sent.
    pub async fn send(&mut self, id: &str, subject: String, json: Vec<u8>) -> Result<Sent, Error> {
        let message = PublishMessage::build()
            .message_id(id)
            .expected_last_sequence(self.mark.sequence)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .payload(json.into());
        let sent = self.context.send_publish(subject, message).await.map_err(Error::publish)?;
        self.mark.sequence += 1;
        Ok(Sent(sent))
    }
}

impl Sent {
    /// Returns its number in the stream once it is stored.
    ///
    /// # Errors
    /// If it was not stored, or nobody can say.
    pub async fn stored(self) -> Result<u64, Error> {
        Ok(self.0.await.map_err(Error::publish)?.sequence)
    }
}

/// The stream as it is made.
fn wanted(spec: &Stream) -> Config {
    Config {
        name: spec.name.clone(),
        description: Some("What happens in garrison".to_owned()),
        subjects: vec![SUBJECTS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: spec.max_age,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: spec.replicas,
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
        let max_age = Duration::from_secs(3600);
        let wanted = wanted(&Stream { name: "GARRISON".to_owned(), max_age, replicas: 1 });
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
