//! One world from its beginning to its rest.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coordinator::store::journal::{Batch, Epoch, Seq};
use coordinator_core::agent::AgentKey;
use coordinator_core::change::Change;
use coordinator_core::core::Core;
use coordinator_core::event::Event;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::act::{Act, Class, Mix, What};
use crate::coordinator::snapshot;
use crate::ledger::{Finding, Rule};
use crate::mutant::Mutant;
use crate::rules::open;
use crate::view::View;
use crate::world::World;

/// Rounds in which a world without faults must come to rest; each does all that is possible once.
const ROUNDS: u64 = 300;

/// How often time passes, and how much of it (µs), before a world counts as one at rest.
const WAITS: u32 = 20;
const LONG: u64 = 4 * 3600 * 1_000_000;

/// What came of one seed.
#[derive(Debug)]
pub struct Story {
    /// What was drawn.
    pub acts: Vec<Act>,
    /// How often each act was performed.
    pub counts: BTreeMap<What, u64>,
    /// The first broken rule.
    pub finding: Option<Finding>,
    /// One line a step, if it was told.
    pub lines: Vec<String>,
}

impl Story {
    /// Draws `steps` acts from a seed and performs them; then the faults stop.
    pub fn draw(seed: u64, steps: usize, mutant: Option<Mutant>) -> Story {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mix = Mix::draw(&mut rng);
        let mut drawn = Vec::with_capacity(steps);
        let mut story = Story::tell(mutant, false, |world| {
            for _ in 0..steps {
                let act = mix.act(&mut rng, |what| world.is_possible(what));
                drawn.push(act);
                world.perform(&act);
                if world.ledger.finding.is_some() {
                    return;
                }
            }
        });
        story.acts = drawn;
        story
    }

    /// Performs these acts; then the faults stop. With `told` it is told in words.
    pub fn again(acts: &[Act], mutant: Option<Mutant>, told: bool) -> Story {
        let mut story = Story::tell(mutant, told, |world| {
            for act in acts {
                world.perform(act);
                if world.ledger.finding.is_some() {
                    return;
                }
            }
        });
        story.acts = acts.to_vec();
        story
    }

    fn tell(mutant: Option<Mutant>, told: bool, live: impl FnOnce(&mut World)) -> Story {
        let mut world = World::new(mutant, told);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            live(&mut world);
            world.rest();
        }));
        if let Err(panic) = lived {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.unwrap_or_else(|| "see the message above".to_owned());
            world.ledger.find(Rule::Panic, text);
        }
        let World { counts, story: lines, ledger, .. } = world;
        Story { acts: Vec::new(), counts, finding: ledger.finding, lines }
    }
}

impl World {
    /// The faults stop, and everything comes to its end.
    fn rest(&mut self) {
        if self.ledger.finding.is_some() {
            return;
        }
        self.repair();
        for round in 0.. {
            if self.ledger.finding.is_some() {
                return;
            }
            if round == ROUNDS {
                let text = format!("after {ROUNDS} rounds without a fault there is more to do");
                self.ledger.find(Rule::Liveness, text);
                break;
            }
            if !self.round(round) && !self.goes_on() {
                break;
            }
        }
        self.check_rest();
        self.check_replay();
    }

    /// Everything works again, and an operator has switched the clone off.
    fn repair(&mut self) {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        self.story.extend(self.notes.iter().map(|_| "     + all faults are mended".to_owned()));
        if let Some(h) = self.hosts.iter().position(|host| host.is_clone) {
            self.drop_link(h, &mut rng);
            let streams = self.streams.iter().filter(|(_, stream)| stream.host == h);
            let streams: Vec<u64> = streams.map(|(id, _)| *id).collect();
            streams.into_iter().for_each(|stream| self.coordinator_hangs_up(stream));
            self.hosts.truncate(h);
        }
        for host in &mut self.hosts {
            (host.cut, host.frozen, host.full) = (false, false, false);
        }
        self.coordinator.disk.trouble(|it| (it.full, it.failing_sync) = (false, false));
    }

    /// Nothing is left to do: operators say what only they can say, or time passes.
    fn goes_on(&mut self) -> bool {
        if self.ledger.finding.is_some() {
            return false;
        }
        if let Some(nth) = self.doubtful_lock() {
            self.break_lock(nth);
            return true;
        }
        let cordoned = |world: &World, agent: &AgentKey| {
            world.book.agents.get(agent).is_some_and(|agent| agent.cordoned_by.is_some())
        };
        if let Some(nth) = self.known_agents().iter().position(|agent| cordoned(self, agent)) {
            self.cordon(nth);
            return true;
        }
        self.waits += 1;
        if self.waits > WAITS / 2 && self.ledger.has_broken() && !self.held_locks().is_empty() {
            self.break_lock(0);
            return true;
        }
        self.wait(LONG);
        self.has_deadline() && self.waits <= WAITS
    }

    /// Does everything that is possible once; whether there was anything.
    fn round(&mut self, round: u64) -> bool {
        let progress = What::ALL.iter().filter(|what| what.class() == Class::Progress);
        let mut busy = false;
        for what in progress.filter(|what| **what != What::Checkpoint) {
            let mut nth = 0;
            while nth < self.count(*what) && nth < 10 {
                busy = true;
                self.perform(&Act { what: *what, nth, seed: round });
                nth += 1;
                if self.ledger.finding.is_some() {
                    return false;
                }
            }
        }
        busy
    }

    /// The journal read from its first batch gives the book, and its events give its changes.
    fn check_replay(&mut self) {
        let mut replay =
            Replay { mutant: self.mutant, core: None, view: View::default(), epoch: Epoch(0) };
        let batches = open(self.coordinator.disk.certain(), Seq(1))
            .map_err(|error| error.to_string())
            .and_then(|journal| journal.batches(Seq(1)).map_err(|error| error.to_string()));
        let batches = match batches {
            Ok(batches) => batches,
            Err(error) => return self.ledger.find_error("the journal cannot be read", &error),
        };
        for batch in batches {
            match batch {
                Ok(batch) => {
                    let again = replay.decide(&batch);
                    if again != batch.changes {
                        let text = format!("batch {} is decided otherwise again", batch.seq);
                        self.ledger.find_state(&text);
                    }
                    replay.view.apply(batch.seq, &batch.changes);
                }
                Err(error) => self.ledger.find_error("the journal cannot be read", &error),
            }
        }
        self.check_view(&replay.view);
    }
}

/// Decides again what was decided, from the journal alone.
struct Replay {
    mutant: Option<Mutant>,
    core: Option<Core>,
    view: View,
    epoch: Epoch,
}

impl Replay {
    fn decide(&mut self, batch: &Batch) -> Vec<Change> {
        let is_start = batch.epoch != self.epoch;
        let mut changes = Vec::new();
        let reloaded = match batch.events.first() {
            Some(Event::Reloaded { at }) => Some(*at),
            _ => None,
        };
        if is_start || reloaded.is_some() {
            self.epoch = batch.epoch;
            let (core, step) =
                Core::load(snapshot(self.mutant, &self.view), reloaded.unwrap_or(batch.now));
            self.core = Some(core);
            // After a reload the core's own changes are not remembered.
            if is_start {
                changes = step.changes;
            }
        }
        let Some(core) = &mut self.core else { return changes };
        for event in &batch.events {
            changes.extend(core.handle(event, batch.now).changes);
        }
        if !batch.events.is_empty() {
            changes.extend(core.schedule(batch.now).changes);
        }
        changes
    }
}
