//! The channels of a stream: how they stand, how much they would get, made anew from a moment on.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Stream;
use futures::TryStreamExt;
use serde::Serialize;

use crate::channel::{Start, own_name};
use crate::{Connection, Error, dead};

/// Tries to be the one who makes a channel that was deleted just now.
const TRIES: usize = 5;

/// The stream of events, where nobody gives it another name.
const OWN: &str = "GARRISON";

/// How long NATS keeps a reader that asks for nothing: one that is shown page by page.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub channel: String,
    /// Which messages it gets.
    pub subject: String,
    /// Whether NATS keeps it until it is deleted.
    pub durable: bool,
    /// Messages that were not given out yet.
    pub pending: u64,
    /// Messages that members have.
    pub in_flight: usize,
    /// Those of them that were given out more than once.
    pub redelivered: usize,
    /// Its dead letters that are still kept.
    pub dead: usize,
}

impl Connection {
    /// The channels of a stream, by name.
    ///
    /// # Errors
    /// If the stream is not there, or NATS does not answer.
    pub async fn channels(&self, name: &str) -> Result<Vec<Standing>, Error> {
        let stream = stream(&self.context, name).await?;
        let found: Vec<_> = stream.consumers().try_collect().await.map_err(Error::api)?;
        let mut channels = Vec::new();
        for info in found {
            channels.push(Standing {
                dead: self.dead_letters(&info.name).await?,
                channel: info.name,
                subject: info.config.filter_subject,
                durable: info.config.durable_name.is_some(),
                pending: info.num_pending,
                in_flight: info.num_ack_pending,
                redelivered: info.num_redelivered,
            });
        }
        channels.sort_by(|one, other| one.channel.cmp(&other.channel));
        Ok(channels)
    }

    async fn dead_letters(&self, channel: &str) -> Result<usize, Error> {
        let stream = match stream(&self.context, dead::STREAM).await {
            Err(Error::Missing(_)) => return Ok(0),
            found => found?,
        };
        let subjects = stream.info_with_subjects(dead::subject(channel, ">")).await;
        let counts = subjects.map_err(Error::api)?.map_ok(|(_, count)| count);
        counts.try_fold(0, async |sum, count| Ok(sum + count)).await.map_err(Error::api)
    }

    /// Which messages a channel gets, and how many of them were stored from `since_us` on.
    ///
    /// # Errors
    /// If the channel is not there, or NATS does not answer.
    pub async fn extent(
        &self,
        name: &str,
        of: &str,
        since_us: u64,
    ) -> Result<(String, u64), Error> {
        let stream = stream(&self.context, name).await?;
        let subject = existing(&stream, of).await?.cached_info().config.filter_subject.clone();
        let count = self.count(name, &subject, since_us).await?;
        Ok((subject, count))
    }

    /// Deletes a channel and makes it anew, as it was, but from `since_us` on. What its members have
    /// in their hands comes again, if it is young enough.
    ///
    /// # Errors
    /// If the channel is not there, or NATS does not answer.
    pub async fn rebuild(&self, name: &str, of: &str, since_us: u64) -> Result<(), Error> {
        let stream = stream(&self.context, name).await?;
        let found = existing(&stream, of).await?.cached_info().config.clone();
        let config = pull::Config {
            name: found.name.filter(|_| found.durable_name.is_none()),
            durable_name: found.durable_name,
            description: found.description,
            deliver_policy: Start::Since(since_us).policy(),
            ack_policy: found.ack_policy,
            ack_wait: found.ack_wait,
            max_deliver: found.max_deliver,
            filter_subject: found.filter_subject,
            max_ack_pending: found.max_ack_pending,
            inactive_threshold: found.inactive_threshold,
            ..pull::Config::default()
        };
        let mut made = Ok(());
        for _ in 0..TRIES {
            // A member that is quicker makes it where it was; that is taken back.
            stream.delete_consumer(of).await.map_err(Error::api)?;
            made = stream.create_consumer(config.clone()).await.map(drop).map_err(Error::api);
            if made.is_ok() {
                break;
            }
        }
        made
    }

    /// How many messages of a subject were stored from `since_us` on.
    pub(crate) async fn count(
        &self,
        name: &str,
        subject: &str,
        since_us: u64,
    ) -> Result<u64, Error> {
        let stream = stream(&self.context, name).await?;
        let consumer = reader(&stream, subject, since_us).await?;
        let count = consumer.cached_info().num_pending;
        // Otherwise NATS forgets it by itself.
        let _ = stream.delete_consumer(&consumer.cached_info().name).await;
        Ok(count)
    }
}

/// A channel without acknowledgements, gone some minutes after it was read last.
pub(crate) async fn reader(
    stream: &Stream,
    subject: &str,
    since_us: u64,
) -> Result<PullConsumer, Error> {
    let config = pull::Config {
        name: Some(own_name()),
        deliver_policy: Start::Since(since_us).policy(),
        ack_policy: AckPolicy::None,
        filter_subject: subject.to_owned(),
        inactive_threshold: KEPT,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(Error::api)
}

/// The stream; a sentence if it is not there.
pub(crate) async fn stream(context: &Context, name: &str) -> Result<Stream, Error> {
    context.get_stream(name).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(error) if error.code() == 404 => {
            let who = match name {
                OWN => "the coordinator makes it once it reaches NATS",
                _ => "whoever fills it makes it",
            };
            Error::Missing(format!("there is no stream {name}: {who}"))
        }
        _ => Error::api(error),
    })
}

/// The channel, if it is there.
pub(crate) async fn channel(stream: &Stream, name: &str) -> Result<Option<PullConsumer>, Error> {
    match stream.consumer_info(name).await {
        Ok(_) => stream.get_consumer(name).await.map(Some).map_err(Error::Api),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::api(error)),
    }
}

async fn existing(stream: &Stream, name: &str) -> Result<PullConsumer, Error> {
    channel(stream, name).await?.ok_or_else(|| {
        let stream = &stream.cached_info().config.name;
        Error::Missing(format!(
            "stream {stream} has no channel {name}: 'garrison events channels' lists them"
        ))
    })
}
