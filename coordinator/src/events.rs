//! Events: what happens to runs, jobs, attempts, environments, agents and locks, published to NATS
//! JetStream, and posted to [`webhooks`] without it.
//!
//! A cursor over the journal and no queue beside it: committed batches are read, [`derive`] makes
//! events of their changes, and they are stored in the stream in the journal's order. Where to go
//! on is told by the stream's own last event, whose id is its place in the journal; the cursor's
//! file says it where the stream cannot. Invariant: nothing waits for NATS. What speaks to
//! NATS is in the crate `events`.

mod derive;
mod envelope;
mod login;
mod place;
pub mod schema;
pub mod webhooks;

pub use self::login::server;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use ::events::pause::Pause;
use ::events::{Link, Mark, Sent, Server, Stream};
use coordinator_core::event::Wall;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::derive::{Deriver, Event};
use self::place::{Id, Position};
use crate::config::{Config, Nats};
use crate::driver;
use crate::feed::cursor::{self, Cursor};
use crate::feed::progress::Progress;
use crate::feed::{Feed, Source};
use crate::store::journal::{self, Changed, Seq};
use crate::store::view::{self, View};

/// Events that were sent and are not known to be stored.
const WINDOW: usize = 256;

/// How often the cursor's file is written while events flow. The stream knows better; the file need
/// not be exact.
const SAVE: Duration = Duration::from_secs(1);

/// Its file in the data directory.
const CURSOR: &str = "events.cursor";

/// Pauses between two tries to reach NATS.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The source that events of this coordinator name.
pub fn source(trust_domain: &str) -> String {
    format!("garrison://{trust_domain}")
}

/// Publishes events.
pub struct Publisher {
    nats: Nats,
    server: Server,
    source: Source,
    deriver: Deriver,
    progress: Progress,
    cursor: Cursor,
    place: Option<Place>,
    saved: Option<Place>,
    /// The first batch that waits, once it was looked up.
    waiting: Seq,
}

/// Up to where events are stored, and in which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    #[serde(flatten)]
    told: Position,
    stream: Mark,
}

/// Why events are not published now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// NATS does not do what it should.
    #[error(transparent)]
    Nats(#[from] ::events::Error),
    /// The view cannot be read.
    #[error(transparent)]
    View(#[from] view::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The cursor's file cannot be read or written.
    #[error(transparent)]
    Cursor(#[from] cursor::Error),
}

impl Publisher {
    /// A publisher that goes on where the last one of this data directory stopped.
    ///
    /// # Errors
    /// If a file of the login or the cursor cannot be read. NATS need not be there, and the cursor
    /// need not be whole.
    pub fn open(
        nats: &Nats,
        config: &Config,
        source: Source,
        view: View,
        progress: Progress,
    ) -> Result<Publisher, Error> {
        let server = server(nats, "garrison coordinator");
        server.check()?;
        let (cursor, place) = open_cursor(config)?;
        // Beyond the end, as after a restored backup, it says nothing about what comes.
        let last = source.last();
        let within = place.filter(|place| place.told.seq <= last);
        progress.told(within.map_or(Seq(0), |place| place.told.whole()));
        Ok(Publisher {
            nats: nats.clone(),
            server,
            deriver: Deriver::new(view, &config.trust_domain),
            source,
            progress,
            cursor,
            place: within,
            saved: place,
            waiting: Seq(0),
        })
    }

    /// Publishes until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let None = stop.run_until_cancelled(self.publish_for_ever()).await;
        self.save().await;
        Ok(())
    }

    async fn publish_for_ever(&mut self) -> Infallible {
        let mut pause = Pause::new(PAUSES.0, PAUSES.1);
        let mut said = String::new();
        loop {
            let Err(error) = self.publish(&mut pause, &mut said).await;
            let error = error.to_string();
            // Told once: NATS may be away for days.
            if error != said {
                warn!(%error, "events wait");
                said.clone_from(&error);
            }
            self.progress.fails(error, driver::now());
            self.see_what_waits().await;
            sleep(pause.take()).await;
        }
    }

    /// Publishes on one connection, until it fails.
    async fn publish(&mut self, pause: &mut Pause, said: &mut String) -> Result<Infallible, Error> {
        let Nats { stream, max_age, replicas, .. } = self.nats.clone();
        let stream = Stream { name: stream, max_age, replicas };
        let mut link = Box::pin(Link::open(&self.server, &stream)).await?;
        let place = self.find_place(&link).await?;
        self.place = Some(place);
        self.progress.told(place.told.whole());
        // A stream that is there may still take nothing, as one that is full.
        let mut works = self.source.last() <= place.told.whole();
        if works {
            self.works(place, said);
        }
        let mut feed = Feed::new(self.source.clone(), place.told.whole().next());
        let mut save = interval(SAVE);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batches = feed.next() => {
                    self.publish_batches(&mut link, &batches).await?;
                    pause.reset();
                    if !works {
                        works = true;
                        self.works(place, said);
                    }
                }
                _ = save.tick() => self.save().await,
            }
        }
    }

    /// Events are stored again, from `place` on.
    fn works(&self, place: Place, said: &mut String) {
        info!(stream = self.nats.stream, from = %place.told, "events are published");
        self.progress.works();
        said.clear();
    }

    /// Returns once all events of the batches are stored.
    async fn publish_batches(&mut self, link: &mut Link, batches: &[Changed]) -> Result<(), Error> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(()) };
        self.progress.waiting(first.now);
        let mut sent = VecDeque::new();
        for batch in batches {
            for event in self.deriver.events(batch)? {
                if self.place.is_some_and(|place| event.position <= place.told) {
                    continue;
                }
                if sent.len() == WINDOW {
                    self.stored(link, sent.pop_front()).await?;
                }
                let Event { position, id, subject, payload } = event;
                sent.push_back((position, link.send(&id, subject, payload).await?));
            }
        }
        while !sent.is_empty() {
            self.stored(link, sent.pop_front()).await?;
        }
        if let Some(place) = &mut self.place {
            place.told = Position::end(last.seq);
        }
        self.progress.told(last.seq);
        Ok(())
    }

    async fn stored(&mut self, link: &Link, sent: Option<(Position, Sent)>) -> Result<(), Error> {
        if let Some((told, sent)) = sent {
            let sequence = sent.stored().await?;
            self.place = Some(Place { told, stream: Mark { sequence, ..link.mark() } });
        }
        Ok(())
    }

    /// Where to go on: behind the stream's last event, or what it was known to have; in another
    /// stream without an event of ours, with what is young enough.
    async fn find_place(&self, link: &Link) -> Result<Place, Error> {
        let stream = link.mark();
        let is_same = |place: &Place| {
            place.stream.created_ns == stream.created_ns && place.stream.sequence <= stream.sequence
        };
        let last = self.last_told(link).await?;
        match (self.place, last) {
            // Since the cursor's file was written more may have been stored.
            (Some(Place { told, .. }), last) if self.place.as_ref().is_some_and(is_same) => {
                return Ok(Place { told: last.map_or(told, |last| told.max(last)), stream });
            }
            (Some(place), Some(last)) => {
                warn!(stored = %place.told, found = %last,
                    "NATS lost events that it had stored: they are published again");
                return Ok(Place { told: last, stream });
            }
            (None, Some(last)) => return Ok(Place { told: last, stream }),
            (Some(_), None) => warn!(
                retention = ?self.nats.retention,
                "the stream is another, or was emptied: events as old as `retention` are published \
                 again"
            ),
            (None, None) => info!(retention = ?self.nats.retention, "the stream is new"),
        }
        let young = Wall(driver::now().0.saturating_sub(self.nats.retention.as_micros() as u64));
        let told = Position::end(self.source.since(young).await?.previous());
        Ok(Place { told, stream })
    }

    /// The place of the stream's last event, if it is of this journal.
    async fn last_told(&self, link: &Link) -> Result<Option<Position>, Error> {
        let Some(last) = link.last().await? else { return Ok(None) };
        let own = self.deriver.source();
        if let Some(other) = last.source.filter(|source| source != own) {
            return Err(Error::Nats(link.error(format!(
                "it holds events of {other}, and those here are of {own}: give each coordinator a \
                 NATS account of its own, or delete the stream"
            ))));
        }
        let Some(Id { position, time }) =
            last.id.parse::<Id>().ok().filter(|id| id.position.seq <= self.source.last())
        else {
            return Ok(None);
        };
        // After a restored backup the journal has other batches under the same numbers.
        let same = self.source.time_of(position.seq).await? == Some(time);
        Ok(same.then_some(position))
    }

    /// Notes for how long the first batch has waited that is not told.
    async fn see_what_waits(&mut self) {
        let told = self.place.map_or(Seq(0), |place| place.told.whole());
        if self.waiting != told.next()
            && let Ok(Some(time)) = self.source.time_of(told.next()).await
        {
            self.waiting = told.next();
            self.progress.told(told);
            self.progress.waiting(time);
        }
    }

    async fn save(&mut self) {
        let Some(place) = self.place.filter(|_| self.place != self.saved) else { return };
        match self.cursor.save(&place).await {
            Ok(()) => self.saved = Some(place),
            Err(error) => warn!(%error, "the cursor of events is not saved"),
        }
    }
}

/// The cursor, and where it stands. A damaged one is as good as none: the stream says where to go on.
fn open_cursor(config: &Config) -> Result<(Cursor, Option<Place>), Error> {
    match Cursor::open::<Place>(&config.data, CURSOR) {
        Err(error @ cursor::Error::Unreadable { .. }) => {
            warn!(%error, "the cursor of events is damaged: the stream says where to go on");
            Ok((Cursor::in_file(&config.data, CURSOR), None))
        }
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests;
