//! Whoever tells others what happens: NATS, forges, and receivers of webhooks.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::events::Publisher;
use crate::events::webhooks::{self, Sender};
use crate::feed::Source;
use crate::feed::progress::Progress;
use crate::statuses::{self, Teller};
use crate::store::view::View;

/// How far each of those that are configured is told.
#[derive(Debug, Default)]
pub struct Feeds {
    events: Option<Progress>,
    statuses: Option<Progress>,
    /// In the configuration's order.
    webhooks: Vec<Progress>,
}

/// Those that are configured.
pub struct Telling {
    publisher: Option<Publisher>,
    teller: Option<Teller>,
    senders: Vec<Sender>,
}

impl Feeds {
    /// Nobody was told anything yet.
    pub fn of(config: &Config) -> Feeds {
        let has_statuses = config.forges.iter().any(|it| it.statuses.is_some());
        Feeds {
            events: config.nats.is_some().then(Progress::default),
            statuses: has_statuses.then(Progress::default),
            webhooks: config.webhooks.iter().map(|_| Progress::default()).collect(),
        }
    }

    /// Each with its name in metrics.
    pub fn named(&self, config: &Config) -> Vec<(String, Progress)> {
        let events = self.events.iter().map(|it| ("events".to_owned(), it.clone()));
        let statuses = self.statuses.iter().map(|it| ("statuses".to_owned(), it.clone()));
        let names = config.webhooks.iter().map(|it| format!("webhook:{}", it.name));
        events.chain(statuses).chain(names.zip(self.webhooks.iter().cloned())).collect()
    }
}

impl Telling {
    /// Each goes on where it stopped.
    ///
    /// # Errors
    /// If a secret or a cursor of one cannot be used. Nobody that is told need be there.
    pub fn open(
        feeds: Feeds,
        config: &Config,
        source: &Source,
        view: &View,
    ) -> anyhow::Result<Telling> {
        let publisher = config.nats.as_ref().map(|nats| {
            let progress = feeds.events.unwrap_or_default();
            Publisher::open(nats, config, source.clone(), view.clone(), progress)
        });
        let (options, progress) =
            (statuses::Options::default(), feeds.statuses.unwrap_or_default());
        let teller = Teller::open(config, source.clone(), view.clone(), progress, options)?;
        let senders = config.webhooks.iter().zip(feeds.webhooks).map(|(webhook, progress)| {
            let options = webhooks::Options::default();
            Sender::open(webhook, config, source.clone(), view.clone(), progress, options)
        });
        let senders = senders.collect::<Result<_, _>>()?;
        Ok(Telling { publisher: publisher.transpose()?, teller, senders })
    }

    /// Has each of them run until `stop`.
    pub fn start(self, parts: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        if let Some(publisher) = self.publisher {
            parts.spawn(publisher.run(stop.clone()));
        }
        if let Some(teller) = self.teller {
            parts.spawn(teller.run(stop.clone()));
        }
        for sender in self.senders {
            parts.spawn(sender.run(stop.clone()));
        }
    }
}
