//! Leases: how long an attempt may go on while its agent hears nothing of the coordinator.
//!
//! A lease counts from when the agent *sent* what the coordinator last acknowledged. The coordinator
//! waits longer, and from a later moment: from when it saw the session end. So it gives an attempt up
//! only when the lease has ended here.
//!
//! Invariant: a lease that has ended stays ended, whatever is heard later: the coordinator may have
//! given the attempt up meanwhile.

use std::time::Duration;

/// A moment of one boot of the host: µs since its start, with the time that it slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(pub u64);

/// The lease of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    base: BootTime,
    length: Duration,
    is_over: bool,
}

impl Lease {
    /// A lease of `length` that counts from `base`.
    pub fn new(base: BootTime, length: Duration) -> Lease {
        Lease { base, length, is_over: false }
    }

    /// From when it counts.
    pub fn base(&self) -> BootTime {
        self.base
    }

    /// How much is left of it at `now`; none once it has ended.
    pub fn left(&mut self, now: BootTime) -> Option<Duration> {
        let passed = Duration::from_micros(now.0.saturating_sub(self.base.0));
        self.is_over |= passed >= self.length;
        (!self.is_over).then(|| self.length.saturating_sub(passed))
    }

    /// Counts from `base` on, if that is later and the lease has not ended by `now`.
    pub fn renew(&mut self, base: BootTime, now: BootTime) {
        if self.left(now).is_some() {
            self.base = self.base.max(base);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * SECOND)
    }

    #[test]
    fn it_counts_from_its_latest_base() {
        let mut lease = Lease::new(at(100), Duration::from_secs(60));
        assert_eq!(lease.left(at(130)), Some(Duration::from_secs(30)));
        lease.renew(at(120), at(130));
        lease.renew(at(110), at(131));
        assert_eq!(lease.left(at(179)), Some(Duration::from_secs(1)));
        assert_eq!(lease.left(at(180)), None);
    }

    #[test]
    fn what_has_ended_cannot_be_renewed() {
        let mut lease = Lease::new(at(100), Duration::from_secs(60));
        // Nobody looked at it when it ended, as on a host that was asleep.
        lease.renew(at(500), at(501));
        assert_eq!(lease.left(at(502)), None);
        assert_eq!(lease.left(at(120)), None);
    }
}
