//! Events that start pipelines: a stream of NATS is read, and what a pipeline wants of it becomes a
//! trigger.
//!
//! Invariant: a message is given back to NATS only when all that comes of it is durable: triggers, each
//! under a key of message and pipeline, so that it acts once however often it comes, and why it was
//! refused. One after the other, so that commands stay in their order.

use std::sync::Arc;
use std::time::Duration;

use ::events::{Channel, Consumer, Error, Message as Received, Name};
use coordinator_core::actor::Actor;
use coordinator_core::event::Ask;
use coordinator_core::subscriber::Subscriber;
use coordinator_core::trigger::{Cause, State, Trigger, TriggerId};
use pipelines::event::{self, Message, Read, Subscription};
use pipelines::id::RunId;
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::config::{self, Config, Nats, Place};
use crate::driver::{self, Handle};
use crate::events;
use crate::metrics::Metrics;
use crate::resolve::{Foreseen, Preview};
use crate::store::view::{self, View};

/// When NATS gives a message to another member that hears nothing of it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often it hears that a message is still worked on.
const TOUCH: Duration = Duration::from_secs(3);

/// When a message comes again of which nobody can say now what becomes of it.
const AGAIN: Duration = Duration::from_secs(5);

/// How far in the future an event may be: clocks differ a little.
const AHEAD_US: u64 = 60 * 1_000_000;

/// How many events may stand behind one: pipelines that start each other go on no longer.
const DEPTH: u32 = 5;

/// Longest reason that is written down, in bytes.
const REASON: usize = 1_000;

/// Reads one stream.
pub struct Listener {
    consumer: Consumer,
    reader: Reader,
}

/// What is needed to say what becomes of messages, of whichever stream.
#[derive(Clone)]
pub struct Reading {
    /// Which partitions and repositories there are.
    pub config: Arc<Config>,
    /// Where triggers go.
    pub driver: Handle,
    /// Where subscribers are on record.
    pub view: View,
    /// What a trigger would become.
    pub preview: Preview,
    /// Where messages are counted.
    pub metrics: Arc<Metrics>,
    /// How many repositories were not looked at yet, so that nobody knows what they want.
    pub unseen: watch::Receiver<usize>,
}

/// Says what becomes of the messages of one stream.
struct Reader {
    of: config::Trigger,
    by: Reading,
}

/// What is done with a message.
enum Verdict {
    /// All that comes of it is durable.
    Done,
    /// It comes again: why.
    Again(String),
    /// It is refused: why.
    Refused(String),
}

impl Verdict {
    /// Its word in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Again(_) => "again",
            Verdict::Refused(_) => "refused",
        }
    }
}

impl Listener {
    /// Whoever reads a stream, from now on or from where it was.
    ///
    /// # Errors
    /// If the login cannot be used. NATS need not be there.
    pub fn open(of: &config::Trigger, nats: &Nats, by: Reading) -> Result<Listener, Error> {
        let name = Name::Durable(of.channel.clone());
        let channel = Channel {
            timeout: TIMEOUT,
            // Its age ends what comes again and again.
            max_attempts: u32::MAX,
            ..Channel::new(&of.stream, &of.filter(), name)
        };
        let consumer = Consumer::new(events::server(nats, "garrison triggers"), channel)?;
        Ok(Listener { consumer, reader: Reader { of: of.clone(), by } })
    }

    /// Reads until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let span = info_span!("events", stream = self.reader.of.stream);
        let read = async {
            loop {
                let message = self.consumer.next().await;
                if let Err(error) = self.reader.take(&message).await {
                    // NATS gives it out again.
                    warn!(id = message.event.id, error, "an event waits");
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = read.instrument(span) => never,
        }
    }
}

impl Reader {
    /// Does all that comes of a message, and tells NATS.
    async fn take(&self, received: &Received) -> Result<(), String> {
        let say = |error: Error| error.to_string();
        let verdict = {
            let mut touch = interval(TOUCH);
            touch.tick().await;
            let verdict = self.judge(received);
            tokio::pin!(verdict);
            loop {
                tokio::select! {
                    verdict = &mut verdict => break verdict?,
                    _ = touch.tick() => received.touch().await.map_err(say)?,
                }
            }
        };
        self.by.metrics.received(&self.of.stream, verdict.kind());
        match verdict {
            Verdict::Done => received.ack().await.map_err(say),
            Verdict::Again(reason) => {
                warn!(id = received.event.id, reason, "an event waits");
                received.requeue(AGAIN).await.map_err(say)
            }
            Verdict::Refused(reason) => received.reject(&reason).await.map_err(say),
        }
    }

    async fn judge(&self, received: &Received) -> Result<Verdict, String> {
        let stored = &received.event;
        let Some(place) = self.of.place(&stored.subject).filter(|it| self.is_here(it)) else {
            return Ok(Verdict::Done);
        };
        let mut concerned = self.concerned(&place)?;
        if concerned.is_empty() {
            // What a repository wants is not known before it was looked at for the first time.
            let mut unseen = self.by.unseen.clone();
            unseen.wait_for(|unseen| *unseen == 0).await.map_err(|_| "the coordinator stops")?;
            concerned = self.concerned(&place)?;
        }
        if concerned.is_empty() {
            return Ok(Verdict::Done);
        }
        let arrived = event::Received {
            stream: &self.of.stream,
            id: &stored.id,
            topic: &place.topic,
            partition: place.partition.as_ref(),
            time_us: stored.time_us,
            payload: &stored.payload,
        };
        let Read { message, said_us } = match event::read(&arrived) {
            Ok(read) => read,
            Err(reason) => {
                let (id, source) = (stored.id.clone(), self.of.stream.clone());
                return self.refuse(Actor::Event { topic: place.topic, id, source }, reason).await;
            }
        };
        let (id, source) = (message.id.clone(), message.source.clone());
        let actor = Actor::Event { topic: place.topic, id, source };
        let mut refused = Vec::new();
        for subscriber in &concerned {
            let wants = subscriber.subscriptions.iter().find(|it| it.wants(&message));
            let Some(subscription) = wants else { continue };
            let key = trigger_key(subscriber, &message);
            if self.by.view.trigger_by_key(&key).map_err(|error| error.to_string())?.is_some() {
                // It has come before, and acted.
                continue;
            }
            let started = match self.timely(subscription, &message, said_us) {
                Err(reason) => Err(reason),
                Ok(()) => match self.start(&actor, subscriber, subscription, &message).await? {
                    Verdict::Done => Ok(()),
                    again @ Verdict::Again(_) => return Ok(again),
                    Verdict::Refused(reason) => Err(reason),
                },
            };
            if let Err(reason) = started {
                let key = &subscriber.key;
                refused.push(format!("{} of {}: {reason}", key.file, key.repository));
            }
        }
        match refused.is_empty() {
            true => Ok(Verdict::Done),
            false => self.refuse(actor, refused.join("; ")).await,
        }
    }

    /// Pipelines that events of this place may start, and that want some of its topic.
    fn concerned(&self, place: &Place) -> Result<Vec<Subscriber>, String> {
        let mut subscribers = self.by.view.subscribers().map_err(|error| error.to_string())?;
        subscribers.retain(|it| {
            self.may_start(it, place) && it.subscriptions.iter().any(|it| it.is_about(&place.topic))
        });
        Ok(subscribers)
    }

    /// Whether its partition is one of this coordinator's.
    fn is_here(&self, place: &Place) -> bool {
        place.partition.as_ref().is_none_or(|it| self.by.config.partition(it).is_some())
    }

    /// Whether a pipeline may run, and does, in an event's partition.
    fn may_start(&self, subscriber: &Subscriber, place: &Place) -> bool {
        let Some(partition) = &place.partition else { return true };
        let bound = self.by.config.partition(partition);
        let may = bound.is_some_and(|it| it.repositories.contains(&subscriber.key.repository));
        let named = &subscriber.partitions;
        may && (named.is_empty() || named.contains(partition))
    }

    /// Whether it is young enough for a pipeline.
    fn timely(
        &self,
        subscription: &Subscription,
        message: &Message,
        said_us: Option<i64>,
    ) -> Result<(), String> {
        let now = driver::now().0;
        let latest = said_us.and_then(|it| u64::try_from(it).ok()).unwrap_or_default();
        if latest.max(message.time_us) > now + AHEAD_US {
            return Err("its time is in the future: a clock is wrong".to_owned());
        }
        let age_s = now.saturating_sub(message.time_us) / 1_000_000;
        let most = subscription.max_age_s;
        if age_s > most.into() {
            return Err(format!("it is {age_s} s old, and {most} s is `max_age`"));
        }
        Ok(())
    }

    /// Starts a pipeline, unless it would refuse.
    async fn start(
        &self,
        actor: &Actor,
        subscriber: &Subscriber,
        subscription: &Subscription,
        message: &Message,
    ) -> Result<Verdict, String> {
        let depth = self.depth(message).map_err(|error| error.to_string())?;
        if depth > DEPTH {
            return Ok(Verdict::Refused(format!(
                "{DEPTH} pipelines have been started by events of one another before it: do they go \
                 in a circle?"
            )));
        }
        let inputs = match subscription.inputs(message) {
            Ok(inputs) => inputs,
            Err(reason) => return Ok(Verdict::Refused(reason)),
        };
        let Subscriber { key, reference, commit, .. } = subscriber;
        let cause = Cause::Event {
            file: key.file.clone(),
            subscription: subscription.clone(),
            inputs,
            partition: message.partition.clone(),
            commit: commit.clone(),
            depth,
        };
        let trigger = Trigger {
            id: TriggerId(0),
            key: trigger_key(subscriber, message),
            actor: actor.clone(),
            at: driver::now(),
            repository: key.repository.clone(),
            reference: reference.clone(),
            cause,
            state: State::Pending,
        };
        match self.by.preview.of(&trigger).await {
            Foreseen::Run => {}
            Foreseen::Nothing => return Ok(Verdict::Done),
            Foreseen::Refused(reason) => {
                // What stands below it shows where.
                let first = reason.lines().next().unwrap_or_default();
                return Ok(Verdict::Refused(first.to_owned()));
            }
            Foreseen::Unknown(reason) => return Ok(Verdict::Again(reason)),
        }
        let Trigger { key, repository, reference, cause, .. } = trigger;
        info!(id = message.id, %repository, pipeline = %subscriber.pipeline, "an event starts");
        let ask = Ask::Trigger { key, repository, reference, cause };
        self.by.driver.ask(actor.clone(), ask).await.map_err(|error| error.to_string())?;
        Ok(Verdict::Done)
    }

    /// How many events stand behind one: it may tell of a run that an event started.
    fn depth(&self, message: &Message) -> Result<u32, view::Error> {
        let ours = message.source == events::source(&self.by.config.trust_domain);
        let run = message.data.get("run").and_then(serde_json::Value::as_u64);
        let Some(run) = run.filter(|_| ours) else { return Ok(1) };
        let run = self.by.view.run(RunId(run))?;
        let trigger = run.map(|run| self.by.view.trigger(run.trigger)).transpose()?.flatten();
        Ok(match trigger.map(|trigger| trigger.cause) {
            Some(Cause::Event { depth, .. }) => depth + 1,
            _ => 1,
        })
    }

    /// Writes down why an event is refused.
    async fn refuse(&self, actor: Actor, reason: String) -> Result<Verdict, String> {
        let reason = reason[..reason.floor_char_boundary(REASON)].to_owned();
        let ask = Ask::RefuseEvent { reason: reason.clone() };
        self.by.driver.ask(actor, ask).await.map_err(|error| error.to_string())?;
        Ok(Verdict::Refused(reason))
    }
}

/// By it a message starts a pipeline once.
fn trigger_key(subscriber: &Subscriber, message: &Message) -> String {
    let (repository, file) = (&subscriber.key.repository, &subscriber.key.file);
    format!("event {repository} {file} {:?} {:?}", message.source, message.id)
}
