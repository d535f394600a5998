//! Follows the default branches of repositories, for pipelines that have schedules or want events.
//!
//! Level-triggered: it looks at start, behind each push, and every few minutes, and the core compares
//! what is there with what it knows. Where a repository cannot be reached its schedules stay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_core::event::Event;
use pipelines::name::RepositoryName;
use pipelines::schedule::{self, Found};
use pipelines::source::File;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::kept::Repository;
use super::{FILE, FOLDER, Resolver, SIDE_BY_SIDE, Shared, is_pipeline};
use crate::driver::Handle;
use crate::git;
use crate::store::view::{self, View};

/// Between two looks, for pushes that nobody told of.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// Follows them all.
pub struct Watcher {
    shared: Arc<Shared>,
    driver: Handle,
    view: View,
    looks: Semaphore,
    /// How many repositories were not looked at yet, since the start.
    unseen: watch::Sender<usize>,
}

/// A branch, in full, and its commit.
type Head = (String, String);

impl Resolver {
    /// Who follows the repositories that this resolves triggers of.
    pub fn watcher(&self, view: View) -> Watcher {
        let (shared, driver) = (Arc::clone(&self.shared), self.driver.clone());
        let looks = Semaphore::new(SIDE_BY_SIDE);
        let watcher = Watcher { shared, driver, view, looks, unseen: watch::Sender::new(0) };
        watcher.unseen.send_replace(watcher.bound().len());
        watcher
    }
}

impl Watcher {
    /// Follows until `stop`.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.forget_unbound().await?;
        let watcher = Arc::new(self);
        let mut tasks = JoinSet::new();
        for name in watcher.bound() {
            let (watcher, span) =
                (Arc::clone(&watcher), info_span!("schedules", repository = %name));
            tasks.spawn(async move { watcher.follow(&name).await }.instrument(span));
        }
        stop.cancelled().await;
        Ok(())
    }

    /// How many repositories were not looked at yet, since the start: with or without success.
    pub fn unseen(&self) -> watch::Receiver<usize> {
        self.unseen.subscribe()
    }

    /// Repositories that may deploy anywhere.
    fn bound(&self) -> Vec<RepositoryName> {
        let partitions = &self.shared.config.partitions;
        let is_bound =
            |name: &&RepositoryName| partitions.iter().any(|it| it.repositories.contains(name));
        self.shared.repositories.keys().filter(is_bound).cloned().collect()
    }

    /// Repositories whose pipelines are known to start by themselves.
    fn known(&self) -> Result<BTreeSet<RepositoryName>, view::Error> {
        let schedules = self.view.schedules()?.into_iter().map(|it| it.key.repository);
        let subscribers = self.view.subscribers()?.into_iter().map(|it| it.key.repository);
        Ok(schedules.chain(subscribers).collect())
    }

    /// Those of repositories that may deploy nowhere any more.
    async fn forget_unbound(&self) -> anyhow::Result<()> {
        let bound = self.bound();
        for repository in self.known()?.into_iter().filter(|name| !bound.contains(name)) {
            let head = (String::new(), String::new());
            self.report(&repository, &head, Vec::new()).await;
        }
        Ok(())
    }

    async fn follow(&self, name: &RepositoryName) {
        let Some(repository) = self.shared.repositories.get(name) else { return };
        let mut last = None;
        let mut is_first = true;
        loop {
            if let Ok(_permit) = self.looks.acquire().await {
                last = match self.look(name, repository, last.as_ref()).await {
                    Ok(head) => Some(head),
                    Err(error) => {
                        warn!(
                            error,
                            "the default branch cannot be looked at: schedules and events stay as they were"
                        );
                        last
                    }
                };
            }
            if std::mem::take(&mut is_first) {
                // Who hears of it finds in the view what was reported.
                drop(self.driver.look().await);
                self.unseen.send_modify(|unseen| *unseen -= 1);
            }
            // Too late is no harm: the next look tells the same.
            drop(timeout(EVERY, repository.pushed.notified()).await);
        }
    }

    /// Reports what is at the head, if that is not `last`.
    async fn look(
        &self,
        name: &RepositoryName,
        repository: &Repository,
        last: Option<&Head>,
    ) -> Result<Head, String> {
        let say = |error: git::Error| error.to_string();
        let head = repository.mirror.head().await.map_err(say)?;
        if last == Some(&head) {
            return Ok(head);
        }
        if repository.mirror.commit(&head.1).await.is_err() {
            repository.as_of(Instant::now(), Duration::ZERO).await?;
        }
        let mut found = Vec::new();
        let files = repository.mirror.files(&head.1, FOLDER).await.map_err(say)?;
        for path in files.into_iter().filter(|path| is_pipeline(path)) {
            let content = match repository.mirror.read(&head.1, &path, FILE).await {
                Ok(content) => content,
                // Nor does any run of it compile.
                Err(git::Error::TooLarge { .. }) => None,
                Err(error) => return Err(error.to_string()),
            };
            let Some(bytes) = content else { continue };
            match schedule::find(&File { name: path.clone(), bytes }) {
                Ok(pipeline) => found.extend(pipeline),
                Err(_) => warn!(
                    path,
                    commit = head.1,
                    "when this pipeline starts by itself cannot be read"
                ),
            }
        }
        let known = self.known().map_err(|error| error.to_string())?;
        if !found.is_empty() || known.contains(name) {
            let schedules: usize = found.iter().map(|it| it.schedules.len()).sum();
            let events: usize = found.iter().map(|it| it.subscriptions.len()).sum();
            info!(branch = head.0, commit = head.1, schedules, events, "looked at");
            self.report(name, &head, found).await;
        }
        Ok(head)
    }

    async fn report(&self, repository: &RepositoryName, head: &Head, pipelines: Vec<Found>) {
        let (reference, commit) = head.clone();
        let repository = repository.clone();
        self.driver
            .report(Event::SchedulesFound { repository, reference, commit, pipelines })
            .await;
    }
}
