//! What must hold, whatever happens. What it means and its exceptions stand in [`crate::ledger`].
//!
//! A rule is checked at every moment at which it could be broken: when a program starts, when a
//! batch is committed, when somebody is told something, when the coordinator starts, and at the
//! end, when a world without faults has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use coordinator::store::journal::{Journal, Seq};
use coordinator_core::agent::{Agent, AgentKey};
use coordinator_core::attempt::{self, Attempt};
use coordinator_core::change::Change;
use coordinator_core::event::{Ask, Event};
use coordinator_core::lock::Holder;
use coordinator_core::{job, run, trigger};
use pipelines::id::{AttemptId, JobId};
use pipelines::limits;
use pipelines::outcome::Outcome;
use pipelines::plan::{self, OnLost, RetryOn, Task};

use crate::disk::SimDisk;
use crate::host::Program;
use crate::ledger::{Finding, Rule};
use crate::network::CAPACITY;
use crate::view::View;
use crate::world::{World, note};

impl World {
    /// A program starts on a host.
    pub(crate) fn program_starts(&mut self, h: usize, attempt: AttemptId, program: Program) {
        let is_first = self.ledger.starts.insert(attempt);
        let key = self.hosts[h].key.clone();
        self.hosts[h].programs.insert(attempt, program);
        if program.on_device {
            // It finds what an earlier attempt left there, and ends it first.
            self.devices.retain(|other| other.job != attempt.job);
        }
        if self.ledger.excuses(&key, attempt) {
            return;
        }
        if !is_first {
            self.ledger.find(Rule::StartsOnce, format!("{attempt} starts a second time"));
        }
        match self.book.attempts.get(&attempt) {
            None => {
                let text = format!("{attempt} starts, and no record says that there is one");
                self.ledger.find(Rule::Durable, text);
            }
            Some(record) if !record.is_open() => {
                let text = format!("{attempt} starts after its end was recorded");
                self.ledger.find(Rule::StartsOnce, text);
            }
            Some(_) => {}
        }
        self.check_alone(&key, attempt);
    }

    /// Whether a program may run beside those that run already.
    fn check_alone(&mut self, key: &AgentKey, attempt: AttemptId) {
        if self.ledger.excuses_overlap(key, attempt) {
            return;
        }
        if let Some((lock, device)) = self.book.device_of(attempt.job)
            && let Some(failed) = self.ledger.failed_at(&lock).filter(|failed| *failed != device)
        {
            let text = format!("{attempt} starts at {device} while {failed} is left failed");
            self.ledger.find(Rule::Pairs, text);
        }
        let locks = self.book.locks_of(attempt.job);
        let hosts = self.hosts.iter();
        let programs =
            hosts.flat_map(|host| host.programs.keys().map(|it| (host.key.clone(), *it)));
        let agent = |id: &AttemptId| Some((self.book.attempts.get(id)?.agent.clone(), *id));
        let all: Vec<_> = programs.chain(self.devices.iter().filter_map(agent)).collect();
        for (key, other) in all {
            if other == attempt || self.ledger.excuses_overlap(&key, other) {
                continue;
            }
            if other.job == attempt.job && !self.ledger.is_doubtful(other) {
                let text = format!("{attempt} starts while {other} runs");
                self.ledger.find(Rule::Overlap, text);
            }
            let group = self.book.group_of(attempt.job.run);
            if group.is_some()
                && other.job.run != attempt.job.run
                && group == self.book.group_of(other.job.run)
                && !self.ledger.is_doubtful(other)
            {
                let text = format!("{attempt} starts in group {group:?} while {other} runs");
                self.ledger.find(Rule::Groups, text);
            }
            if let (Some((lock, device)), Some((other_lock, other_device))) =
                (self.book.device_of(attempt.job), self.book.device_of(other.job))
                && lock == other_lock
                && device != other_device
                && !self.ledger.was_broken(&lock)
            {
                let text = format!("{attempt} at {device} while {other} works at {other_device}");
                self.ledger.find(Rule::Pairs, text);
            }
            for (lock, other_holder) in self.book.locks_of(other.job) {
                let shared =
                    locks.iter().find(|(key, holder)| *key == lock && *holder != other_holder);
                let Some((_, holder)) = shared else { continue };
                let (one, two) = (*holder, other_holder);
                if !self.ledger.is_broken(&lock, one) && !self.ledger.is_broken(&lock, two) {
                    let text = format!("{attempt} starts under lock {lock} while {other} runs");
                    self.ledger.find(Rule::Locks, text);
                }
            }
        }
    }

    /// A runner ends a program because somebody asked for that: somebody did, or the coordinator
    /// has done with the attempt.
    pub(crate) fn check_cancelled(&mut self, attempt: AttemptId) {
        let record = self.book.attempts.get(&attempt);
        if record.is_some_and(|it| it.is_open() && it.cancelled_by.is_none()) {
            let text = format!("{attempt} is ended, and nobody asked for that");
            self.ledger.find(Rule::Outlives, text);
        }
    }

    /// A runner ends a program whose lease of this length is over: its agent heard nothing for as
    /// long, or could not pass it on.
    pub(crate) fn check_lease_over(&mut self, h: usize, attempt: AttemptId, length: u64) {
        let now = self.boot_time(h);
        let agent = self.hosts[h].agent.as_ref();
        let heard = agent.and_then(|agent| agent.acknowledged);
        let is_recent = heard.is_some_and(|heard| heard.0 + length > now.0);
        if is_recent && !self.can_keep(h, attempt) {
            let text = format!("{attempt} is ended for its lease, and its agent is not cut off");
            self.ledger.find(Rule::Outlives, text);
        }
    }

    /// A batch is durable, and what it says becomes the book that all rules go by.
    pub(crate) fn committed(&mut self, seq: Seq, events: &[Event], changes: &[Change]) {
        note!(self, "batch {seq}: {}", crate::trace::changes(changes));
        self.take_words(events, changes);
        let mut given = Vec::new();
        for change in changes {
            if let Change::Agent(agent) = change {
                self.ledger.keys.insert(agent.fingerprint.clone());
            }
            self.take_approval(change);
            if let Change::Attempt(attempt) = change {
                let is_new = !self.book.attempts.contains_key(&attempt.id);
                given.extend(is_new.then_some(attempt.id));
                self.check_attempt(attempt);
            }
        }
        self.book.apply(seq, changes);
        for change in changes {
            if let Change::Job(job) = change
                && let job::State::Finished { outcome } = &job.state
                && job.tried > 0
                && let Some((lock, device)) = self.book.device_of(job.id)
            {
                self.ledger.left(lock, device, !outcome.is_success());
            }
            if let Change::Lock(lock) = change
                && let Some(holder) = self.book.locks[&lock.key].holder
            {
                self.ledger.has_again(&lock.key, holder);
            }
        }
        self.check_book(changes);
        given.into_iter().for_each(|attempt| self.check_assigned(attempt));
    }

    /// Somebody's approval is on record, or a gate has opened, at which there is none yet.
    fn take_approval(&mut self, change: &Change) {
        match change {
            Change::Job(job) => {
                if let job::State::Open { approvals, .. } = &job.state
                    && approvals.is_empty()
                {
                    self.ledger.allowed.remove(&job.id);
                }
            }
            Change::Audit(word) => {
                let gate = word.text.strip_prefix("approved gate ");
                let gate = gate.and_then(|text| text.split(' ').next()?.parse().ok());
                if let Some(gate) = gate {
                    let token = word.actor.to_string();
                    // A person has one token, or one for each word.
                    let who = token.split('-').next().unwrap_or_default().to_owned();
                    self.ledger.allowed.entry(gate).or_default().insert(who);
                }
            }
            _ => {}
        }
    }

    /// What operators' words of a batch excuse.
    fn take_words(&mut self, events: &[Event], changes: &[Change]) {
        for event in events {
            let Event::Asked { ask, .. } = event else { continue };
            match ask {
                Ask::DeclareLost { agent } => {
                    for change in changes {
                        if let Change::Attempt(attempt) = change
                            && attempt.agent == *agent
                            && matches!(attempt.state, attempt::State::Abandoned { .. })
                        {
                            self.ledger.declared(attempt.id);
                        }
                    }
                }
                Ask::BreakLock { lock, holder } => {
                    let text = format!("broke lock {lock}, which {holder} held");
                    let is_word =
                        |it: &Change| matches!(it, Change::Audit(word) if word.text == text);
                    if changes.iter().any(is_word) {
                        self.ledger.broken(lock.clone(), *holder);
                    }
                }
                _ => {}
            }
        }
    }

    /// An attempt's record is about to change.
    fn check_attempt(&mut self, new: &Attempt) {
        let id = new.id;
        if new.outcome().is_some_and(Outcome::may_run) {
            self.ledger.doubtful(id);
        }
        if self.ledger.excuses(&new.agent, id) {
            return;
        }
        let old = self.book.attempts.get(&id).filter(|old| !old.is_open());
        if old.is_some_and(|old| old != new) {
            self.ledger.find(Rule::Verdicts, format!("{id} ended, and then its record changed"));
        }
        let mut holders = self.hosts.iter().filter(|host| host.key == new.agent);
        let runs = holders.clone().any(|host| host.programs.contains_key(&id));
        let runs = runs || self.devices.contains(&id);
        match &new.state {
            attempt::State::Finished { verdict, .. } => {
                let reached = self.ledger.reached.get(&id);
                if !reached.is_some_and(|reached| reached.contains(verdict)) {
                    let text = format!("{id} is recorded with a verdict that nobody reached");
                    self.ledger.find(Rule::Verdicts, text);
                }
                if runs && !verdict.outcome.may_run() {
                    self.ledger.find(Rule::Overlap, format!("{id} is recorded as over and runs"));
                }
            }
            attempt::State::Abandoned { outcome, .. } if !outcome.may_run() => {
                self.ledger.given_up(id);
                let spec = self.book.spec(id.job);
                let has_lease = spec.is_some_and(|spec| spec.on_lost.lease_s().is_some());
                if !has_lease || (runs && !self.ledger.excuses_overlap(&new.agent, id)) {
                    let text = format!("{id} is given up as over, and that is not so");
                    self.ledger.find(Rule::Leases, text);
                }
            }
            attempt::State::Abandoned { .. } => {
                let holds =
                    |host: &&crate::host::Host| host.instance == new.instance && host.holds(id);
                if holders.any(|host| holds(&host)) {
                    let text = format!("{id} was given up, and its agent still has it");
                    self.ledger.find(Rule::Verdicts, text);
                } else if self.ledger.reached.contains_key(&id) && self.survives(new) {
                    let text = format!("{id} was given up after it had reached its verdict");
                    self.ledger.find(Rule::Verdicts, text);
                }
            }
            attempt::State::Assigned
            | attempt::State::Accepted
            | attempt::State::Running { .. } => {}
        }
    }

    /// An attempt was given to an agent just now.
    fn check_assigned(&mut self, id: AttemptId) {
        let book = &self.book;
        let (Some(attempt), Some(job), Some(spec)) =
            (book.attempts.get(&id), book.jobs.get(&id.job), book.spec(id.job))
        else {
            return self.ledger.find_state("an attempt is of no job");
        };
        let agent = &book.agents[&attempt.agent];
        let load = book.attempts.values().filter(|it| it.is_open() && it.agent == agent.key);
        let has = |(label, value)| {
            agent.about.as_ref().is_some_and(|about| about.labels.get(label) == Some(value))
        };
        let fits = may_be_with(spec, &agent.key)
            && agent.session().is_some()
            && agent.cordoned_by.is_none()
            && spec.labels.iter().all(has)
            && load.count() <= CAPACITY as usize;
        let before = id.number.checked_sub(1).filter(|it| *it > 0);
        let before = before.and_then(|number| book.attempts.get(&id.job.attempt(number)));
        let is_due = job.tried == 1
            || before.and_then(Attempt::outcome).is_some_and(|it| again(spec, job.tried, it));
        let count = |need: &u32| match &book.spec(id.job.run.job(*need))?.task {
            Task::Gate(gate) => Some((id.job.run.job(*need), gate.count() as usize)),
            Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Render(_) | Task::Wait => {
                None
            }
        };
        let allowed = |gate: &JobId| self.ledger.allowed.get(gate).map_or(0, BTreeSet::len);
        let mut gates = spec.needs.iter().filter_map(count);
        let unanswered = gates.find(|(gate, count)| allowed(gate) < *count);
        if let Some((gate, count)) = unanswered {
            let text = format!("{id} starts before {count} people have approved at {gate}");
            self.ledger.find(Rule::Gates, text);
        } else if !fits {
            self.ledger.find(Rule::Assigned, format!("{id} is with an agent that may not have it"));
        } else if !is_due {
            self.ledger.find(Rule::Assigned, format!("{id} is one more than the plan allows"));
        }
    }

    /// No job waits that could start.
    pub(crate) fn check_pickup(&mut self) {
        if self.is_unsaid() {
            return;
        }
        let book = &self.book;
        let queued = book.jobs.values().filter(|job| job.state == job::State::Queued);
        let waits_in_vain = |job: &&job::Job| {
            let locks = book.locks_of(job.id);
            let mut held = locks.iter().filter_map(|(key, holder)| {
                let lock = book.locks.get(key)?;
                let is_open = lock.failed.is_some() && lock.in_doubt.is_none();
                let device = book.device_of(job.id).filter(|(of, _)| of == key);
                let is_elsewhere = lock.device.as_ref() != device.map(|(_, device)| device);
                Some(is_elsewhere || (!is_open && lock.holder? != *holder))
            });
            let Some(spec) = book.spec(job.id) else { return false };
            let mut agents = book.agents.values();
            let fits = |agent: &Agent| {
                let load =
                    book.attempts.values().filter(|it| it.is_open() && it.agent == agent.key);
                let Some(about) = &agent.about else { return false };
                may_be_with(spec, &agent.key)
                    && agent.session().is_some()
                    && agent.cordoned_by.is_none()
                    && spec
                        .labels
                        .iter()
                        .all(|(label, value)| about.labels.get(label) == Some(value))
                    && load.count() < about.capacity as usize
            };
            !held.any(|by_another| by_another) && agents.any(fits)
        };
        if let Some(job) = queued.into_iter().find(waits_in_vain) {
            let text = format!("job {} waits although it could start", job.id);
            self.ledger.find(Rule::Pickup, text);
        }
    }

    /// Whether the disk that the attempt was given to is still there.
    fn survives(&self, attempt: &Attempt) -> bool {
        let same = |host: &crate::host::Host| host.instance == attempt.instance;
        self.hosts.iter().any(|host| host.key == attempt.agent && same(host))
    }

    /// What the records must say at any time.
    fn check_book(&mut self, changes: &[Change]) {
        let book = &self.book;
        let mut broken = Vec::new();
        let mut keys = BTreeSet::new();
        for trigger in book.triggers.values() {
            if !keys.insert(&trigger.key) {
                broken.push((Rule::Triggers, format!("{} acts twice", trigger.key)));
            }
            if let trigger::State::Resolved { runs } = &trigger.state
                && runs.len() > 1
            {
                broken.push((Rule::Triggers, format!("{} made two runs", trigger.key)));
            }
        }
        let open: Vec<&Attempt> = book.attempts.values().filter(|it| it.is_open()).collect();
        for change in changes {
            let Change::Job(job) = change else { continue };
            let now = &book.jobs[&job.id];
            let mut open = open.iter().filter(|it| it.id.job == job.id);
            let latest = open.next().map(|it| it.id.number);
            let active = now.state == job::State::Active;
            if active != (latest == Some(now.attempts)) || open.next().is_some() {
                broken.push((
                    Rule::Overlap,
                    format!("job {} has open attempts beside its latest", job.id),
                ));
            }
            let plan = &book.plans[&job.id.run].jobs[job.id.index as usize];
            let ready = plan.needs.iter().all(|need| {
                book.jobs.get(&job.id.run.job(*need)).is_some_and(|need| need.state.is_success())
            });
            if active && !ready {
                broken.push((Rule::State, format!("job {} runs before what it needs", job.id)));
            }
        }
        let (mut started, mut waiting) = (BTreeMap::new(), BTreeSet::new());
        for run in book.runs.values() {
            let Some(group) = book.group_of(run.id) else { continue };
            match run.state {
                run::State::Active => {
                    if let Some(other) = started.insert(group, run.id) {
                        let text =
                            format!("runs {other} and {} of group {group} are under way", run.id);
                        broken.push((Rule::Groups, text));
                    }
                }
                run::State::Waiting { .. } => {
                    waiting.insert(group);
                    if let Some(attempt) = open.iter().find(|it| it.id.job.run == run.id) {
                        let text = format!("run {} waits, and {} is open", run.id, attempt.id);
                        broken.push((Rule::Groups, text));
                    }
                }
                run::State::Finished { .. } | run::State::Invalid { .. } => {}
            }
        }
        if let Some(group) = waiting.into_iter().find(|group| !started.contains_key(group)) {
            broken.push((Rule::Groups, format!("runs of group {group} wait for nobody")));
        }
        for attempt in &open {
            for (lock, holder) in book.locks_of(attempt.id.job) {
                let held = book.locks.get(&lock).and_then(|lock| lock.holder);
                if held != Some(holder) && !self.ledger.is_broken(&lock, holder) {
                    broken.push((Rule::Locks, format!("{} works without {lock}", attempt.id)));
                }
            }
        }
        for change in changes {
            let Change::Attempt(attempt) = change else { continue };
            if !attempt.outcome().is_some_and(Outcome::may_run) {
                continue;
            }
            for (lock, holder) in book.locks_of(attempt.id.job) {
                let of = book.device_of(attempt.id.job).filter(|(of, _)| *of == lock);
                let device = of.map(|(_, device)| device);
                let lock = book
                    .locks
                    .get(&lock)
                    .filter(|lock| lock.holder == Some(holder) && lock.device.as_ref() == device);
                if lock.is_some_and(|lock| lock.in_doubt.is_none()) {
                    let text = format!("{} may run, and its lock is not in doubt", attempt.id);
                    broken.push((Rule::Locks, text));
                }
            }
        }
        for lock in book.locks.values() {
            let is_kept = lock.in_doubt.is_some() || lock.failed.is_some();
            let Some(holder) = lock.holder.filter(|_| !is_kept) else { continue };
            let is_over = match holder {
                Holder::Run(run) => book.runs[&run].is_final(),
                Holder::Job(job) => book.jobs[&job].state.is_final(),
            };
            if is_over {
                broken.push((Rule::Locks, format!("lock {} outlives {holder}", lock.key)));
            }
        }
        for (rule, text) in broken {
            self.ledger.find(rule, text);
        }
    }

    /// Somebody is about to be told what comes of the journal's last batch.
    pub(crate) fn check_released(&mut self) {
        let Some(last) = self.coordinator.running.as_ref().map(|it| it.view.applied) else {
            return;
        };
        if self.coordinator.disk.is_synced() {
            self.ledger.released = last;
            return;
        }
        let certain = self.coordinator.disk.certain();
        match open(certain, last) {
            Ok(journal) if journal.last() >= last => self.ledger.released = last,
            Ok(_) | Err(_) => {
                let text = format!("batch {last} is acted on, and power loss would take it");
                self.ledger.find(Rule::Durable, text);
            }
        }
    }

    /// The coordinator opened its journal: what was told must be in it; the book takes what it
    /// holds beyond that.
    pub(crate) fn check_journal(&mut self, journal: &Journal<SimDisk>) {
        let known = self.ledger.released.max(self.book.applied);
        if journal.last() < known {
            let text = format!("the journal ends at {} and batch {known} is gone", journal.last());
            return self.ledger.find(Rule::Durable, text);
        }
        match journal.batches(self.book.applied.next()) {
            Ok(batches) => {
                for batch in batches.flatten() {
                    self.committed(batch.seq, &batch.events, &batch.changes);
                }
            }
            Err(error) => self.ledger.find_error("the journal cannot be read", &error),
        }
        for (key, trigger) in &self.ledger.promised {
            if self.book.triggers.get(trigger).is_none_or(|it| it.key != *key) {
                let text = format!("{key} was answered and is gone");
                self.ledger.finding.get_or_insert(Finding { rule: Rule::Triggers, text });
            }
        }
    }

    /// The view at a start must be what all batches add up to.
    pub(crate) fn check_view(&mut self, view: &View) {
        if *view != self.book {
            self.ledger.find_state("the view differs from what the journal adds up to");
        }
    }

    /// What must hold once nothing is left to do.
    pub(crate) fn check_rest(&mut self) {
        let mut broken = Vec::new();
        for run in self.book.runs.values().filter(|run| !run.is_final()) {
            broken.push((Rule::Liveness, format!("run {} does not end", run.id)));
        }
        for trigger in self.book.triggers.values() {
            if trigger.state == trigger::State::Pending {
                broken.push((Rule::Liveness, format!("{} is not resolved", trigger.key)));
            }
        }
        for host in self.hosts.iter().filter(|host| !host.is_clone) {
            if let Some((attempt, dir)) = host.dirs.iter().find(|(_, dir)| dir.visible) {
                let text = format!("{attempt} stays on {}: {dir:?}", host.name);
                broken.push((Rule::Liveness, text));
            }
        }
        for (rule, text) in broken {
            self.ledger.find(rule, text);
        }
        self.check_logs();
    }

    /// The directory of an attempt goes: its verdict must be on record by then.
    pub(crate) fn check_removal(&mut self, h: usize, attempt: AttemptId) {
        let host = &self.hosts[h];
        let Some(dir) = host.dirs.get(&attempt) else { return };
        let Some(record) = self.book.attempts.get(&attempt) else { return };
        let excused =
            self.ledger.excuses_verdict(&host.key, attempt) || record.instance != host.instance;
        let attempt::State::Finished { verdict, .. } = &record.state else {
            if !excused {
                let text = format!("{attempt} is removed, and its verdict is on no record");
                self.ledger.find(Rule::Verdicts, text);
            }
            return;
        };
        let is_reached = dir.verdict().is_some_and(|reached| reached == verdict);
        if !excused {
            self.check_log(h, attempt);
        }
        if !excused && !is_reached {
            let text = format!("{attempt} is removed, and another verdict is on record");
            self.ledger.find(Rule::Verdicts, text);
        }
    }
}

/// Whether a job may be with an agent, whatever labels that has.
fn may_be_with(spec: &plan::Job, agent: &AgentKey) -> bool {
    spec.partition == agent.partition && spec.agent.as_ref().is_none_or(|it| *it == agent.name)
}

/// Whether a plan has a job tried again after this outcome, of which there were so many tries.
fn again(spec: &plan::Job, tried: u32, outcome: &Outcome) -> bool {
    let on = match outcome {
        Outcome::Failed { .. } => RetryOn::Failed,
        Outcome::TimedOut => RetryOn::TimedOut,
        Outcome::InfraError { .. } => RetryOn::InfraError,
        Outcome::Lost { may_run, .. } => {
            let most = spec.retry.as_ref().map_or(limits::RETRIES, |retry| retry.max);
            let wanted = matches!(spec.on_lost, OnLost::Retry { .. });
            return wanted && !may_run && tried <= most + 1;
        }
        _ => return false,
    };
    spec.retry.as_ref().is_some_and(|retry| retry.on.contains(&on) && tried <= retry.max + 1)
}

/// Opens a journal for reading.
pub(crate) fn open(disk: SimDisk, needed: Seq) -> Result<Journal<SimDisk>, impl fmt::Display> {
    Journal::open(disk, coordinator::store::journal::Options::default(), needed)
}
