//! Reading what a stream holds, without a channel.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use async_nats::jetstream::{self, Message};
use futures::StreamExt;
use tokio::time::timeout;

use crate::{Connection, Error, Event, admin};

/// How long nothing comes until NATS is asked whether anything will.
const QUIET: Duration = Duration::from_secs(2);

/// Messages of a subject that were stored from a moment on, up to now.
pub struct Replay {
    stream: jetstream::stream::Stream,
    consumer: PullConsumer,
    messages: Stream,
    /// The stream's last number in the beginning.
    last: u64,
    /// How many came.
    came: u64,
    is_over: bool,
}

impl Replay {
    /// Begins at `since_us`, in µs since 1970.
    ///
    /// # Errors
    /// If the stream is not there, or NATS does not answer.
    pub async fn open(
        connection: &Connection,
        stream: &str,
        subject: &str,
        since_us: u64,
    ) -> Result<Replay, Error> {
        let stream = admin::stream(&connection.context, stream).await?;
        let last = stream.cached_info().state.last_sequence;
        let consumer = admin::reader(&stream, subject, since_us).await?;
        let is_over = consumer.cached_info().num_pending == 0;
        let messages = consumer.messages().await.map_err(Error::api)?;
        Ok(Replay { stream, consumer, messages, last, came: 0, is_over })
    }

    /// The next one; none once those are read that were there in the beginning. What has left the
    /// stream meanwhile does not come.
    ///
    /// # Errors
    /// If NATS went away.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        self.message().await?.map(|message| Ok(Event::of(&message)?.0)).transpose()
    }

    /// The next one with its headers.
    pub(crate) async fn message(&mut self) -> Result<Option<Message>, Error> {
        while !self.is_over {
            let Some(message) = self.receive().await? else { break };
            let info = message.info().map_err(Error::api)?;
            self.came += 1;
            if info.consumer_sequence != self.came {
                // What was on its way when the connection broke is not given again.
                return Err(Error::Broke);
            }
            self.is_over = info.pending == 0 || info.stream_sequence >= self.last;
            if info.stream_sequence <= self.last {
                return Ok(Some(message));
            }
        }
        self.is_over = true;
        // Otherwise NATS forgets it by itself.
        let _ = self.stream.delete_consumer(&self.consumer.cached_info().name).await;
        Ok(None)
    }

    /// What NATS gives; none if it will give nothing more.
    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        let mut is_missing = false;
        loop {
            if let Ok(message) = timeout(QUIET, self.messages.next()).await {
                return message.ok_or(Error::Broke)?.map(Some).map_err(Error::api);
            }
            let info = self.consumer.get_info().await.map_err(Error::api)?;
            let is_here = info.delivered.consumer_sequence == self.came;
            if info.num_pending == 0 && is_here {
                return Ok(None);
            }
            // It may have come just now.
            if is_missing && !is_here {
                return Err(Error::Broke);
            }
            is_missing = !is_here;
        }
    }
}
