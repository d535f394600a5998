//! Repositories as they are kept here: how old what is known of them may be, and how it is made new.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tracing::warn;

use crate::git::{self, Mirror};

/// Pauses between tries to fetch.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(10)];

/// How long a schedule or an event waits for what is new in its repository.
const PATIENCE: Duration = Duration::from_secs(60);

/// A configured repository.
pub(super) struct Repository {
    pub(super) mirror: Mirror,
    /// How old the mirror may be where an inventory is read from it.
    pub(super) max_age: Duration,
    /// How it was last brought up to date; held while that is done, so that it is done once.
    last: Mutex<Option<Fetched>>,
    /// Wakes whoever follows its default branch.
    pub(super) pushed: Notify,
}

/// A fetch: when it began, and why it failed if it did.
type Fetched = (Instant, Result<(), String>);

impl Repository {
    /// What is known of it may be as old as `max_age` where an inventory is read from it.
    pub(super) fn new(mirror: Mirror, max_age: Duration) -> Repository {
        Repository { mirror, max_age, last: Mutex::default(), pushed: Notify::new() }
    }

    /// The mirror as its repository was at most `age` before `begun`: what one trigger looks into
    /// again and again is fetched once, and what cannot be reached is waited for once.
    pub(super) async fn as_of(&self, begun: Instant, age: Duration) -> Result<Mirror, String> {
        let mut last = self.last.lock().await;
        let still_holds = |(at, result): &Fetched| match result {
            Ok(()) => *at + age >= begun,
            Err(_) => *at >= begun,
        };
        let fetched = match last.take().filter(still_holds) {
            Some(fetched) => fetched,
            None => {
                let now = Instant::now();
                (now, fetch(&self.mirror, None).await.map_err(|error| error.to_string()))
            }
        };
        last.insert(fetched).1.clone().map(|()| self.mirror.clone())
    }

    /// The same; if that cannot be had soon, the mirror as it was at its last fetch.
    pub(super) async fn as_of_or_kept(
        &self,
        begun: Instant,
        age: Duration,
    ) -> Result<Mirror, String> {
        let failed = match timeout(PATIENCE, self.as_of(begun, age)).await {
            Ok(Ok(mirror)) => return Ok(mirror),
            Ok(Err(failed)) => failed,
            Err(_) => {
                let failed = format!("it took longer than {} s", PATIENCE.as_secs());
                // Who looks into it again for the same trigger does not wait again.
                if let Ok(mut last) = self.last.try_lock() {
                    *last = Some((Instant::now(), Err(failed.clone())));
                }
                failed
            }
        };
        warn!(error = %failed, "the repository of a schedule or an event is taken as it was last fetched");
        self.mirror.recall().await.map_err(|_| failed)?;
        Ok(self.mirror.clone())
    }

    /// There is something new.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

/// Fetches all branches and tags, or one reference beside them; tries it a few times.
pub(super) async fn fetch(mirror: &Mirror, beside: Option<&str>) -> Result<(), git::Error> {
    let fetch = async || match beside {
        None => mirror.fetch().await,
        Some(reference) => mirror.fetch_beside(reference).await,
    };
    for pause in PAUSES {
        match fetch().await {
            Ok(()) => return Ok(()),
            Err(error) => warn!(%error, again_in_ms = pause.as_millis(), "fetch failed"),
        }
        tokio::time::sleep(pause).await;
    }
    fetch().await
}
