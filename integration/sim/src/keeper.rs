//! The keeper of one attempt, as `agent/src/keeper.rs` has it: has its runner started or found, and
//! follows it to the verdict. Fetching source and artifacts is left out.

use agent_core::Event;
use agent_core::lease::{BootTime, Lease};
use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Verdict};

use crate::host::{Condition, Terms};
use crate::mutant::Mutant;
use crate::runner::Runner;
use crate::world::{World, note};

/// Runners in a row that may end before they start anything.
const TRIES: u32 = 3;

/// Follows one attempt.
#[derive(Debug, Clone)]
pub struct Keeper {
    way: Way,
    tries: u32,
    asked: bool,
    told: bool,
    lease: Option<Lease>,
    /// What the runner was told last of its lease.
    renewed: Option<BootTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With a new runner.
    Spawn,
    /// With the runner that lives.
    Attach,
    /// With the runner of this pid.
    Follow(u64),
}

impl Keeper {
    /// One that begins this way. It knows the lease as it was when the order came; one of an earlier
    /// boot has ended.
    pub(crate) fn new(way: Way, terms: Terms, boot: u32) -> Keeper {
        let lease = terms.lease_s.map(|seconds| match terms.base {
            Some((given, base)) if given == boot => lease(base, seconds),
            _ => lease(BootTime(0), 0),
        });
        Keeper { way, tries: 0, asked: false, told: false, lease, renewed: None }
    }

    /// From when its lease counts, if it has one; an error if it has ended.
    fn base(&mut self, acknowledged: Option<BootTime>, now: BootTime) -> Result<BootTime, ()> {
        let Some(lease) = &mut self.lease else { return Ok(now) };
        if let Some(base) = acknowledged {
            lease.renew(base, now);
        }
        lease.left(now).map(|_| lease.base()).ok_or(())
    }

    /// Whether the runner has yet to hear of this renewal.
    fn is_news(&self, acknowledged: Option<BootTime>) -> bool {
        self.lease.is_some() && acknowledged > self.renewed
    }
}

/// A lease of so many seconds.
pub(crate) fn lease(base: BootTime, seconds: u32) -> Lease {
    Lease::new(base, std::time::Duration::from_secs(seconds.into()))
}

impl World {
    /// Whether a keeper has anything to do.
    pub(crate) fn can_keep(&self, h: usize, attempt: AttemptId) -> bool {
        let Some(agent) = &self.hosts[h].agent else { return false };
        let Some(keeper) = agent.keepers.get(&attempt) else { return false };
        let Way::Follow(pid) = keeper.way else { return true };
        match self.hosts[h].runners.get(&pid) {
            None => true,
            Some(runner) => {
                (runner.started().is_some() && !keeper.told)
                    || (agent.cancelled.contains(&attempt) && !keeper.asked)
                    || (runner.listens() && keeper.is_news(agent.acknowledged))
            }
        }
    }

    /// A keeper looks at its runner.
    pub(crate) fn keep(&mut self, h: usize, attempt: AttemptId) {
        let pid = self.unique();
        let now = self.boot_time(h);
        let host = &mut self.hosts[h];
        let condition = host.condition(attempt);
        let is_held = host.is_locked(attempt);
        let terms = host.dirs.get(&attempt).map(|dir| dir.terms).unwrap_or_default();
        let Some(agent) = &mut host.agent else { return };
        let (cancelled, acknowledged) = (agent.cancelled.contains(&attempt), agent.acknowledged);
        let Some(keeper) = agent.keepers.get_mut(&attempt) else { return };
        let gone = |pid: u64| !host.runners.contains_key(&pid);
        match (keeper.way, condition) {
            (_, None) => drop(agent.keepers.remove(&attempt)),
            (Way::Spawn, _) if cancelled => self.conclude_unstarted(h, attempt, Outcome::Cancelled),
            (Way::Spawn, _) => {
                let Ok(base) = keeper.base(acknowledged, now) else {
                    let reason = "its lease ended before anything was started".to_owned();
                    let outcome = Outcome::Lost { reason, may_run: false };
                    return self.conclude_unstarted(h, attempt, outcome);
                };
                keeper.way = Way::Follow(pid);
                let lease = terms.lease_s.map(|seconds| lease(base, seconds));
                host.runners.insert(pid, Runner::new(attempt, lease));
                note!(self, "spawns a runner for {attempt}");
            }
            (Way::Attach, Some(Condition::Held)) => {
                let mut runners = host.runners.iter();
                let holder = runners.find(|(_, it)| it.attempt == attempt && it.has_lock());
                keeper.way = holder.map_or(Way::Attach, |(pid, _)| Way::Follow(*pid));
                note!(self, "attaches to the runner of {attempt}");
            }
            (Way::Follow(pid), _) if !gone(pid) => {
                let Some(runner) = host.runners.get_mut(&pid) else { return };
                runner.cancelled |= cancelled;
                keeper.asked |= cancelled;
                if runner.listens() && keeper.is_news(acknowledged) {
                    keeper.renewed = acknowledged;
                    if let (Some(base), Some(lease)) = (acknowledged, &mut runner.lease) {
                        lease.renew(base, now);
                        let end = runner.lease_end();
                        host.programs
                            .get_mut(&attempt)
                            .into_iter()
                            .for_each(|it| it.lease_end = end);
                        note!(self, "renews the lease of {attempt}");
                    }
                }
                let host = &mut self.hosts[h];
                let started = host.runners.get(&pid).and_then(Runner::started);
                let Some(agent) = &mut host.agent else { return };
                let Some(keeper) = agent.keepers.get_mut(&attempt) else { return };
                if let (Some(started_us), false) = (started, keeper.told) {
                    keeper.told = true;
                    self.agent_event(h, Event::RunnerStarted { attempt, started_us });
                }
            }
            (Way::Attach | Way::Follow(_), Some(Condition::Finished(_))) => {
                self.concluded(h, attempt);
            }
            (Way::Attach | Way::Follow(_), Some(Condition::Dead)) => {
                self.bury(h, attempt);
                self.concluded(h, attempt);
            }
            (Way::Attach | Way::Follow(_), Some(Condition::Held | Condition::Unstarted)) => {
                keeper.tries += 1;
                (keeper.asked, keeper.renewed) = (false, None);
                keeper.way = if is_held { Way::Attach } else { Way::Spawn };
                if keeper.tries >= TRIES {
                    let reason = "the runner ended before it started anything".to_owned();
                    self.conclude_unstarted(h, attempt, Outcome::InfraError { reason });
                }
            }
        }
    }

    /// Ends an attempt that provably was not started. One that is in a runner's hands by now, which
    /// an earlier agent process spawned, keeps its runner, and is followed.
    fn conclude_unstarted(&mut self, h: usize, attempt: AttemptId, outcome: Outcome) {
        if self.hosts[h].condition(attempt) == Some(Condition::Unstarted) {
            note!(self, "concludes {attempt}: {outcome}");
            let verdict = self.verdict(h, attempt, None, outcome);
            self.write_verdict(h, attempt, verdict);
            self.hosts[h].dir(attempt).into_iter().for_each(|dir| dir.sync());
            self.concluded(h, attempt);
        } else {
            note!(self, "cannot conclude {attempt}, and follows it");
            let keeper = self.hosts[h].keeper(attempt, Way::Attach);
            let agent = self.hosts[h].agent.as_mut();
            agent.and_then(|agent| agent.keepers.insert(attempt, keeper));
        }
    }

    /// The verdict rests on the disk, and is synced if a killed runner did not: the log is uploaded
    /// to its end, and the core hears of it.
    pub(crate) fn concluded(&mut self, h: usize, attempt: AttemptId) {
        let host = &mut self.hosts[h];
        host.dir(attempt).into_iter().for_each(|dir| dir.sync());
        let Some(verdict) = host.dir(attempt).and_then(|dir| dir.verdict()).cloned() else {
            return;
        };
        let Some(agent) = &mut host.agent else { return };
        agent.keepers.remove(&attempt);
        agent.uploads.entry(attempt).or_default().ends(&verdict.log);
        self.agent_event(h, Event::Concluded { attempt, verdict });
    }

    /// Ends what a dead runner left on this host, and writes its verdict. What it left on a device
    /// nobody here can end.
    pub(crate) fn bury(&mut self, h: usize, attempt: AttemptId) -> Verdict {
        note!(self, "buries {attempt}");
        let dir = self.hosts[h].dir(attempt);
        let (started, on_device) =
            dir.map_or((None, false), |dir| (dir.started(), dir.terms.on_device));
        let may_run = on_device && self.mutant != Some(Mutant::TrustTheDead);
        let outcome = Outcome::Lost { reason: "runner died".into(), may_run };
        let verdict = self.verdict(h, attempt, started, outcome);
        if self.hosts[h].programs.remove(&attempt).is_some_and(|program| program.on_device) {
            self.devices.insert(attempt);
        }
        self.write_verdict(h, attempt, verdict.clone());
        self.hosts[h].dir(attempt).into_iter().for_each(|dir| dir.sync());
        verdict
    }
}
