//! The end of an attempt whose runner died without a verdict, or hung and was ended.
//!
//! It is never taken up again: what it was told to mask is gone with the runner.

use std::time::Duration;

use pipelines::order::Order;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::plan::Task;
use proto::log::Stream;

use crate::attempt::state::{Note, Started, State};
use crate::attempt::{self, Attempt};
use crate::executor::Reason;
use crate::executor::docker::{self, Address};
use crate::processes::{self, Owned};
use crate::secrets::tmpfs;
use crate::{clock, executor, spool};

/// How long processes may take to end on SIGKILL, and the engine to end a container.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an attempt could not be buried; it may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory cannot be used, or it is not dead.
    #[error(transparent)]
    Attempt(#[from] attempt::Error),
    /// Its log cannot be closed.
    #[error("cannot close the log of attempt {id}: {source}")]
    Log {
        /// The attempt.
        id: pipelines::id::AttemptId,
        /// Why not.
        source: std::io::Error,
    },
    /// The engine cannot be asked, so nobody can say that its container is gone.
    #[error("the container of attempt {id} may still run, so its verdict has to wait: {source}")]
    Container {
        /// The attempt.
        id: pipelines::id::AttemptId,
        /// Why it could not be ended.
        source: docker::EngineError,
    },
    /// Files with its secrets cannot be removed.
    #[error("cannot remove the secrets of attempt {id} from memory: {source}")]
    Secrets {
        /// The attempt.
        id: pipelines::id::AttemptId,
        /// Why not.
        source: std::io::Error,
    },
    /// The boot's id cannot be read.
    #[error("cannot read the boot's id: {0}")]
    Boot(std::io::Error),
}

/// What became of what a dead runner left.
struct Left {
    /// How its runner went, and what else was done.
    reason: String,
    /// Whether something of it may still run.
    may_run: bool,
}

/// Ends what is left of `attempt` ([`attempt::Condition::Dead`]), closes its log, and writes the
/// verdict `lost`; durable when it returns. One that has a verdict keeps it. Takes seconds if
/// processes resist.
pub async fn bury(attempt: &Attempt) -> Result<Verdict, Error> {
    bury_with(attempt, &Address::from_env()).await
}

/// [`bury`] with the engine at `address`, if the job ran in a container.
pub async fn bury_with(attempt: &Attempt, address: &Address) -> Result<Verdict, Error> {
    close(attempt, address, None).await
}

/// [`bury`] for a runner that hung when it should have ended its job for `reason`, and was ended
/// itself: if nothing of the job is left to run, then what was wanted is reached, and the verdict
/// is that of `reason`.
pub async fn bury_hung(attempt: &Attempt, reason: Reason) -> Result<Verdict, Error> {
    close(attempt, &Address::from_env(), Some(reason)).await
}

async fn close(
    attempt: &Attempt,
    address: &Address,
    hung: Option<Reason>,
) -> Result<Verdict, Error> {
    let id = attempt.id();
    let lock = attempt.lock()?.ok_or(attempt::Error::Alive(id))?;
    let state = attempt.state()?;
    if let Some(verdict) = state.verdict {
        return Ok(verdict);
    }
    let Some(started) = &state.started else { return Err(attempt::Error::Unstarted(id).into()) };
    let died = match hung {
        None => "runner died".to_owned(),
        Some(reason) => format!("{reason}: the runner hung and was ended"),
    };
    let left = end_left_overs(attempt, &state, started, address, &died).await?;
    let Left { mut reason, may_run } = left;
    let may_run = may_run || state.notes.iter().any(is_remote);
    tmpfs::remove(state.mark).map_err(|source| Error::Secrets { id, source })?;
    if let Some(remote) = remote(attempt, &state) {
        reason = format!("{reason}; {remote}");
    }
    // Whole logs are read, which may be gigabytes.
    let path = attempt.log();
    let line = format!("{reason}; what it wrote last may be missing here\n");
    let log = tokio::task::spawn_blocking(move || {
        let mut log = spool::Writer::open(&path)?;
        log.append(Stream::System, line.as_bytes())?;
        log.close()
    })
    .await
    .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
    .map_err(|source| Error::Log { id, source })?;
    let outcome = match hung {
        Some(hung) if !may_run => hung.outcome(),
        _ => Outcome::Lost { reason, may_run },
    };
    Ok(attempt.finish(&lock, log, Some(started.at_us), outcome)?)
}

/// Ends what still runs of the job on this host, whose runner `died`; says so.
async fn end_left_overs(
    attempt: &Attempt,
    state: &State,
    started: &Started,
    address: &Address,
    died: &str,
) -> Result<Left, Error> {
    let over = |reason: String| Left { reason, may_run: false };
    if clock::boot_id().map_err(Error::Boot)? != started.boot_id {
        return Ok(over("host rebooted while the job ran".into()));
    }
    let mut died = died.to_owned();
    let in_container = ran_in_container(attempt, state)?;
    if in_container {
        let ended = docker::end(address, state.mark, &containers(state), PATIENCE).await;
        died.push_str(
            match ended.map_err(|source| Error::Container { id: attempt.id(), source })? {
                0 => "; no container of the job was left",
                _ => "; the job's container was ended",
            },
        );
    }
    // Also of a container: an engine that died while it started one has forgotten that it runs.
    Ok(match left_overs(state).end(PATIENCE).await {
        Ok(0) if in_container => over(died),
        Ok(0) => over(format!("{died}; no process of the job was left")),
        Ok(count) => over(format!("{died}; {count} processes of the job were ended")),
        Err(error @ (processes::Error::StillAlive(_) | processes::Error::Proc(_))) => {
            Left { reason: format!("{died}; of the job, {error}"), may_run: true }
        }
    })
}

/// There may be one also where none was noted yet.
fn ran_in_container(attempt: &Attempt, state: &State) -> Result<bool, Error> {
    let order = Order::from_bytes(&attempt.order()?);
    Ok(order.is_ok_and(|order| matches!(order.job.task, Task::Container(_)))
        || !containers(state).is_empty())
}

fn containers(state: &State) -> Vec<String> {
    let ids = state.notes.iter().filter_map(|note| match note {
        Note::Container { id } => Some(id.clone()),
        Note::ProcessGroup { .. } | Note::RemoteGroup { .. } | Note::RemoteLines | Note::Reboot => {
            None
        }
    });
    ids.collect()
}

fn is_remote(note: &Note) -> bool {
    match note {
        Note::RemoteGroup { .. } | Note::RemoteLines | Note::Reboot => true,
        Note::ProcessGroup { .. } | Note::Container { .. } => false,
    }
}

/// What may run on a device. It is not ended from here, where its keys are not: the next attempt of
/// the job finds and ends it first.
fn remote(attempt: &Attempt, state: &State) -> Option<String> {
    let last = state.notes.iter().rfind(|note| is_remote(note))?;
    let order = Order::from_bytes(&attempt.order().ok()?).ok()?;
    let Task::Ssh(ssh) = &order.job.task else { return None };
    match last {
        Note::RemoteGroup { group } => Some(executor::ssh::may_run(*group, &ssh.device)),
        Note::RemoteLines => Some(executor::ssh::lines_may_run(&ssh.device)),
        Note::Reboot => Some(executor::ssh::may_reboot(&ssh.device)),
        Note::ProcessGroup { .. } | Note::Container { .. } => None,
    }
}

fn left_overs(state: &State) -> Owned {
    let mut owned = Owned::marked(state.mark);
    for note in &state.notes {
        match note {
            Note::ProcessGroup { group, session } => owned = owned.and_group(*group, *session),
            // Ended by those who know the engine or the device.
            Note::Container { .. }
            | Note::RemoteGroup { .. }
            | Note::RemoteLines
            | Note::Reboot => {}
        }
    }
    owned
}
