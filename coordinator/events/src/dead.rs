//! Dead letters: what was attempted too often, or was refused.
//!
//! They have a stream of their own. The publisher says of each event which number it is to have in
//! its stream, so a message of somebody else there would break its order; and a reader of
//! `garrison.>` or `garrison.*.job.*` must not take a dead letter for an event.

use std::error::Error as _;
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context, ErrorCode};
use bytes::Bytes;
use serde::Serialize;
use tracing::warn;

use crate::{Connection, Error, Event, Message, Replay};

/// The stream; it is made when a channel first needs it.
pub const STREAM: &str = "GARRISON_DEAD";

/// What it takes: `garrison-dead.CHANNEL.SUBJECT`.
const SUBJECTS: &str = "garrison-dead.>";

/// How long it keeps them.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the same message is a dead letter only once.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Headers that say why it is one.
const REASON: &str = "Garrison-Reason";
const CHANNEL: &str = "Garrison-Channel";
const ATTEMPTS: &str = "Garrison-Attempts";
const ID: &str = "Garrison-Id";
const SEQUENCE: &str = "Garrison-Sequence";
const ORIGIN: &str = "Garrison-Stream";

/// How long a payload was that is left out.
const LEFT_OUT: &str = "Garrison-Left-Out";

/// How headers begin that a letter has of its own.
const OURS: [&str; 2] = ["Nats-", "Garrison-"];

/// Most of a text that a header keeps, in bytes.
const WORDS: usize = 1000;

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// In which channel it was given up.
    pub channel: String,
    /// Where the message was published to, such as `garrison.fra-equ01.job.finished`.
    pub subject: String,
    /// The message's id.
    pub id: String,
    /// Why it was given up, in words.
    pub reason: String,
    /// How often it had been given out.
    pub attempts: u32,
    /// The stream that it came from, and its number there.
    pub stream: String,
    /// See `stream`.
    pub sequence: u64,
    /// When it was given up, in µs since 1970, by NATS.
    pub given_up_us: u64,
    /// How many bytes were published, if they are left out: with them it was longer than NATS takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// What was published: JSON as it is, anything else as a text; null if it is left out.
    pub message: serde_json::Value,
}

/// The dead letters that are kept, in the order in which they were given up.
pub struct Letters(Option<Replay>);

impl Letters {
    /// Those of a channel, or of all.
    ///
    /// # Errors
    /// If NATS does not answer.
    pub async fn open(connection: &Connection, channel: Option<&str>) -> Result<Letters, Error> {
        let subject = subject(channel.unwrap_or("*"), ">");
        match Replay::open(connection, STREAM, &subject, 0).await {
            Ok(replay) => Ok(Letters(Some(replay))),
            // Nothing was ever given up.
            Err(Error::Missing(_)) => Ok(Letters(None)),
            Err(error) => Err(error),
        }
    }

    /// The next one; none once those are read that were there in the beginning.
    ///
    /// # Errors
    /// If NATS went away.
    pub async fn next(&mut self) -> Result<Option<Letter>, Error> {
        let Some(replay) = &mut self.0 else { return Ok(None) };
        replay.message().await?.map(|message| Letter::of(&message)).transpose()
    }
}

impl Letter {
    fn of(message: &jetstream::Message) -> Result<Letter, Error> {
        let (Event { subject, payload, .. }, _) = Event::of(message)?;
        let stored = message.info().map_err(Error::api)?.published.unix_timestamp_nanos() / 1000;
        let header = |name: &str| {
            let value = message.headers.as_ref().and_then(|it| it.get(name));
            value.map(|it| it.as_str().to_owned()).unwrap_or_default()
        };
        let channel = header(CHANNEL);
        let subject = subject.strip_prefix(&self::subject(&channel, "")).unwrap_or(&subject);
        let text = || String::from_utf8_lossy(&payload).into_owned().into();
        let left_out = header(LEFT_OUT).parse().ok();
        let message = match left_out {
            None => serde_json::from_slice(&payload).unwrap_or_else(|_| text()),
            Some(_) => serde_json::Value::Null,
        };
        Ok(Letter {
            subject: subject.to_owned(),
            channel,
            id: header(ID),
            reason: header(REASON),
            attempts: header(ATTEMPTS).parse().unwrap_or_default(),
            stream: header(ORIGIN),
            sequence: header(SEQUENCE).parse().unwrap_or_default(),
            given_up_us: u64::try_from(stored).unwrap_or_default(),
            left_out,
            message,
        })
    }
}

/// The subject of a channel's dead letters from `subject`, which may have wildcards.
pub fn subject(channel: &str, subject: &str) -> String {
    format!("garrison-dead.{channel}.{subject}")
}

/// Makes the stream if it is not there.
pub(crate) async fn prepare(context: &Context) -> Result<(), Error> {
    let config = Config {
        name: STREAM.to_owned(),
        description: Some("What channels of garrison's events could not deal with".to_owned()),
        subjects: vec![SUBJECTS.to_owned()],
        storage: StorageType::File,
        max_age: MAX_AGE,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: 1,
        ..Config::default()
    };
    let failed = |what: String| Error::Stream { name: STREAM.to_owned(), what };
    let stream = context.get_or_create_stream(config).await;
    let stream = stream.map_err(|error| failed(error.to_string()))?;
    let found = &stream.cached_info().config;
    if found.subjects != [SUBJECTS] || found.no_ack {
        let what =
            "it must take garrison-dead.> and acknowledge; change it with 'nats stream edit'";
        return Err(failed(what.to_owned()));
    }
    Ok(())
}

/// Returns once the message is stored as a dead letter.
pub(crate) async fn bury(message: &Message, reason: &str) -> Result<(), Error> {
    let Message { event, attempts, member, .. } = message;
    if !member.buries {
        warn!(
            id = event.id,
            subject = event.subject,
            attempts,
            reason,
            "a message was given up; a channel with a name would keep a dead letter"
        );
        return Ok(());
    }
    let left_out = store(message, reason).await?;
    warn!(
        channel = member.name,
        id = event.id,
        subject = event.subject,
        attempts,
        reason,
        left_out,
        "a message became a dead letter"
    );
    Ok(())
}

/// Stores as much of it as NATS takes; gives how many bytes of payload that left out.
async fn store(message: &Message, reason: &str) -> Result<Option<usize>, Error> {
    let Message { event, headers, member, .. } = message;
    let (connection, _) = member.current()?;
    let context = &connection.context;
    let subject = subject(&member.name, &event.subject);
    let mut own = told(message, reason);
    let mut all = own.clone();
    // NATS' own say what the original was to be checked against.
    let is_foreign = |name: &str| OURS.iter().all(|ours| !name.starts_with(ours));
    for (name, values) in headers.iter().filter(|(name, _)| is_foreign(name.as_ref())) {
        for value in values {
            all.append(name.clone(), value.clone());
        }
    }
    let payload = Bytes::copy_from_slice(&event.payload);
    let mut left_out = None;
    let mut sent = send(context, &subject, all, payload.clone()).await;
    if sent.as_ref().is_err_and(is_too_long) {
        sent = send(context, &subject, own.clone(), payload).await;
    }
    if sent.as_ref().is_err_and(is_too_long) {
        left_out = Some(event.payload.len());
        own.insert(LEFT_OUT, event.payload.len().to_string());
        sent = send(context, &subject, own, Bytes::new()).await;
    }
    sent.map_err(Error::publish)?;
    Ok(left_out)
}

/// What headers say of a message.
fn told(message: &Message, reason: &str) -> HeaderMap {
    let Message { event, attempts, created_ns, member, .. } = message;
    let mut headers = HeaderMap::new();
    // An id of its own is one of its source only, and a number is one of that very stream.
    let id = format!("{}.{}.{created_ns}.{}", member.name, member.stream, event.sequence);
    headers.insert(NATS_MESSAGE_ID, one_line(&id));
    headers.insert(REASON, one_line(reason));
    headers.insert(CHANNEL, one_line(&member.name));
    headers.insert(ATTEMPTS, attempts.to_string());
    headers.insert(ID, one_line(&event.id));
    headers.insert(ORIGIN, one_line(&member.stream));
    headers.insert(SEQUENCE, event.sequence.to_string());
    headers
}

/// Returns once it is stored.
async fn send(
    context: &Context,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), PublishError> {
    let letter = PublishMessage::build().headers(headers).payload(payload);
    context.send_publish(subject.to_owned(), letter).await?.await?;
    Ok(())
}

/// Whether NATS takes no message of that length, or the stream none.
fn is_too_long(error: &PublishError) -> bool {
    let told = error.source().and_then(|it| it.downcast_ref::<jetstream::Error>());
    let limits =
        [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];
    error.kind() == PublishErrorKind::MaxPayloadExceeded
        || told.is_some_and(|it| limits.contains(&it.error_code()))
}

/// What a header may hold, cut at [`WORDS`].
fn one_line(words: &str) -> String {
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain[..plain.floor_char_boundary(WORDS)].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_header() {
        assert_eq!(one_line("no\r\nsuch device\n"), "no  such device");
        assert_eq!(one_line(&"ä".repeat(900)).len(), WORDS);
    }
}
