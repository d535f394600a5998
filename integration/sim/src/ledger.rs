//! The rules and their exceptions, and what is known of a world beside what its coordinator
//! remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use coordinator::store::journal::Seq;
use coordinator_core::agent::AgentKey;
use coordinator_core::lock::{Holder, LockKey};
use coordinator_core::trigger::TriggerId;
use pipelines::id::{AttemptId, JobId};
use pipelines::name::DeviceName;
use pipelines::outcome::Verdict;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// G1: a trigger that was answered is never lost, and each key acts once.
    Triggers,
    /// G2: an attempt's program starts at most once, and not after its end is recorded.
    StartsOnce,
    /// G2: no two attempts of one job run at the same time, nor one that is recorded as over.
    Overlap,
    /// G2: programs under one lock do not overlap unless their holder is the same; whoever works
    /// under a lock holds it, and one under which something may still run stays held.
    Locks,
    /// Of a redundancy group one device at most is worked at, and none while another was left failed.
    Pairs,
    /// Of a group's runs one at most is under way, and one is while any waits. Of one that waits no
    /// program runs.
    Groups,
    /// Nothing behind a gate starts before as many different people as its plan says have allowed it.
    Gates,
    /// An attempt is given up for its lease only when it provably runs no more.
    Leases,
    /// G3: a program ends by itself, by somebody's wish, or with its lease; not by faults of others.
    Outlives,
    /// G4: every byte of a log is with the coordinator, durably, before it goes from the agent.
    Logs,
    /// G5: a verdict that was reached is recorded, once, and no other is.
    Verdicts,
    /// What was acknowledged to anybody is in the journal's durable part.
    Durable,
    /// No job waits that could start: by the rules' own look, and by the core's.
    Pickup,
    /// Jobs go to agents that may have them, as often as the plan says.
    Assigned,
    /// State, view and journal say the same, and the events give the same changes again.
    State,
    /// Once faults stop, everything comes to its end.
    Liveness,
    /// Product code panicked.
    Panic,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// How, for people.
    pub text: String,
}

/// Where a rule need not hold. Nothing else is excused.
#[derive(Debug, Default)]
struct Exceptions {
    /// Two hosts have one certificate and one instance: a copy of a running host. Both may be given
    /// the same attempt, one after the other, and neither is told apart from the other. Excuses
    /// all that this agent's attempts do.
    cloned: BTreeSet<AgentKey>,
    /// Attempts that an operator declared lost: somebody vouched that they do not run. Excuses all
    /// that they do.
    declared: BTreeSet<AttemptId>,
    /// Attempts whose lease ended while their host stood still: nobody there could end them. Excuses
    /// that they overlap with others.
    frozen: BTreeSet<AttemptId>,
    /// Attempts whose lease ended while their runner was dead, and their agent too: nobody was there
    /// to end what was left of them. Excuses that they overlap with others.
    orphaned: BTreeSet<AttemptId>,
    /// Attempts that were given up because their lease was over: their agent's word comes too late.
    /// Excuses that the verdict which they reach is on no record.
    given_up: BTreeSet<AttemptId>,
    /// Attempts that may run after their job has ended, as was said when it did. Excuses that they
    /// overlap with others of the same job, which only a person can have asked for; not their locks.
    doubtful: BTreeSet<AttemptId>,
    /// Holders whose lock an operator broke. Excuses that they work without it, until they have it
    /// again, and that they and others wait for each other until another lock is broken.
    broken: BTreeSet<(LockKey, Holder)>,
    /// Locks that an operator ever broke. Excuses that devices of one group are worked at together: who
    /// worked at one goes on, and how that ends holds nobody up.
    broken_once: BTreeSet<LockKey>,
}

/// What is known beside what the coordinator remembers.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Attempts whose program was started somewhere.
    pub(crate) starts: BTreeSet<AttemptId>,
    /// Verdicts as somebody could read them on an agent.
    pub(crate) reached: BTreeMap<AttemptId, Vec<Verdict>>,
    /// Logs that were whole.
    pub(crate) logs: BTreeMap<AttemptId, Vec<u8>>,
    /// Answered deliveries.
    pub(crate) promised: BTreeMap<String, TriggerId>,
    /// Keys that are on record as some agent's, or were.
    pub(crate) keys: BTreeSet<String>,
    /// Devices of groups, by what protects them, where the latest job to end did not succeed.
    failed_at: BTreeMap<LockKey, DeviceName>,
    /// Who has approved at each gate since it opened, as it was written down.
    pub(crate) allowed: BTreeMap<JobId, BTreeSet<String>>,
    /// The last batch whose effects somebody may have seen.
    pub(crate) released: Seq,
    exceptions: Exceptions,
    /// The first broken rule.
    pub finding: Option<Finding>,
}

impl Ledger {
    /// A verdict can be read on an agent from now on.
    pub fn reached(&mut self, attempt: AttemptId, verdict: &Verdict) {
        self.reached.entry(attempt).or_default().push(verdict.clone());
    }

    /// A delivery was answered.
    pub fn promised(&mut self, key: String, trigger: TriggerId) {
        let before = self.promised.insert(key.clone(), trigger);
        if before.is_some_and(|before| before != trigger) {
            self.find(Rule::Triggers, format!("{key} was answered with two triggers"));
        }
    }

    /// A host was copied.
    pub fn cloned(&mut self, agent: AgentKey) {
        self.exceptions.cloned.insert(agent);
    }

    /// Notes a broken rule; the first one stands.
    pub fn find(&mut self, rule: Rule, text: String) {
        self.finding.get_or_insert(Finding { rule, text });
    }

    /// Notes that state and records differ.
    pub fn find_state(&mut self, text: &str) {
        self.find(Rule::State, text.to_owned());
    }

    /// Notes an error where there must be none.
    pub fn find_error(&mut self, what: &str, error: &impl fmt::Display) {
        self.find(Rule::State, format!("{what}: {error}"));
    }

    /// An operator declared an attempt lost.
    pub fn declared(&mut self, attempt: AttemptId) {
        self.exceptions.declared.insert(attempt);
    }

    /// A lease ended on a host that stands still.
    pub fn frozen(&mut self, attempt: AttemptId) {
        self.exceptions.frozen.insert(attempt);
    }

    /// A lease ended where nobody was left to end the program.
    pub fn orphaned(&mut self, attempt: AttemptId) {
        self.exceptions.orphaned.insert(attempt);
    }

    /// An attempt was given up for its lease.
    pub fn given_up(&mut self, attempt: AttemptId) {
        self.exceptions.given_up.insert(attempt);
    }

    /// An attempt was recorded as one that may still run.
    pub fn doubtful(&mut self, attempt: AttemptId) {
        self.exceptions.doubtful.insert(attempt);
    }

    /// A job at a device, which this lock protects, failed, or succeeded.
    pub fn left(&mut self, lock: LockKey, device: &DeviceName, failed: bool) {
        if failed && !self.was_broken(&lock) {
            self.failed_at.insert(lock, device.clone());
        } else if self.failed_at.get(&lock) == Some(device) {
            self.failed_at.remove(&lock);
        }
    }

    /// The device under a lock that was left failed, unless an operator broke that lock.
    pub(crate) fn failed_at(&self, lock: &LockKey) -> Option<&DeviceName> {
        self.failed_at.get(lock)
    }

    /// An operator broke a lock.
    pub fn broken(&mut self, lock: LockKey, holder: Holder) {
        self.failed_at.remove(&lock);
        self.exceptions.broken_once.insert(lock.clone());
        self.exceptions.broken.insert((lock, holder));
    }

    /// A holder has its lock again.
    pub fn has_again(&mut self, lock: &LockKey, holder: Holder) {
        self.exceptions.broken.remove(&(lock.clone(), holder));
    }

    /// Whether an operator broke any lock.
    pub(crate) fn has_broken(&self) -> bool {
        !self.exceptions.broken_once.is_empty()
    }

    /// Whether an exception covers all that happens to this attempt on this agent.
    pub(crate) fn excuses(&self, agent: &AgentKey, attempt: AttemptId) -> bool {
        let Exceptions { cloned, declared, .. } = &self.exceptions;
        cloned.contains(agent) || declared.contains(&attempt)
    }

    /// Whether an exception covers that this attempt runs beside another.
    pub(crate) fn excuses_overlap(&self, agent: &AgentKey, attempt: AttemptId) -> bool {
        let Exceptions { frozen, orphaned, .. } = &self.exceptions;
        self.excuses(agent, attempt) || frozen.contains(&attempt) || orphaned.contains(&attempt)
    }

    /// Whether an exception covers that this attempt runs beside another of the same job.
    pub(crate) fn is_doubtful(&self, attempt: AttemptId) -> bool {
        self.exceptions.doubtful.contains(&attempt)
    }

    /// Whether an exception covers that this attempt's verdict is on no record.
    pub(crate) fn excuses_verdict(&self, agent: &AgentKey, attempt: AttemptId) -> bool {
        self.excuses(agent, attempt) || self.exceptions.given_up.contains(&attempt)
    }

    /// Whether an operator ever broke a lock: who worked under it may go on for as long as he likes.
    pub(crate) fn was_broken(&self, lock: &LockKey) -> bool {
        self.exceptions.broken_once.contains(lock)
    }

    /// Whether an operator broke this holder's lock.
    pub(crate) fn is_broken(&self, lock: &LockKey, holder: Holder) -> bool {
        self.exceptions.broken.contains(&(lock.clone(), holder))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}
