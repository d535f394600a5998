//! The runner of one attempt, step by step as `agent/src/runner.rs` takes them. It outlives the
//! agent, and its program outlives it.

use agent_core::lease::{BootTime, Lease};
use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::output::Outputs;

use crate::host::{Program, Record};
use crate::logs::log_end;
use crate::mutant::Mutant;
use crate::world::{World, note};

/// A runner's process.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Whose.
    pub attempt: AttemptId,
    /// Somebody wants the job ended.
    pub cancelled: bool,
    /// The attempt's lease, as it was handed over and renewed since.
    pub lease: Option<Lease>,
    /// How long that is, in µs.
    length: u64,
    phase: Phase,
    started_us: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// It has yet to ask for the lock.
    Born,
    /// It has the lock, and the attempt was not started before.
    Locked,
    /// `started` is written.
    Beginning,
    /// `started` is durable.
    Begun,
    /// Its program runs.
    Working,
    /// Its program does not run any more, or never will.
    Ended(Outcome),
    /// The verdict is written.
    Concluding,
}

impl Runner {
    /// A process that was just spawned, with the lease that was handed over.
    pub fn new(attempt: AttemptId, lease: Option<Lease>) -> Runner {
        let left = lease.and_then(|mut lease| lease.left(lease.base())).unwrap_or_default();
        Runner {
            attempt,
            cancelled: false,
            lease,
            length: left.as_micros() as u64,
            phase: Phase::Born,
            started_us: None,
        }
    }

    /// Whether it holds its directory's lock.
    pub fn has_lock(&self) -> bool {
        self.phase != Phase::Born
    }

    /// Whether its socket is there: from `started` on.
    pub fn listens(&self) -> bool {
        self.started().is_some()
    }

    /// When it started its attempt, as it tells on its socket.
    pub fn started(&self) -> Option<u64> {
        match self.phase {
            Phase::Born | Phase::Locked | Phase::Beginning => None,
            Phase::Begun | Phase::Working | Phase::Ended(_) | Phase::Concluding => self.started_us,
        }
    }

    /// When its lease ends by the host's clock.
    pub fn lease_end(&self) -> Option<BootTime> {
        self.lease.map(|lease| BootTime(lease.base().0 + self.length))
    }

    /// Whether its lease has ended.
    pub fn is_over(&mut self, now: BootTime) -> bool {
        self.lease.as_mut().is_some_and(|lease| lease.left(now).is_none())
    }

    /// Whether it can take a step by itself.
    pub fn can_step(&self, now: BootTime) -> bool {
        let is_over = self.lease_end().is_some_and(|end| end <= now);
        self.phase != Phase::Working || self.cancelled || is_over
    }

    /// Whether its program runs.
    pub fn is_working(&self) -> bool {
        self.phase == Phase::Working
    }
}

impl World {
    /// A runner takes its next step.
    pub(crate) fn run(&mut self, h: usize, pid: u64) {
        let (wall, now) = (self.host_wall(h), self.boot_time(h));
        let blind = self.mutant == Some(Mutant::LeaveLeaseToAgent);
        let host = &mut self.hosts[h];
        let Some(mut runner) = host.runners.remove(&pid) else { return };
        let attempt = runner.attempt;
        let is_over = runner.is_over(now) && !blind;
        let lost = |text: &str| Outcome::Lost { reason: text.to_owned(), may_run: false };
        runner.phase = match runner.phase {
            Phase::Born => {
                let dir = host.dirs.get(&attempt).filter(|dir| dir.visible);
                let fresh = |dir: &&_| {
                    let dir: &crate::host::Dir = dir;
                    dir.started().is_none() && dir.verdict().is_none()
                };
                if host.is_locked(attempt) || dir.filter(fresh).is_none() {
                    return note!(self, "{attempt} is in other hands, the runner ends");
                }
                note!(self, "takes the lock of {attempt}");
                Phase::Locked
            }
            Phase::Locked | Phase::Begun if host.dir(attempt).is_none() => {
                note!(self, "finds no directory of {attempt} any more");
                Phase::Ended(Outcome::InfraError { reason: "its directory is gone".into() })
            }
            Phase::Locked if host.full => {
                note!(self, "cannot prepare {attempt}");
                Phase::Ended(Outcome::InfraError { reason: "no space is left".into() })
            }
            Phase::Locked if is_over => {
                note!(self, "does not start {attempt}, whose lease has ended");
                Phase::Ended(lost("its lease ended, and nothing was started"))
            }
            Phase::Locked => {
                host.dir(attempt)
                    .into_iter()
                    .for_each(|it| it.append(Record::Started { at_us: wall }));
                runner.started_us = Some(wall);
                note!(self, "writes that {attempt} starts");
                Phase::Beginning
            }
            Phase::Beginning => {
                host.dir(attempt).into_iter().for_each(|it| it.sync());
                note!(self, "syncs that {attempt} starts");
                Phase::Begun
            }
            Phase::Begun if runner.cancelled => Phase::Ended(Outcome::Cancelled),
            Phase::Begun if is_over => Phase::Ended(lost("its lease ended")),
            Phase::Begun => {
                note!(self, "STARTS the program of {attempt}");
                let on_device = host.dir(attempt).is_some_and(|dir| dir.terms.on_device);
                let program = Program { lease_end: runner.lease_end(), on_device };
                self.program_starts(h, attempt, program);
                Phase::Working
            }
            Phase::Working if runner.cancelled => {
                note!(self, "ends the program of {attempt}, as it was cancelled");
                self.check_cancelled(attempt);
                Phase::Ended(self.cancel_program(h, attempt))
            }
            Phase::Working if is_over => {
                note!(self, "ends the program of {attempt}, as its lease has ended");
                self.check_lease_over(h, attempt, runner.length);
                self.hosts[h].programs.remove(&attempt);
                Phase::Ended(lost("its lease ended, and it was ended for that"))
            }
            Phase::Working => Phase::Working,
            Phase::Ended(outcome) => {
                note!(self, "writes the verdict of {attempt}: {outcome}");
                let verdict = self.verdict(h, attempt, runner.started_us, outcome);
                self.write_verdict(h, attempt, verdict);
                Phase::Concluding
            }
            Phase::Concluding => {
                host.dir(attempt).into_iter().for_each(|it| it.sync());
                return note!(self, "syncs the verdict of {attempt}, and ends");
            }
        };
        self.hosts[h].runners.insert(pid, runner);
    }

    /// Ends a program. On a device that cannot always be confirmed.
    fn cancel_program(&mut self, h: usize, attempt: AttemptId) -> Outcome {
        use rand::Rng;
        let program = self.hosts[h].programs.remove(&attempt);
        if program.is_some_and(|it| it.on_device) && self.rng().random_bool(0.3) {
            self.devices.insert(attempt);
            return Outcome::CancelUnconfirmed { reason: "the connection broke".into() };
        }
        Outcome::Cancelled
    }

    /// A program ends by itself, or the connection to its device does; with a runner that sees it,
    /// that is the outcome.
    pub(crate) fn end_program(&mut self, h: usize, attempt: AttemptId, outcome: Outcome) {
        note!(self, "the program of {attempt} {outcome}");
        if outcome.may_run() {
            self.devices.insert(attempt);
        }
        let host = &mut self.hosts[h];
        host.programs.remove(&attempt);
        let mut runners = host.runners.values_mut();
        if let Some(runner) = runners.find(|it| it.attempt == attempt && it.is_working()) {
            runner.phase = Phase::Ended(outcome);
        }
    }

    /// A verdict of now, behind the end of the log.
    pub(crate) fn verdict(
        &mut self,
        h: usize,
        attempt: AttemptId,
        started_us: Option<u64>,
        outcome: Outcome,
    ) -> Verdict {
        let log = self.hosts[h].dir(attempt).map_or_else(|| log_end(&[]), |dir| dir.close_log());
        let finished_us = self.host_wall(h);
        Verdict {
            outcome,
            started_us,
            finished_us,
            log,
            artifacts: Vec::new(),
            outputs: Outputs::new(),
            recap: None,
        }
    }

    /// Writes a verdict into an attempt's directory, where it may be read from now on.
    pub(crate) fn write_verdict(&mut self, h: usize, attempt: AttemptId, verdict: Verdict) {
        self.ledger.reached(attempt, &verdict);
        if let Some(dir) = self.hosts[h].dir(attempt) {
            dir.append(Record::Finished(verdict));
        }
    }
}
