//! The request to end a job before its end.

use std::fmt;
use std::time::Duration;

use pipelines::outcome::Outcome;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lease::Over;

/// Why a job is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody cancelled it.
    Cancel,
    /// Its time limit has passed.
    TimeLimit,
    /// The runner itself was told to end, as when the host shuts down.
    Terminated,
    /// The attempt's lease has ended.
    Lease(Over),
}

/// Requests the end of one job; the first reason stands.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<Reason>>);

/// Sees the request.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<Reason>>);

/// The clock of a job's time limit.
#[derive(Debug)]
pub struct TimeLimit(watch::Sender<()>);

impl TimeLimit {
    /// A clock, and what must be polled for it: once `limit` has passed, that asks `stopper` to end
    /// the job.
    pub fn new(limit: Duration, stopper: Stopper) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, mut restarts) = watch::channel(());
        let run = async move {
            loop {
                tokio::select! {
                    () = sleep(limit) => break,
                    Ok(()) = restarts.changed() => {}
                }
            }
            stopper.stop(Reason::TimeLimit);
        };
        (Self(sender), run)
    }

    /// Starts the clock again in full: the script begins only now.
    pub fn restart(&self) {
        self.0.send_replace(());
    }
}

impl Stopper {
    /// A stopper and its other side, with no request yet.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Stop(receiver))
    }

    /// Requests the end.
    pub fn stop(&self, reason: Reason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }
}

impl Stop {
    /// Waits for the request, for ever if there is none. May be dropped and called again.
    pub async fn requested(&mut self) -> Reason {
        if let Ok(reason) = self.0.wait_for(Option::is_some).await
            && let Some(reason) = *reason
        {
            return reason;
        }
        std::future::pending().await
    }

    /// The request, if there is one already.
    pub fn now(&self) -> Option<Reason> {
        *self.0.borrow()
    }
}

impl Reason {
    /// How an attempt ends for this reason whose job provably runs no more.
    pub fn outcome(self) -> Outcome {
        match self {
            Reason::Cancel => Outcome::Cancelled,
            Reason::TimeLimit => Outcome::TimedOut,
            Reason::Terminated => Outcome::InfraError {
                reason: "the runner was told to end (SIGTERM), as when its host shuts down; \
                         the job was ended with it"
                    .into(),
            },
            Reason::Lease(over) => Outcome::Lost {
                reason: format!("{over}, and the job was ended for that, as its `lost_after` says"),
                may_run: false,
            },
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Cancel => f.write_str("cancelled"),
            Reason::TimeLimit => f.write_str("time limit passed"),
            Reason::Terminated => f.write_str("runner told to end"),
            Reason::Lease(over) => over.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_time_limit_counts_from_its_last_start() {
        let (stopper, stop) = Stopper::new();
        let (limit, mut clock) = {
            let (limit, clock) = TimeLimit::new(Duration::from_millis(50), stopper);
            (limit, Box::pin(clock))
        };
        for _ in 0..5 {
            let waited = tokio::time::timeout(Duration::from_millis(20), &mut clock).await;
            assert!(waited.is_err() && stop.now().is_none());
            limit.restart();
        }
        drop(limit);
        clock.await;
        assert_eq!(stop.now(), Some(Reason::TimeLimit));
    }

    #[tokio::test]
    async fn the_first_reason_stands() {
        let (stopper, mut stop) = Stopper::new();
        assert_eq!(stop.now(), None);
        stopper.stop(Reason::TimeLimit);
        stopper.stop(Reason::Cancel);
        assert_eq!(stop.requested().await, Reason::TimeLimit);
        assert_eq!(stop.now(), Some(Reason::TimeLimit));
    }
}
