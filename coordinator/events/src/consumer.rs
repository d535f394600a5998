//! A member of a channel: takes messages one at a time, and comes back after NATS was away.
//!
//! Nothing is fetched before it is asked for, so no message waits here while its timeout runs.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use futures::StreamExt;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::channel::{Start, own_name};
use crate::message::{Member, created};
use crate::pause::Pause;
use crate::{Channel, Connection, Error, Message, Name, Server, dead};

/// How long NATS keeps a request for a message.
const REQUEST: Duration = Duration::from_secs(10);

/// How old what is known of the channel's place may get.
const LOOK: Duration = Duration::from_secs(5);

/// Pauses between two tries to reach NATS. The first leaves time to whoever deletes a channel to
/// make it anew.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A member of a channel.
pub struct Consumer {
    server: Server,
    channel: Channel,
    member: Arc<Member>,
    attached: Option<Attached>,
    known: Option<Known>,
    /// What was attempted too often, and is to become a dead letter.
    over: Option<Message>,
    dropped: u64,
    /// How many of them were not told yet.
    untold: u64,
    pause: Pause,
    said: String,
}

/// The channel, as it is there.
struct Attached {
    connection: Connection,
    consumer: PullConsumer,
    request: Option<Batch>,
    looked: Instant,
}

/// What is remembered of a channel that was there, to make it anew when it is gone.
#[derive(Clone, Copy)]
struct Known {
    /// When its stream was made, in ns since 1970.
    stream_ns: i64,
    /// Up to where all messages were dealt with.
    floor: u64,
}

impl Consumer {
    /// A member; NATS is asked with its first message, or by [`attach`](Consumer::attach).
    ///
    /// # Errors
    /// If the channel is none that NATS could have, or the login cannot be used.
    pub fn new(server: Server, channel: Channel) -> Result<Consumer, Error> {
        channel.check()?;
        server.check()?;
        let (name, buries) = match &channel.name {
            Name::Durable(name) | Name::Ephemeral(name) => (name.clone(), true),
            Name::Own => (own_name(), false),
        };
        Ok(Consumer {
            member: Arc::new(Member::new(channel.stream.clone(), name, buries)),
            server,
            channel,
            attached: None,
            known: None,
            over: None,
            dropped: 0,
            untold: 0,
            pause: Pause::new(PAUSES.0, PAUSES.1),
            said: String::new(),
        })
    }

    /// Connects, and makes the channel or checks it, if that is not done yet.
    ///
    /// # Errors
    /// If NATS cannot be reached, the stream is not there, or the channel is another.
    pub async fn attach(&mut self) -> Result<(), Error> {
        if self.attached.is_none() {
            let connection = Connection::open(&self.server).await?;
            self.attached = Some(self.find(connection).await?);
        }
        Ok(())
    }

    /// The next message. Waits for as long as there is none, NATS is away, or the channel is
    /// another; the log tells. It may be dropped and called again without a loss.
    pub async fn next(&mut self) -> Message {
        loop {
            match self.take().await {
                Ok(Some(message)) => {
                    self.tell_dropped();
                    return message;
                }
                Ok(None) => {}
                Err(error) => {
                    self.attached = None;
                    let error = error.to_string();
                    // Told once: NATS may be away for days.
                    if error != self.said {
                        warn!(channel = self.member.name, %error, "messages wait");
                        self.said = error;
                    }
                    sleep(self.pause.take()).await;
                }
            }
        }
    }

    /// How many messages were dropped because they were too old.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Ends the membership. A channel of its own is gone with it.
    pub async fn close(self) {
        let Some(Attached { connection, .. }) = self.attached else { return };
        if self.channel.name == Name::Own
            && let Ok(stream) = connection.context.get_stream(&self.channel.stream).await
        {
            // Otherwise NATS forgets it by itself.
            let _ = stream.delete_consumer(&self.member.name).await;
        }
    }

    /// A message, or none if none came for a while or it was dropped.
    async fn take(&mut self) -> Result<Option<Message>, Error> {
        self.attach().await?;
        // If that fails, NATS gives it out again, unless its stream is another by now.
        if let Some(message) = self.over.take() {
            message.reject(&format!("attempted {} times", message.attempts)).await?;
        }
        let Some(mut message) = self.receive().await? else {
            self.tell_dropped();
            return Ok(None);
        };
        if self.channel.max_age.is_some_and(|most| message.event.age() > most) {
            message.ack().await?;
            self.dropped += 1;
            self.untold += 1;
            return Ok(None);
        }
        if message.attempts > self.channel.max_attempts {
            // This time it is given to nobody.
            message.attempts -= 1;
            self.over = Some(message);
            return Ok(None);
        }
        Ok(Some(message))
    }

    /// What NATS gives out next.
    async fn receive(&mut self) -> Result<Option<Message>, Error> {
        let Some(attached) = &mut self.attached else { return Err(Error::Broke) };
        if attached.looked.elapsed() > LOOK {
            let info = attached.consumer.get_info().await.map_err(Error::api)?;
            attached.looked = Instant::now();
            if let Some(known) = &mut self.known {
                known.floor = info.ack_floor.stream_sequence;
            }
        }
        if attached.request.is_none() {
            let request = attached.consumer.batch().max_messages(1).expires(REQUEST);
            attached.request = Some(request.messages().await.map_err(Error::api)?);
        }
        let Some(request) = &mut attached.request else { return Ok(None) };
        let message = tokio::select! {
            message = request.next() => message,
            () = attached.connection.breaks() => return Err(Error::Broke),
        };
        // It was for one message.
        attached.request = None;
        let message = message.transpose().map_err(Error::api)?;
        self.pause.reset();
        self.said.clear();
        let Some(message) = message else { return Ok(None) };
        Message::of(message, &self.member).map(Some)
    }

    /// Finds the channel, or makes it.
    async fn find(&mut self, connection: Connection) -> Result<Attached, Error> {
        let context = &connection.context;
        let stream = crate::admin::stream(context, &self.channel.stream).await?;
        if self.member.buries {
            dead::prepare(context).await?;
        }
        let name = &self.member.name;
        let stream_ns = created(&stream);
        let there = crate::admin::channel(&stream, name).await?;
        let consumer = match there {
            Some(consumer) => {
                self.channel.compare(&consumer.cached_info().config)?;
                consumer
            }
            None => {
                let last = stream.cached_info().state.last_sequence;
                let start = self.start(stream_ns, last);
                let config = self.channel.config(name, start);
                stream.create_consumer(config).await.map_err(Error::api)?
            }
        };
        let floor = consumer.cached_info().ack_floor.stream_sequence;
        self.known = Some(Known { stream_ns, floor });
        self.member.connected(connection.clone(), stream_ns);
        Ok(Attached { connection, consumer, request: None, looked: Instant::now() })
    }

    /// Where the channel that is to be made begins, so that nothing is missed.
    fn start(&self, stream_ns: i64, last: u64) -> Start {
        let name = &self.member.name;
        match self.known {
            None => {
                if self.member.buries {
                    info!(channel = name, start = ?self.channel.start, "the channel is made");
                }
                self.channel.start
            }
            Some(known) if known.stream_ns == stream_ns => {
                // A stream that lost its end gets it again.
                let at = known.floor.min(last) + 1;
                warn!(channel = name, at, "the channel is gone: it is made anew from where it was");
                Start::At(at)
            }
            Some(_) => {
                warn!(
                    channel = name,
                    "the stream is another: the channel begins with its oldest message"
                );
                Start::Oldest
            }
        }
    }

    fn tell_dropped(&mut self) {
        if self.untold > 0 {
            let max_age = self.channel.max_age.unwrap_or_default();
            warn!(
                channel = self.member.name,
                dropped = self.untold,
                ?max_age,
                "messages were too old"
            );
            self.untold = 0;
        }
    }
}
