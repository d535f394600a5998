//! Reading what a stream holds, without a channel.

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::Stream;
use futures::StreamExt;

use crate::{Connection, Error, Event, admin};

/// Messages of a subject that were stored from a moment on, up to now.
pub struct Replay {
    messages: Stream,
    left: u64,
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
        let consumer = admin::reader(&stream, subject, since_us).await?;
        let left = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.map_err(Error::api)?;
        Ok(Replay { messages, left })
    }

    /// The next one; none once those are read that were there in the beginning.
    ///
    /// # Errors
    /// If NATS went away.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        self.message().await?.map(|message| Ok(Event::of(&message)?.0)).transpose()
    }

    /// The next one with its headers.
    pub(crate) async fn message(&mut self) -> Result<Option<Message>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let message = self.messages.next().await.ok_or(Error::Broke)?.map_err(Error::api)?;
        self.left -= 1;
        Ok(Some(message))
    }
}
