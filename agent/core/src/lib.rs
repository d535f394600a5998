//! What an agent decides: a pure state machine.
//!
//! It knows of every attempt directory how far it is, and nothing else: the directories are the
//! truth, and the core is filled from them at start. Messages to the coordinator are a by-product;
//! what got lost with a link is said again by the next hello.
//!
//! Invariant: no clock, no randomness, no I/O. An order is stored before anything starts, and an
//! order for a known attempt is answered from what is known, never started twice.

pub mod lease;

use std::collections::BTreeMap;

use pipelines::id::AttemptId;
use pipelines::outcome::{Outcome, Progress, Verdict};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The coordinator took the hello, or will: from now on it hears of changes.
    LinkUp,
    /// The link is gone.
    LinkDown,
    /// An order arrived.
    OrderReceived {
        /// The attempt.
        attempt: AttemptId,
        /// Its bytes, as they are to be stored.
        order: Vec<u8>,
        /// Set if the agent's own policy forbids it, or the order cannot be read.
        refusal: Option<Outcome>,
    },
    /// The order rests on the disk.
    OrderStored {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The order could not be stored, and nothing of it is left.
    StoreFailed {
        /// The attempt.
        attempt: AttemptId,
        /// What the coordinator is told. It rests nowhere: if it gets lost with the link, then the
        /// order comes again and is tried again.
        verdict: Verdict,
    },
    /// The coordinator wants an attempt ended.
    CancelReceived {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The coordinator has the verdict durably.
    VerdictAcknowledged {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The coordinator has the whole log durably, and its checksum is right.
    LogAcknowledged {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The coordinator has no use for the attempt.
    ForgetReceived {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A runner started its attempt.
    RunnerStarted {
        /// The attempt.
        attempt: AttemptId,
        /// Wall clock, µs since 1970.
        started_us: u64,
    },
    /// A verdict rests on the disk.
    Concluded {
        /// The attempt.
        attempt: AttemptId,
        /// The verdict.
        verdict: Verdict,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the attempt's directory, durably; then report [`Event::OrderStored`].
    Store {
        /// The attempt.
        attempt: AttemptId,
        /// The order's bytes.
        order: Vec<u8>,
    },
    /// Start a runner on the directory.
    Launch {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Write a verdict of the agent's own, durably; then report [`Event::Concluded`].
    Conclude {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Tell the runner to end its attempt.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Remove the directory.
    Remove {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Tell the coordinator how far an attempt is.
    Report {
        /// The attempt.
        attempt: AttemptId,
        /// How far.
        progress: Progress,
    },
}

/// One attempt on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attempt {
    stage: Stage,
    /// The coordinator wants it ended.
    cancelled: bool,
    /// The coordinator wants nothing of it.
    forgotten: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Being written; nobody hears of it before it is. An order that came by an earlier link will
    /// come again, as the hello did not name it; one of the present link (`here`) will not.
    Storing { refusal: Option<Outcome>, here: bool },
    /// With a runner that may not have started it yet.
    Launched,
    /// Started by its runner.
    Running { started_us: u64 },
    /// A verdict of the agent's own is being written.
    Concluding,
    /// Ended.
    Finished { verdict: Box<Verdict>, acknowledged: bool, log_acknowledged: bool },
}

/// The agent's decisions.
#[derive(Debug, Default)]
pub struct Core {
    attempts: BTreeMap<AttemptId, Attempt>,
    linked: bool,
    effects: Vec<Effect>,
}

/// How the shell found an attempt's directory at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The order alone: it has provably not started.
    Accepted,
    /// A living runner.
    Alive {
        /// When it started the attempt, if it has; µs since 1970.
        started_us: Option<u64>,
    },
    /// A verdict; a dead runner's attempt is concluded before it is given here.
    Finished(Box<Verdict>),
}

impl Core {
    /// The core after the agent's start, and what must be done for what was found.
    pub fn load(found: impl IntoIterator<Item = (AttemptId, Found)>) -> (Core, Vec<Effect>) {
        let mut core = Core::default();
        for (attempt, found) in found {
            let stage = match found {
                Found::Accepted => {
                    core.effects.push(Effect::Launch { attempt });
                    Stage::Launched
                }
                Found::Alive { started_us: None } => Stage::Launched,
                Found::Alive { started_us: Some(started_us) } => Stage::Running { started_us },
                Found::Finished(verdict) => {
                    Stage::Finished { verdict, acknowledged: false, log_acknowledged: false }
                }
            };
            core.attempts.insert(attempt, Attempt { stage, cancelled: false, forgotten: false });
        }
        let effects = std::mem::take(&mut core.effects);
        (core, effects)
    }

    /// Every attempt that this agent holds, for the hello.
    pub fn held(&self) -> Vec<(AttemptId, Progress)> {
        self.attempts.iter().filter_map(|(id, it)| Some((*id, it.progress()?))).collect()
    }

    /// Takes one event; the effects are to be performed in order.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::LinkUp => self.linked = true,
            Event::LinkDown => self.link_down(),
            Event::OrderReceived { attempt, order, refusal } => {
                self.ordered(attempt, order, refusal);
            }
            Event::OrderStored { attempt } => self.stored(attempt),
            Event::StoreFailed { attempt, verdict } => self.store_failed(attempt, verdict),
            Event::CancelReceived { attempt } => self.cancel(attempt),
            Event::VerdictAcknowledged { attempt } => {
                self.acknowledged(attempt, |verdict, _| *verdict = true);
            }
            Event::LogAcknowledged { attempt } => self.acknowledged(attempt, |_, log| *log = true),
            Event::ForgetReceived { attempt } => self.forget(attempt),
            Event::RunnerStarted { attempt, started_us } => self.started(attempt, started_us),
            Event::Concluded { attempt, verdict } => self.concluded(attempt, verdict),
        }
        std::mem::take(&mut self.effects)
    }

    fn link_down(&mut self) {
        self.linked = false;
        for it in self.attempts.values_mut() {
            if let Stage::Storing { here, .. } = &mut it.stage {
                *here = false;
            }
        }
    }

    fn ordered(&mut self, attempt: AttemptId, order: Vec<u8>, refusal: Option<Outcome>) {
        if let Some(it) = self.attempts.get_mut(&attempt) {
            if let Stage::Storing { here, .. } = &mut it.stage {
                *here = true;
            }
            return self.report(attempt);
        }
        let stage = Stage::Storing { refusal, here: true };
        self.attempts.insert(attempt, Attempt { stage, cancelled: false, forgotten: false });
        self.effects.push(Effect::Store { attempt, order });
    }

    fn stored(&mut self, attempt: AttemptId) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        let Stage::Storing { refusal, .. } = &mut it.stage else { return };
        let outcome = refusal.take().or(it.cancelled.then_some(Outcome::Cancelled));
        if let Some(outcome) = outcome {
            it.stage = Stage::Concluding;
            self.effects.push(Effect::Conclude { attempt, outcome });
        } else {
            it.stage = Stage::Launched;
            self.effects.push(Effect::Launch { attempt });
        }
        self.report(attempt);
    }

    fn store_failed(&mut self, attempt: AttemptId, verdict: Verdict) {
        let Some(it) = self.attempts.remove(&attempt) else { return };
        // If the order is about to come again, then to call it ended would be to start it after its
        // end.
        if let Stage::Storing { here: true, .. } = it.stage {
            let progress = Progress::Finished(Box::new(verdict));
            self.effects.push(Effect::Report { attempt, progress });
        }
    }

    fn cancel(&mut self, attempt: AttemptId) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        it.cancelled = true;
        match it.stage {
            Stage::Launched | Stage::Running { .. } => {
                self.effects.push(Effect::Cancel { attempt });
            }
            Stage::Storing { .. } | Stage::Concluding | Stage::Finished { .. } => {}
        }
    }

    fn started(&mut self, attempt: AttemptId, started_us: u64) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        if it.stage == Stage::Launched {
            it.stage = Stage::Running { started_us };
            self.report(attempt);
        }
    }

    fn concluded(&mut self, attempt: AttemptId, verdict: Verdict) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        if matches!(it.stage, Stage::Finished { .. }) {
            return;
        }
        let verdict = Box::new(verdict);
        it.stage = Stage::Finished { verdict, acknowledged: false, log_acknowledged: false };
        if it.forgotten {
            self.remove(attempt);
        } else {
            self.report(attempt);
        }
    }

    fn acknowledged(&mut self, attempt: AttemptId, set: impl FnOnce(&mut bool, &mut bool)) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        if let Stage::Finished { acknowledged, log_acknowledged, .. } = &mut it.stage {
            set(acknowledged, log_acknowledged);
            if *acknowledged && *log_acknowledged {
                self.remove(attempt);
            }
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        let Some(it) = self.attempts.get_mut(&attempt) else { return };
        it.forgotten = true;
        if matches!(it.stage, Stage::Finished { .. }) {
            self.remove(attempt);
        } else {
            self.cancel(attempt);
        }
    }

    fn remove(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
        self.effects.push(Effect::Remove { attempt });
    }

    fn report(&mut self, attempt: AttemptId) {
        let progress = self.attempts.get(&attempt).and_then(Attempt::progress);
        if let (true, Some(progress)) = (self.linked, progress) {
            self.effects.push(Effect::Report { attempt, progress });
        }
    }
}

impl Attempt {
    /// What the coordinator may hear; none before the order rests on the disk.
    fn progress(&self) -> Option<Progress> {
        match &self.stage {
            Stage::Storing { .. } => None,
            Stage::Launched | Stage::Concluding => Some(Progress::Accepted),
            Stage::Running { started_us } => Some(Progress::Running { started_us: *started_us }),
            Stage::Finished { verdict, .. } => Some(Progress::Finished(verdict.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
