//! A message that was given to a member, and what the member says of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::{self, AckKind};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::{Connection, Error, dead};

/// How long NATS may take to confirm what was said of a message, over broken connections, and each
/// try of it.
const CONFIRMED: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(3));

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest `id` of an envelope that is taken for one, in bytes.
const ID: usize = 255;

/// What a stream holds: an event of garrison, or a message of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it was published to, such as `garrison.fra-equ01.job.finished`.
    pub subject: String,
    /// By which one that comes twice is known: its `Nats-Msg-Id`, else the `id` of its CloudEvents
    /// envelope if that is of one line and at most 255 bytes, else its stream, number, and when it
    /// was stored.
    pub id: String,
    /// When it happened, in µs since 1970: when it was stored, or if that is earlier the `time` of
    /// its envelope.
    pub time_us: u64,
    /// Its number in the stream.
    pub sequence: u64,
    /// What was published; of garrison's events the envelope in JSON.
    pub payload: Vec<u8>,
}

/// A message that is to be dealt with: with none of [`ack`](Message::ack),
/// [`requeue`](Message::requeue) and [`reject`](Message::reject), it is given out again once the
/// channel's timeout is over.
pub struct Message {
    /// What it says.
    pub event: Event,
    /// How often it was given out, this time included.
    pub attempts: u32,
    pub(crate) headers: HeaderMap,
    reply: String,
    /// When its stream was made; another has other messages under the same numbers.
    pub(crate) created_ns: i64,
    pub(crate) member: Arc<Member>,
}

/// What a member's messages share with it.
pub(crate) struct Member {
    pub(crate) stream: String,
    /// The channel's name in NATS.
    pub(crate) name: String,
    /// Whether there are dead letters.
    pub(crate) buries: bool,
    /// The connection now, and when the stream that it found was made.
    current: Mutex<Option<(Connection, i64)>>,
}

/// What of a CloudEvents envelope is looked at; all else is the reader's.
#[derive(Deserialize)]
struct Envelope {
    /// Without it `id` and `time` may mean anything.
    #[serde(rename = "specversion")]
    _version: String,
    id: Option<String>,
    time: Option<Timestamp>,
}

impl Event {
    /// The partition, of an event of garrison; `_` if it is in several or in none.
    pub fn partition(&self) -> Option<&str> {
        self.subject.strip_prefix("garrison.")?.split('.').next()
    }

    /// The topic, such as `job.finished`, of an event of garrison.
    pub fn topic(&self) -> Option<&str> {
        Some(self.subject.strip_prefix("garrison.")?.split_once('.')?.1)
    }

    /// For how long it has been known, by this host's clock.
    pub fn age(&self) -> Duration {
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
        Duration::from_micros(now.saturating_sub(self.time_us))
    }

    /// What NATS gave out, and how often it did.
    pub(crate) fn of(message: &jetstream::Message) -> Result<(Event, u32), Error> {
        let info = message.info().map_err(Error::api)?;
        let envelope: Option<Envelope> = serde_json::from_slice(&message.payload).ok();
        let (id, time) = envelope.map_or((None, None), |it| (it.id, it.time));
        let id = id.filter(|id| is_id(id));
        let header = message.headers.as_ref().and_then(|it| it.get(NATS_MESSAGE_ID));
        let id = header.map(|id| id.as_str().to_owned()).or(id);
        let stored_us = info.published.unix_timestamp_nanos() / 1000;
        let said_us = time.map_or(stored_us, |time| time.as_microsecond().into());
        let event = Event {
            subject: message.subject.to_string(),
            // A stream that was made anew has other messages under the same numbers.
            id: id
                .unwrap_or_else(|| format!("{}:{}:{stored_us}", info.stream, info.stream_sequence)),
            time_us: u64::try_from(stored_us.min(said_us)).unwrap_or_default(),
            sequence: info.stream_sequence,
            payload: message.payload.to_vec(),
        };
        Ok((event, u32::try_from(info.delivered).unwrap_or(u32::MAX)))
    }
}

/// Whether that of an envelope can be one: it goes into logs, headers, and environments of commands.
fn is_id(id: &str) -> bool {
    (1..=ID).contains(&id.len()) && !id.contains(char::is_control)
}

impl Message {
    pub(crate) fn of(message: jetstream::Message, member: &Arc<Member>) -> Result<Message, Error> {
        let (event, attempts) = Event::of(&message)?;
        let reply = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        let (_, created_ns) = member.current()?;
        let headers = message.message.headers.unwrap_or_default();
        Ok(Message { event, attempts, headers, reply, created_ns, member: Arc::clone(member) })
    }

    /// It is dealt with, and comes never again. Returns once NATS has confirmed that.
    ///
    /// # Errors
    /// If nobody confirmed it: it may come again.
    pub async fn ack(&self) -> Result<(), Error> {
        self.say(AckKind::Ack).await
    }

    /// It is still worked on: the channel's timeout begins anew.
    ///
    /// # Errors
    /// If nobody confirmed it.
    pub async fn touch(&self) -> Result<(), Error> {
        self.say(AckKind::Progress).await
    }

    /// It is given out again, to whichever member, after `delay` at the earliest.
    ///
    /// # Errors
    /// If nobody confirmed it: it comes again after the channel's timeout.
    pub async fn requeue(&self, delay: Duration) -> Result<(), Error> {
        self.say(AckKind::Nak((!delay.is_zero()).then_some(delay))).await
    }

    /// It cannot be dealt with: it becomes a dead letter, and does not come again.
    ///
    /// # Errors
    /// If the dead letter was not stored, or nobody confirmed: it comes again after the channel's
    /// timeout.
    pub async fn reject(&self, reason: &str) -> Result<(), Error> {
        dead::bury(self, reason).await?;
        self.say(AckKind::Term).await
    }

    /// Says it until NATS has confirmed that it heard.
    async fn say(&self, kind: AckKind) -> Result<(), Error> {
        let deadline = Instant::now() + CONFIRMED.0;
        loop {
            let said = timeout(CONFIRMED.1, self.say_once(kind)).await;
            if let Ok(said @ (Ok(()) | Err(Error::Unconfirmed { .. }))) = said {
                return said;
            }
            if Instant::now() >= deadline {
                return Err(Error::Unconfirmed { id: self.event.id.clone() });
            }
            sleep(PAUSE).await;
        }
    }

    async fn say_once(&self, kind: AckKind) -> Result<(), Error> {
        let (connection, created_ns) = self.member.current()?;
        let context = &connection.context;
        let same = if connection.has_broken() {
            // Behind a break there may be another stream, where the number is another message's.
            let stream = context.get_stream(&self.member.stream).await.map_err(Error::api)?;
            created(&stream) == self.created_ns
        } else {
            created_ns == self.created_ns
        };
        if !same {
            return Err(Error::Unconfirmed { id: self.event.id.clone() });
        }
        let answer = context.client().request(self.reply.clone(), kind.into()).await;
        answer.map(drop).map_err(Error::api)
    }
}

/// When a stream was made, in ns since 1970, by NATS.
pub(crate) fn created(stream: &jetstream::stream::Stream) -> i64 {
    i64::try_from(stream.cached_info().created.unix_timestamp_nanos()).unwrap_or_default()
}

impl Member {
    pub(crate) fn new(stream: String, name: String, buries: bool) -> Member {
        Member { stream, name, buries, current: Mutex::new(None) }
    }

    pub(crate) fn current(&self) -> Result<(Connection, i64), Error> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(Error::Broke)
    }

    pub(crate) fn connected(&self, connection: Connection, created_ns: i64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some((connection, created_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_of_garrison_has_a_partition_and_a_topic() {
        let event = |subject: &str| Event {
            subject: subject.to_owned(),
            id: String::new(),
            time_us: 0,
            sequence: 1,
            payload: Vec::new(),
        };
        let ours = event("garrison.fra-equ01.job.finished");
        assert_eq!((ours.partition(), ours.topic()), (Some("fra-equ01"), Some("job.finished")));
        let other = event("orders.fra");
        assert_eq!((other.partition(), other.topic()), (None, None));
        assert!(ours.age() > Duration::from_secs(1 << 30));
    }

    #[test]
    fn what_an_envelope_says_is_an_id_only_if_it_can_be_one() {
        assert!(is_id("1") && is_id("ä b") && is_id(&"x".repeat(255)));
        for id in ["", "a\nb", "a\rb", "a\0b", "\u{85}", &"x".repeat(256)] {
            assert!(!is_id(id), "{id:?}");
        }
    }
}
