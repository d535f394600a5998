//! Webhooks: the same events, signed and posted to whoever is configured.
//!
//! Each webhook has a cursor over the journal of its own and is told one event at a time, in the
//! journal's order; NATS has no part in it. What cannot be told is tried again, and given up after a
//! day, so that one event that somebody cannot take does not keep all later ones from him for ever.
//! Invariant: nothing waits for a receiver, and no message of ours has an address or a key in it.

mod receiver;

use std::time::Duration;

use coordinator_core::event::Wall;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::receiver::Unusable;
use self::receiver::{Message, Receiver};
use super::derive::{Deriver, Event};
use super::place::Position;
use crate::config::{self, Config};
use crate::driver;
use crate::feed::cursor::{self, Cursor};
use crate::feed::pause::Pause;
use crate::feed::progress::Progress;
use crate::feed::{Feed, Source};
use crate::outgoing::Answer;
use crate::store::journal::Changed;
use crate::store::view::View;

/// How often the cursor's file is written, if it moved.
const SAVE: Duration = Duration::from_secs(1);

/// How long until a view that cannot be read is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// How receivers are treated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a receiver may take to answer. Default 10 s.
    pub patience: Duration,
    /// Pauses after a failure: the first, and the longest. Default 1 s and 5 min.
    pub pauses: (Duration, Duration),
    /// For how long one event is tried. Default 24 h.
    pub give_up: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            patience: Duration::from_secs(10),
            pauses: (Duration::from_secs(1), Duration::from_secs(300)),
            give_up: Duration::from_secs(24 * 3600),
        }
    }
}

/// Tells one webhook.
pub struct Sender {
    webhook: config::Webhook,
    receiver: Receiver,
    deriver: Deriver,
    feed: Feed,
    progress: Progress,
    /// Up to where it was told.
    told: Position,
    cursor: Cursor,
    saved: (Position, Instant),
    options: Options,
}

/// What the cursor's file says.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    #[serde(flatten)]
    told: Position,
}

/// The receiver wants to hear no more.
struct Gone;

/// Why somebody cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What a webhook needs cannot be read.
    #[error("webhook '{webhook}': {source}")]
    Receiver {
        /// Which one.
        webhook: String,
        /// Why.
        source: Unusable,
    },
    /// The cursor's file.
    #[error(transparent)]
    Cursor(#[from] cursor::Error),
}

impl Sender {
    /// A sender that goes on where the last one of this data directory and this name stopped; the
    /// first one begins with what happens from now on.
    ///
    /// # Errors
    /// If the key, a certificate or the cursor cannot be read. The receiver need not be there.
    pub fn open(
        webhook: &config::Webhook,
        config: &Config,
        source: Source,
        view: View,
        progress: Progress,
        options: Options,
    ) -> Result<Sender, Error> {
        let receiver = Receiver::open(webhook, options.patience);
        let receiver = receiver
            .map_err(|source| Error::Receiver { webhook: webhook.name.to_string(), source })?;
        let last = Position::end(source.last());
        let file = format!("webhook-{}.cursor", webhook.name);
        let (cursor, place) = Cursor::open::<Place>(&config.data, &file)?;
        let told = match place {
            // Beyond the end, as after a restored backup, it stands at the end.
            Some(place) => place.told.min(last),
            None => {
                cursor.write(&Place { told: last })?;
                last
            }
        };
        progress.told(told.whole());
        Ok(Sender {
            webhook: webhook.clone(),
            receiver,
            deriver: Deriver::new(view, &config.trust_domain),
            feed: Feed::new(source, told.whole().next()),
            progress,
            told,
            cursor,
            saved: (told, Instant::now()),
            options,
        })
    }

    /// Tells the webhook until `stop`; what is on its way then is sent again by the next start.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let ended = stop.run_until_cancelled(self.tell()).await;
        self.save().await;
        if let Some(Gone) = ended {
            let webhook = &self.webhook.name;
            error!(%webhook, "the receiver says that it is gone: it is told nothing more until the \
                coordinator starts again");
            stop.cancelled().await;
        }
        Ok(())
    }

    async fn tell(&mut self) -> Gone {
        let mut save = interval(SAVE);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batches = self.feed.next() => {
                    for batch in &batches {
                        if let Err(gone) = self.tell_batch(batch).await {
                            return gone;
                        }
                    }
                }
                _ = save.tick() => self.save().await,
            }
        }
    }

    async fn tell_batch(&mut self, batch: &Changed) -> Result<(), Gone> {
        for event in self.events(batch).await {
            if event.position <= self.told || !self.wants(&event) {
                continue;
            }
            self.progress.told(batch.seq.previous());
            self.progress.waiting(batch.now);
            let position = event.position;
            self.deliver(event, batch.now).await?;
            self.told = position;
            if self.saved.1.elapsed() >= SAVE {
                self.save().await;
            }
        }
        self.told = Position::end(batch.seq);
        self.progress.told(batch.seq);
        Ok(())
    }

    async fn events(&mut self, batch: &Changed) -> Vec<Event> {
        loop {
            match self.deriver.events(batch) {
                Ok(events) => return events,
                Err(error) => {
                    let webhook = &self.webhook.name;
                    error!(%webhook, %error, "events cannot be read; trying again in 30 s");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Whether it is to be told of it, by the subject: `garrison.PARTITION.TOPIC`.
    fn wants(&self, event: &Event) -> bool {
        let mut parts = event.subject.splitn(3, '.').skip(1);
        let (partition, topic) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let config::Webhook { partitions, topics, .. } = &self.webhook;
        partitions.iter().any(|it| it.fits(partition)) && topics.iter().any(|it| it.fits(topic))
    }

    /// Returns once the event was taken or given up. It happened at `time`.
    async fn deliver(&mut self, event: Event, time: Wall) -> Result<(), Gone> {
        let webhook = self.webhook.name.clone();
        let message = Message::new(event);
        let id = message.id().to_owned();
        let max_age = self.webhook.max_age.as_micros() as u64;
        let mut pause = Pause::new(self.options.pauses.0, self.options.pauses.1);
        let begun = Instant::now();
        loop {
            if driver::now().0.saturating_sub(time.0) > max_age {
                info!(%webhook, id, "the event is too old: not sent");
                return Ok(());
            }
            let wait = match self.receiver.post(&message).await? {
                Answer::Taken => {
                    debug!(%webhook, id, "event sent");
                    return Ok(());
                }
                Answer::Refused(why) => {
                    warn!(%webhook, id, why, "the receiver refuses the event: given up");
                    return Ok(());
                }
                Answer::Failed(why) => {
                    let wait = pause.take();
                    warn!(%webhook, id, why, ?wait, "events wait");
                    wait
                }
                Answer::Limited(wait) => {
                    warn!(%webhook, id, ?wait, "the receiver has enough for now: events wait");
                    wait
                }
            };
            if begun.elapsed() + wait > self.options.give_up {
                warn!(%webhook, id, "the event was tried for long enough: given up");
                return Ok(());
            }
            self.save().await;
            sleep(wait).await;
        }
    }

    async fn save(&mut self) {
        if self.told == self.saved.0 {
            return;
        }
        match self.cursor.save(&Place { told: self.told }).await {
            Ok(()) => self.saved = (self.told, Instant::now()),
            Err(error) => {
                let webhook = &self.webhook.name;
                warn!(%webhook, %error, "the cursor of a webhook is not saved");
            }
        }
    }
}

#[cfg(test)]
mod tests;
