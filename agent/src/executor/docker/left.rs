//! Ending containers that no runner holds any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::engine::{Address, Engine, Error, Labelled};
use super::{AGENT_LABEL, MARK_LABEL};
use crate::attempt::{self, Attempt, Condition};

/// Between two tries to end a container.
const PAUSE: Duration = Duration::from_millis(200);

/// Between two looks for containers that nobody owns.
const ROUND: Duration = Duration::from_secs(180);

/// Ends and removes the containers of the attempt with `mark`: those with its label, which are
/// there also if a crash came before their ids were noted, and those in `ids`. Tries for `patience`.
///
/// Returns how many there were; once it does, none of them runs.
///
/// # Errors
/// The last one; containers may still run then.
pub async fn end(
    address: &Address,
    mark: Uuid,
    ids: &[String],
    patience: Duration,
) -> Result<usize, Error> {
    let deadline = Instant::now() + patience;
    let mut ended = 0;
    loop {
        match end_once(address, mark, ids).await {
            // The look behind the last removal found none.
            Ok(0) => return Ok(ended),
            Ok(count) => ended += count,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn end_once(address: &Address, mark: Uuid, ids: &[String]) -> Result<usize, Error> {
    let engine = Engine::connect(address).await?;
    let found = engine.labelled(&format!("{MARK_LABEL}={mark}")).await?;
    for container in &found {
        engine.remove(&container.id).await?;
    }
    for id in ids {
        engine.remove(id).await?;
    }
    Ok(found.len())
}

/// Removes the containers of attempts under `attempts` that no runner owns: those of attempts that
/// ended or are gone. A dead runner's are left to its burial.
///
/// Returns how many there were.
///
/// # Errors
/// The first one, after all were tried.
pub async fn reap(attempts: &Path, address: &Address) -> Result<usize, Error> {
    // Missing as a whole, they were hardly removed one by one.
    if !attempts.is_dir() {
        return Ok(0);
    }
    // Containers first, attempts then: what is younger than the list is not looked at.
    let engine = Engine::connect(address).await?;
    let label = format!("{AGENT_LABEL}={}", agent_of(attempts));
    let mut removed = 0;
    let mut first_error = None;
    for container in engine.labelled(&label).await? {
        if is_owned(attempts, &container) {
            continue;
        }
        match engine.remove(&container.id).await {
            Ok(()) => removed += 1,
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(removed), Err)
}

/// [`reap`], at once and then every few minutes. A host without an engine is none to warn about.
pub async fn reap_regularly(attempts: PathBuf) {
    let address = Address::from_env();
    loop {
        match reap(&attempts, &address).await {
            Ok(0) => {}
            Ok(containers) => tracing::info!(containers, "removed containers that nobody owned"),
            Err(error @ (Error::Unreachable { .. } | Error::Scheme(_))) => {
                tracing::debug!(%error, "containers that nobody owns cannot be looked for");
            }
            Err(error) => tracing::warn!(%error, "containers that nobody owns cannot be removed"),
        }
        sleep(ROUND).await;
    }
}

/// What tells the containers of one agent from those of others on the same engine.
pub(super) fn agent_of(attempts: &Path) -> String {
    attempts.canonicalize().unwrap_or_else(|_| attempts.to_owned()).display().to_string()
}

/// Whether somebody holds the container's attempt or will bury it. In doubt it is owned.
fn is_owned(attempts: &Path, container: &Labelled) -> bool {
    let Some(id) = container.attempt else { return true };
    let attempt = match Attempt::open(&attempts.join(id.to_string())) {
        Ok(attempt) => attempt,
        Err(attempt::Error::NoOrder(_)) => return false,
        Err(_) => return true,
    };
    let Ok(state) = attempt.state() else { return true };
    if container.mark.is_some_and(|mark| mark != state.mark) {
        return false;
    }
    match attempt.condition() {
        Ok(Condition::Finished(_)) => false,
        Ok(Condition::Held | Condition::Dead | Condition::Unstarted) | Err(_) => true,
    }
}
