//! Watching one attempt's lease; see [`agent_core::lease`].

use std::future::pending;
use std::time::Duration;

use agent_core::lease::{BootTime, Lease};
use pipelines::quantity::Seconds;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock;

/// Between two looks at the clock: timers stand still while the host sleeps, the clock does not.
const SLICE: Duration = Duration::from_secs(1);

/// When the agent sent what the coordinator last acknowledged; none before the first time since
/// this agent's start.
pub type Acknowledged = watch::Receiver<Option<BootTime>>;

/// The lease of one attempt, as one process holds it; for an attempt without one it never ends.
#[derive(Debug, Clone)]
pub struct Watch {
    lease: Option<Lease>,
    /// How it ended, if it has.
    over: Over,
    acknowledged: Acknowledged,
}

/// A lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// It was not renewed for so many seconds.
    #[error("the agent was without the coordinator for {}", Seconds(*.0))]
    Passed(u32),
    /// Its clock ended with the host's last boot.
    #[error("the host rebooted, so nobody can say whether the agent was without the coordinator for {}", Seconds(*.0))]
    Rebooted(u32),
}

impl Watch {
    /// A lease of `seconds` that counts from `base`, and from what is acknowledged later.
    pub fn new(base: BootTime, seconds: u32, acknowledged: Acknowledged) -> Watch {
        let length = Duration::from_secs(seconds.into());
        let mut acknowledged = acknowledged;
        acknowledged.mark_changed();
        Watch { lease: Some(Lease::new(base, length)), over: Over::Passed(seconds), acknowledged }
    }

    /// A lease of `seconds` that was given in an earlier boot: it has ended.
    pub fn rebooted(seconds: u32, acknowledged: Acknowledged) -> Watch {
        let lease = Some(Lease::new(BootTime(0), Duration::ZERO));
        Watch { lease, over: Over::Rebooted(seconds), acknowledged }
    }

    /// None.
    pub fn without(acknowledged: Acknowledged) -> Watch {
        Watch { lease: None, over: Over::Passed(0), acknowledged }
    }

    /// From when it counts now; none without one.
    ///
    /// # Errors
    /// It has ended.
    pub fn base(&mut self) -> Result<Option<BootTime>, Over> {
        let Some(lease) = &mut self.lease else { return Ok(None) };
        let now = clock::boot_time();
        if let Ok(true) = self.acknowledged.has_changed()
            && let Some(base) = *self.acknowledged.borrow_and_update()
        {
            lease.renew(base, now);
        }
        match lease.left(now) {
            Some(_) => Ok(Some(lease.base())),
            None => Err(self.over),
        }
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn over(&mut self) -> Over {
        loop {
            if let Err(over) = self.base() {
                return over;
            }
            let Some(lease) = &mut self.lease else { return pending().await };
            let left = lease.left(clock::boot_time()).unwrap_or_default();
            tokio::select! {
                () = sleep(left.min(SLICE)) => {}
                // Without a sender nothing is acknowledged any more.
                Ok(()) = self.acknowledged.changed() => self.acknowledged.mark_changed(),
            }
        }
    }

    /// What renews it, if there is one.
    pub fn renewals(&self) -> Option<Acknowledged> {
        self.lease.map(|_| self.acknowledged.clone())
    }
}
