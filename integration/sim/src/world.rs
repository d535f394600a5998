//! The world: who is in it, and what each act does.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::lease::BootTime;
use coordinator_core::agent::AgentKey;
use coordinator_core::event::Wall;
use pipelines::id::AttemptId;
use pipelines::outcome::{Exit, Outcome};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::act::{Act, What};
use crate::coordinator::{Coordinator, Crash};
use crate::host::Host;
use crate::ledger::Ledger;
use crate::mutant::Mutant;
use crate::network::Stream;
use crate::people::name;
use crate::possible::Target;
use crate::trace;
use crate::view::View;

/// Partitions and their agents.
pub(crate) const AGENTS: [(&str, &str); 3] =
    [("fra", "mgmt01"), ("fra", "mgmt02"), ("muc", "mgmt01")];

/// 2026 by everybody's wall clock, in µs since 1970.
const START: i64 = 1_767_225_600_000_000;

/// How fast hosts' clocks are, in thousandths of the coordinator's.
pub(crate) const DRIFT: [u64; 3] = [970, 1030, 1000];

/// Furthest jump of a wall clock, in µs: 2 days. Keys of triggers are kept for 7 days by that clock,
/// so further jumps are beyond what is promised.
const JUMP: i64 = 2 * 24 * 3600 * 1_000_000;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    /// What is broken on purpose.
    pub(crate) mutant: Option<Mutant>,
    /// Time since the beginning, in µs, as a clock that never jumps shows it.
    pub(crate) now: u64,
    pub(crate) coordinator: Coordinator,
    pub(crate) hosts: Vec<Host>,
    pub(crate) streams: BTreeMap<u64, Stream>,
    /// Attempts whose program runs on a device, where nobody follows it any more.
    pub(crate) devices: BTreeSet<AttemptId>,
    /// Deliveries that were made.
    pub(crate) deliveries: u64,
    /// What all durable batches add up to.
    pub(crate) book: View,
    /// What the rules know besides.
    pub(crate) ledger: Ledger,
    /// What came of the act in hand, while somebody wants to read it.
    pub(crate) notes: Option<Vec<String>>,
    /// The story so far, if somebody wants to read it.
    pub(crate) story: Vec<String>,
    /// How often each act was performed.
    pub(crate) counts: BTreeMap<What, u64>,
    /// How often time passed in a world without faults.
    pub(crate) waits: u32,
    seed: u64,
    uniques: u64,
    steps: usize,
}

/// Adds to the line of the act in hand.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if let Some(notes) = &mut $world.notes {
            notes.push(format!($($text)*));
        }
    };
}
pub(crate) use note;

impl World {
    /// A world in which nothing has happened: all is switched off, nobody has a certificate. With
    /// `told` it tells its story.
    pub fn new(mutant: Option<Mutant>, told: bool) -> World {
        let key = |(partition, agent): (&str, &str)| AgentKey {
            partition: name(partition),
            name: name(agent),
        };
        let mut world = World {
            mutant,
            now: 0,
            coordinator: Coordinator::default(),
            hosts: AGENTS.map(key).map(Host::new).into(),
            streams: BTreeMap::new(),
            devices: BTreeSet::new(),
            deliveries: 0,
            book: View::default(),
            ledger: Ledger::default(),
            notes: told.then(Vec::new),
            story: Vec::new(),
            counts: BTreeMap::new(),
            waits: 0,
            seed: 0,
            uniques: 0,
            steps: 0,
        };
        (0..AGENTS.len()).for_each(|h| world.install(h));
        let lying = mutant == Some(Mutant::ForgetSync);
        world.coordinator.disk.trouble(|it| it.lying_syncs = lying);
        world
    }

    /// Whether an act is possible for anybody.
    pub fn is_possible(&self, what: What) -> bool {
        !self.targets(what).is_empty()
    }

    /// For how many an act is possible.
    pub(crate) fn count(&self, what: What) -> usize {
        self.targets(what).len()
    }

    /// Performs an act, if it is possible for anybody.
    pub fn perform(&mut self, act: &Act) {
        let targets = self.targets(act.what);
        let Some(target) = targets.get(act.nth % targets.len().max(1)) else { return };
        self.steps += 1;
        self.now += 1000;
        self.seed = act.seed;
        *self.counts.entry(act.what).or_default() += 1;
        self.do_to(act.what, *target);
        if let Some(notes) = &mut self.notes {
            self.story.push(trace::line(self.steps, act, &std::mem::take(notes)));
        }
    }

    /// What the act leaves open, drawn from its seed.
    pub(crate) fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    /// A number that was not given before.
    pub(crate) fn unique(&mut self) -> u64 {
        self.uniques += 1;
        self.uniques
    }

    /// The coordinator's wall clock.
    pub(crate) fn wall(&self) -> Wall {
        Wall((START + self.now as i64 + self.coordinator.clock) as u64)
    }

    /// A host's wall clock, µs since 1970.
    pub(crate) fn host_wall(&self, h: usize) -> u64 {
        (START + self.now as i64 + self.hosts[h].clock) as u64
    }

    /// A host's clock that never jumps, µs. Hosts' clocks differ from the coordinator's by up to 3 %.
    pub(crate) fn boot_time(&self, h: usize) -> BootTime {
        BootTime(self.now * DRIFT[h % DRIFT.len()] / 1000)
    }

    fn do_to(&mut self, what: What, target: Target) {
        match target {
            Target::Coordinator => self.do_to_coordinator(what),
            Target::Stream(stream) => match what {
                What::ArriveUp => self.arrive_up(stream),
                What::ArriveDown => self.arrive_down(stream),
                What::LogArrives => self.log_arrives(stream),
                What::LogAckArrives => self.log_ack_arrives(stream),
                What::AgentHangsUp => self.agent_hangs_up(stream),
                What::CoordinatorHangsUp => self.coordinator_hangs_up(stream),
                _ => {
                    let mut rng = self.rng();
                    let stream = self.streams.get_mut(&stream);
                    stream.into_iter().for_each(|stream| stream.break_off(&mut rng));
                }
            },
            Target::Host(h) => self.do_to_host(what, h),
            Target::Runner(h, pid) if what == What::KillRunner => {
                let runner = self.hosts[h].runners.remove(&pid);
                note!(self, "{}", runner.map(|it| it.attempt.to_string()).unwrap_or_default());
            }
            Target::Runner(h, pid) => {
                note!(self, "{}", self.hosts[h].name);
                self.run(h, pid);
            }
            Target::Task(h, nth) => {
                note!(self, "{}", self.hosts[h].name);
                self.step_task(h, nth);
            }
            Target::Attempt(h, attempt) => {
                note!(self, "{}", self.hosts[h].name);
                match what {
                    What::Keep => self.keep(h, attempt),
                    What::End => {
                        let outcome = self.draw_outcome(h, attempt);
                        self.end_program(h, attempt, outcome);
                    }
                    What::Write => self.write_output(h, attempt),
                    _ => self.send_log(h, attempt),
                }
            }
            Target::Nth(nth) => match what {
                What::Resolve => self.resolve(nth),
                What::Cordon => self.cordon(nth),
                What::DeclareLost => self.declare_lost(nth),
                What::BreakLock => self.break_lock(nth),
                What::EndOnDevice => {
                    let attempt = self.devices.iter().nth(nth).copied();
                    note!(self, "{}", attempt.map(|it| it.to_string()).unwrap_or_default());
                    self.devices.retain(|it| Some(*it) != attempt);
                }
                What::Approve => self.approve(nth),
                What::Reject => self.reject(nth),
                What::Cancel => self.cancel(self.runs(true)[nth]),
                _ => self.retry(self.runs(false)[nth]),
            },
        }
    }

    fn do_to_coordinator(&mut self, what: What) {
        let mut rng = self.rng();
        match what {
            What::Moment => self.now += rng.random_range(0..4_000_000),
            What::Wait => {
                let longest = [60, 600, 3600, 4 * 3600][rng.random_range(0..4)];
                self.wait(rng.random_range(5..longest) * 1_000_000);
            }
            What::Batch => {
                let most = if rng.random_bool(0.7) { usize::MAX } else { rng.random_range(1..4) };
                self.batch(most, None, &mut rng);
            }
            What::CrashInBatch => {
                let crash = match rng.random_range(0..5) {
                    0 => Crash::BeforeCommit,
                    1 => Crash::InWrite(rng.random_range(0..4096)),
                    2 => Crash::AfterCommit,
                    3 => Crash::AfterView,
                    _ => Crash::AfterEffects(rng.random_range(0..4)),
                };
                note!(self, "{crash:?}");
                self.batch(usize::MAX, Some(crash), &mut rng);
                let power = rng.random_bool(0.5);
                self.crash_coordinator(power, &mut rng);
            }
            What::CrashCoordinator => {
                let power = rng.random_bool(0.5);
                self.crash_coordinator(power, &mut rng);
            }
            What::Checkpoint => self.checkpoint(&mut rng),
            What::StartCoordinator => self.start_coordinator(),
            What::Trigger => self.push(),
            What::TriggerAgain => self.deliver(rng.random_range(1..=self.deliveries)),
            What::FillDisk => self.coordinator.disk.trouble(|it| it.full = true),
            What::FreeDisk => self.coordinator.disk.trouble(|it| it.full = false),
            What::FailSync => self.coordinator.disk.trouble(|it| it.failing_sync = true),
            What::LoseView => {
                self.coordinator.left = None;
                self.coordinator.checkpoints.pop();
            }
            _ => self.coordinator.clock = rng.random_range(-JUMP..JUMP),
        }
    }

    fn checkpoint(&mut self, rng: &mut ChaCha8Rng) {
        let Some(running) = &self.coordinator.running else { return };
        match self.coordinator.draft.take() {
            None => self.coordinator.draft = Some(running.view.clone()),
            Some(draft) => {
                let done = draft.checkpoint(&running.view, rng);
                note!(self, "from batch {} to {}", done.view.applied, done.through);
                let kept = &mut self.coordinator.checkpoints;
                kept.push(done);
                let old = kept.len().saturating_sub(2);
                kept.drain(..old);
            }
        }
    }

    fn do_to_host(&mut self, what: What, h: usize) {
        let mut rng = self.rng();
        note!(self, "{}", self.hosts[h].name);
        let host = &mut self.hosts[h];
        match what {
            What::Dial => self.dial(h),
            What::Beat => self.beat(h),
            What::Boot => {
                host.boot += 1;
                host.powered = true;
            }
            What::StartAgent => self.start_agent(h),
            What::Join => self.join(h),
            What::Cut => host.cut = true,
            What::Reconnect => host.cut = false,
            What::KillAgent => {
                host.agent = None;
                self.drop_link(h, &mut rng);
            }
            What::CutPower => {
                let left = host.lose_power(&mut rng);
                self.devices.extend(left);
                self.drop_link(h, &mut rng);
            }
            What::Reinstall => {
                let left = host.lose_power(&mut rng);
                self.devices.extend(left);
                self.drop_link(h, &mut rng);
                self.install(h);
            }
            What::LoseState => {
                host.agent = None;
                self.drop_link(h, &mut rng);
                self.install(h);
            }
            What::Clone => self.copy(h, &mut rng),
            What::Freeze => host.frozen = true,
            What::Thaw => host.frozen = false,
            What::FillHost => host.full = true,
            What::FreeHost => host.full = false,
            _ => host.clock = rng.random_range(-JUMP..JUMP),
        }
    }

    /// How a program ends. One on a device may go on when the connection to it breaks.
    fn draw_outcome(&self, h: usize, attempt: AttemptId) -> Outcome {
        let mut rng = self.rng();
        let host = &self.hosts[h];
        let on_device = host.programs.get(&attempt).is_some_and(|program| program.on_device);
        if on_device && host.is_locked(attempt) && rng.random_bool(0.3) {
            return Outcome::Lost { reason: "the connection broke".into(), may_run: true };
        }
        match rng.random_range(0..10) {
            0..6 => Outcome::Succeeded,
            6..8 => Outcome::Failed { exit: Exit::Code(1) },
            8 => Outcome::TimedOut,
            _ => Outcome::InfraError { reason: "no image".into() },
        }
    }

    /// A host gets a new state directory: another instance, another key, no certificate.
    fn install(&mut self, h: usize) {
        let unique = self.unique();
        let host = &mut self.hosts[h];
        host.instance = Uuid::from_u128(unique.into());
        host.fingerprint = format!("key {unique}");
        host.joined = false;
        host.dirs.clear();
    }

    /// A copy of a host's disk is switched on as another host.
    fn copy(&mut self, h: usize, rng: &mut ChaCha8Rng) {
        let original = &self.hosts[h];
        let mut copy = Host {
            name: format!("the clone of {}", original.name),
            fingerprint: original.fingerprint.clone(),
            instance: original.instance,
            joined: true,
            is_clone: true,
            dirs: original.dirs.clone(),
            ..Host::new(original.key.clone())
        };
        copy.lose_power(rng);
        self.ledger.cloned(copy.key.clone());
        self.hosts.push(copy);
    }
}
