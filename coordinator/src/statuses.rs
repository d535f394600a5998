//! Commit statuses: a forge is told what became of the runs that its pushes started.
//!
//! Level, not edge: a feed says which runs changed, and each is told as the view has it when its
//! turn comes, so that a newer state overtakes one that waits. Each repository is told one thing at
//! a time and waits by itself after a failure. Invariant: nothing waits for a forge.

mod api;
mod gitea;
mod github;
mod gitlab;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_core::actor::Actor;
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::run::{self, Run};
use pipelines::id::RunId;
use pipelines::name::{ForgeName, RepositoryName};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::api::Api;
use crate::config::{Config, Origin};
use crate::driver;
use crate::feed::cursor::{self, Cursor};
use crate::feed::pause::Pause;
use crate::feed::progress::Progress;
use crate::feed::{Feed, Source};
use crate::outgoing::Answer;
use crate::store::journal::{Changed, Seq};
use crate::store::view::{self, View};

/// Runs of one repository that wait; beyond that the oldest are given up.
const WAITING: usize = 1000;

/// A state that is older is not told any more: 30 days, in µs.
const OLD_US: u64 = 30 * 24 * 3600 * 1_000_000;

/// How often the cursor's file is written, if it moved.
const SAVE: Duration = Duration::from_secs(1);

/// How forges are treated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a forge may take to answer. Default 10 s.
    pub patience: Duration,
    /// Pauses after a failure: the first, and the longest. Default 1 s and 5 min.
    pub pauses: (Duration, Duration),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            patience: Duration::from_secs(10),
            pauses: (Duration::from_secs(1), Duration::from_secs(300)),
        }
    }
}

/// Tells forges.
pub struct Teller {
    forges: BTreeMap<ForgeName, Forge>,
    repositories: BTreeMap<Key, Repository>,
    /// Where people see runs.
    origin: Option<Origin>,
    view: View,
    feed: Feed,
    /// The last batch that was read.
    read: Seq,
    /// The batch up to which is read before anybody is told, so that what is older than the start
    /// is told once, as it is now.
    behind: Seq,
    progress: Progress,
    cursor: Cursor,
    saved: Seq,
    options: Options,
    sending: JoinSet<(Key, RunId, Waiting, Answer)>,
}

/// A forge that is told.
struct Forge {
    api: Api,
    /// What it calls our repositories.
    full_names: BTreeMap<RepositoryName, String>,
    /// It wants to hear nothing before this time.
    not_before: Instant,
}

/// A repository at a forge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    forge: ForgeName,
    repository: RepositoryName,
}

/// What a repository is to be told.
struct Repository {
    waiting: BTreeMap<RunId, Waiting>,
    /// The latest that was its turn.
    latest: RunId,
    sending: Option<Waiting>,
    pause: Pause,
    not_before: Instant,
}

/// A run that is to be told: the first batch that changed it and was not told.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    seq: Seq,
    time: Wall,
}

/// What the cursor's file says.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    seq: Seq,
}

/// Why forges cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What a forge needs cannot be read.
    #[error("statuses of forge '{forge}': {source}")]
    Forge {
        /// Which one.
        forge: ForgeName,
        /// Why.
        source: api::Error,
    },
    /// The cursor's file.
    #[error(transparent)]
    Cursor(#[from] cursor::Error),
}

impl Teller {
    /// A teller that goes on where the last one of this data directory stopped; the first one begins
    /// with what happens from now on. None if the configuration asks for no statuses.
    ///
    /// # Errors
    /// If a token, a certificate or the cursor cannot be read.
    pub fn open(
        config: &Config,
        source: Source,
        view: View,
        progress: Progress,
        options: Options,
    ) -> Result<Option<Teller>, Error> {
        let mut forges = BTreeMap::new();
        for forge in &config.forges {
            let Some(statuses) = &forge.statuses else { continue };
            let name = || forge.name.clone();
            let api = Api::open(forge, statuses, options.patience)
                .map_err(|source| Error::Forge { forge: name(), source })?;
            let names = forge.repositories.iter();
            let full_names = names.map(|it| (it.name.clone(), it.full_name.clone())).collect();
            forges.insert(name(), Forge { api, full_names, not_before: Instant::now() });
        }
        if forges.is_empty() {
            return Ok(None);
        }
        let last = source.last();
        let (cursor, place) = Cursor::open::<Place>(&config.data, "statuses.cursor")?;
        let read = match place {
            // Beyond the end, as after a restored backup, it stands at the end.
            Some(place) => place.seq.min(last),
            None => {
                cursor.write(&Place { seq: last })?;
                last
            }
        };
        progress.told(read);
        Ok(Some(Teller {
            forges,
            repositories: BTreeMap::new(),
            origin: config.http.url.clone(),
            view,
            feed: Feed::new(source, read.next()),
            read,
            behind: last,
            progress,
            cursor,
            saved: read,
            options,
            sending: JoinSet::new(),
        }))
    }

    /// Tells forges until `stop`; what is on its way then is told again by the next start.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut save = interval(SAVE);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_due();
            let due = self.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                batches = self.feed.next() => self.take(&batches),
                Some(sent) = self.sending.join_next() => self.sent(sent),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = save.tick() => self.save().await,
            }
            self.show_progress();
        }
        self.save().await;
        Ok(())
    }

    /// Notes which runs changed.
    fn take(&mut self, batches: &[Changed]) {
        for batch in batches {
            let waiting = Waiting { seq: batch.seq, time: batch.now };
            for change in &batch.changes {
                if let Some(run) = self.changed(change)
                    && let Some(key) = self.key(&run)
                {
                    self.wait(key, run.id, waiting);
                }
            }
            self.read = batch.seq;
        }
    }

    /// The run of which forges are told something else after a change: its own, or that of a gate.
    fn changed(&self, change: &Change) -> Option<Run> {
        match change {
            Change::Run(run) => Some(run.clone()),
            Change::Job(job) if job.state.is_of_gate() => {
                let found = self.view.run(job.id.run);
                found.unwrap_or_else(|error| {
                    warn!(run = %job.id.run, %error, "the forge is not told");
                    None
                })
            }
            _ => None,
        }
    }

    /// Who is told of a run: the forge whose push started it, if it is told at all.
    fn key(&self, run: &Run) -> Option<Key> {
        let Actor::Forge { forge, .. } = &run.actor else { return None };
        let forge: ForgeName = forge.parse().ok()?;
        self.forges.get(&forge)?.full_names.get(&run.repository)?;
        Some(Key { forge, repository: run.repository.clone() })
    }

    fn wait(&mut self, key: Key, run: RunId, waiting: Waiting) {
        let (first, most) = self.options.pauses;
        let repository = self.repositories.entry(key).or_insert_with_key(|_| Repository {
            waiting: BTreeMap::new(),
            latest: RunId(0),
            sending: None,
            pause: Pause::new(first, most),
            not_before: Instant::now(),
        });
        repository.waiting.entry(run).or_insert(waiting);
        if repository.waiting.len() > WAITING
            && let Some((run, _)) = repository.waiting.pop_first()
        {
            warn!(%run, "too many runs wait to be told to the forge: this one is not told");
        }
    }

    /// Begins to tell each repository that has something to hear and whose time has come.
    fn start_due(&mut self) {
        if self.read < self.behind {
            return;
        }
        let now = Instant::now();
        for (key, repository) in &mut self.repositories {
            let Some(forge) = self.forges.get(&key.forge) else { continue };
            while repository.sending.is_none()
                && repository.not_before.max(forge.not_before) <= now
                && let Some((run, waiting)) = repository.take_next()
            {
                match status(&self.view, run, self.origin.as_ref()) {
                    Ok(Some((record, status))) => {
                        let Some(full_name) = forge.full_names.get(&key.repository) else {
                            continue;
                        };
                        repository.sending = Some(waiting);
                        let (api, full_name) = (forge.api.clone(), full_name.clone());
                        let key = key.clone();
                        self.sending.spawn_blocking(move || {
                            let now = driver::now();
                            let answer = api.set(&full_name, &record, &status, now);
                            (key, run, waiting, answer)
                        });
                    }
                    Ok(None) => info!(%run, "its state is too old: the forge is not told"),
                    Err(error) => warn!(%run, %error, "the forge is not told"),
                }
            }
        }
    }

    /// When something waits whose time has not come: when it comes.
    fn next_due(&self) -> Option<Instant> {
        let idle = self
            .repositories
            .iter()
            .filter(|(_, it)| it.sending.is_none() && !it.waiting.is_empty());
        let due = idle.filter_map(|(key, it)| {
            Some(it.not_before.max(self.forges.get(&key.forge)?.not_before))
        });
        if self.read < self.behind { None } else { due.min() }
    }

    fn sent(&mut self, sent: Result<(Key, RunId, Waiting, Answer), JoinError>) {
        let (key, run, waiting, answer) = match sent {
            Ok(sent) => sent,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only a stopping runtime ends it.
            Err(_) => return,
        };
        let Some(repository) = self.repositories.get_mut(&key) else { return };
        repository.sending = None;
        let Key { forge, repository: name } = &key;
        let again = match answer {
            Answer::Taken => {
                debug!(%run, %forge, repository = %name, "status set");
                None
            }
            Answer::Refused(why) => {
                warn!(%run, %forge, repository = %name, why, "the forge refuses the status: given up");
                None
            }
            Answer::Failed(why) => {
                let pause = repository.pause.take();
                warn!(%run, %forge, repository = %name, why, ?pause, "the status waits");
                repository.not_before = Instant::now() + pause;
                Some(waiting)
            }
            Answer::Limited(pause) => {
                warn!(%run, %forge, ?pause, "the forge has enough of us for now: statuses wait");
                if let Some(forge) = self.forges.get_mut(forge) {
                    forge.not_before = Instant::now() + pause;
                }
                Some(waiting)
            }
        };
        match again {
            // What changed meanwhile is told with it.
            Some(waiting) => drop(repository.waiting.insert(run, waiting)),
            None => repository.pause.reset(),
        }
    }

    /// The oldest that is not told.
    fn oldest(&self) -> Option<Waiting> {
        let all = self.repositories.values();
        let waiting = all.flat_map(|it| it.waiting.values().chain(&it.sending));
        waiting.min_by_key(|waiting| waiting.seq).copied()
    }

    fn show_progress(&self) {
        match self.oldest() {
            Some(oldest) => {
                self.progress.told(oldest.seq.previous());
                self.progress.waiting(oldest.time);
            }
            None => self.progress.told(self.read),
        }
    }

    async fn save(&mut self) {
        let seq = self.oldest().map_or(self.read, |oldest| oldest.seq.previous());
        if seq == self.saved {
            return;
        }
        match self.cursor.save(&Place { seq }).await {
            Ok(()) => self.saved = seq,
            Err(error) => warn!(%error, "the cursor of statuses is not saved"),
        }
    }
}

impl Repository {
    /// The next run, each in its turn: one that fails again and again does not keep others waiting.
    fn take_next(&mut self) -> Option<(RunId, Waiting)> {
        let behind = self.waiting.range(RunId(self.latest.0 + 1)..).next();
        let (run, _) = behind.or_else(|| self.waiting.first_key_value())?;
        self.latest = *run;
        self.waiting.remove_entry(&self.latest)
    }
}

/// What is to be told of a run now; nothing if that is too old.
fn status(
    view: &View,
    id: RunId,
    origin: Option<&Origin>,
) -> Result<Option<(Run, words::Status)>, view::Error> {
    let missing = || view::Error::Damaged(format!("run {id} is missing"));
    let run = view.run(id)?.ok_or_else(missing)?;
    let since = match run.state {
        run::State::Waiting { .. } | run::State::Active | run::State::Invalid { .. } => run.created,
        run::State::Finished { at, .. } => at,
    };
    if driver::now().0.saturating_sub(since.0) > OLD_US {
        return Ok(None);
    }
    let plan = view.plan(id)?;
    let status = words::status(&run, plan.as_deref(), &view.jobs(id)?, origin);
    Ok(Some((run, status)))
}

#[cfg(test)]
mod tests;
