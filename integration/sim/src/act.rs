//! Everything that can happen in one step, how often it is drawn, and its name.
//!
//! An act names no agent, stream or attempt by itself: `nth` picks one of those for which it is
//! possible just then. So any sublist of a list of acts can be performed too, which is what
//! shrinking needs.

use rand::Rng;
use rand::seq::IndexedRandom;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// What happens.
    pub what: What,
    /// To which of those to whom it can happen, counted around.
    pub nth: usize,
    /// For all else that the act leaves open.
    pub seed: u64,
}

/// Why something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The way of things; a world without faults does these until nothing is left to do.
    Progress,
    /// Somebody asks for something.
    People,
    /// A fault.
    Fault,
    /// The end of a fault that lasts.
    Repair,
    /// Nothing but that time passes.
    Time,
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident: $class:ident, $weight:literal, $words:literal;)*) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum What { $($(#[$doc])* $name,)* }

        impl What {
            /// All there is.
            pub const ALL: &[What] = &[$(What::$name,)*];

            /// Why it happens.
            pub fn class(self) -> Class {
                match self { $(What::$name => Class::$class,)* }
            }

            fn weight(self) -> u32 {
                match self { $(What::$name => $weight,)* }
            }

            /// For people.
            pub fn words(self) -> &'static str {
                match self { $(What::$name => $words,)* }
            }
        }
    };
}

acts! {
    /// A message reaches the coordinator's session.
    ArriveUp: Progress, 30, "a message reaches the coordinator";
    /// A message reaches the agent.
    ArriveDown: Progress, 30, "a message reaches an agent";
    /// The coordinator sees that a stream has ended.
    CoordinatorHangsUp: Progress, 12, "the coordinator sees that a stream has ended";
    /// The agent sees that its stream has ended.
    AgentHangsUp: Progress, 12, "an agent sees that its stream has ended";
    /// An agent sends a heartbeat, or misses the answer to the last one.
    Beat: Progress, 8, "an agent's heart beats";
    /// An agent dials.
    Dial: Progress, 15, "an agent dials";
    /// The driver takes what waits.
    Batch: Progress, 40, "the coordinator takes a batch";
    /// A trigger's pipelines are compiled.
    Resolve: Progress, 15, "a trigger is resolved";
    /// A checkpoint is begun, or done.
    Checkpoint: Progress, 2, "a checkpoint is begun or done";
    /// A disk task of an agent takes its next step.
    Task: Progress, 40, "a task of an agent takes its next step";
    /// A keeper looks at its runner.
    Keep: Progress, 30, "a keeper looks at its runner";
    /// A runner takes its next step.
    Run: Progress, 50, "a runner takes its next step";
    /// A job's program ends.
    End: Progress, 8, "a program ends";
    /// What nobody follows any more on a device comes to its end.
    EndOnDevice: Progress, 4, "a forgotten program on a device ends";
    /// A job's program writes.
    Write: Progress, 5, "a program writes";
    /// An agent sends of a log.
    SendLog: Progress, 40, "an agent sends of a log";
    /// That reaches the coordinator.
    LogArrives: Progress, 40, "a piece of a log reaches the coordinator";
    /// The answer reaches the agent.
    LogAckArrives: Progress, 40, "an agent hears of a log";
    /// The coordinator starts.
    StartCoordinator: Progress, 15, "the coordinator starts";
    /// A host is switched on.
    Boot: Progress, 6, "a host is switched on";
    /// An agent starts.
    StartAgent: Progress, 12, "an agent starts";
    /// An agent that has no certificate joins.
    Join: Progress, 10, "an agent asks for a certificate";

    /// One of several people lets a gate's jobs through, as far as it is up to them.
    Approve: Progress, 4, "somebody approves";

    /// A push, delivered by a forge.
    Trigger: People, 6, "a push";
    /// Somebody cancels a run.
    Cancel: People, 2, "a cancel";
    /// Somebody retries a run.
    Retry: People, 4, "a retry";
    /// Somebody says no at a gate.
    Reject: People, 1, "a reject";

    /// An operator wants no new attempts on an agent, or wants them again.
    Cordon: People, 1, "an agent is cordoned, or no more";
    /// An operator declares an agent lost.
    DeclareLost: People, 1, "an agent is declared lost";
    /// An operator breaks a lock.
    BreakLock: People, 1, "a lock is broken";

    /// A delivery that was made before comes again.
    TriggerAgain: Fault, 4, "a delivery comes twice";
    /// A stream breaks, and what was on its way is lost from some message on.
    Break: Fault, 6, "a stream breaks and loses messages";
    /// No message passes between a host and the coordinator.
    Cut: Fault, 2, "a host's network is cut";
    /// The coordinator is killed within a batch.
    CrashInBatch: Fault, 5, "the coordinator crashes within a batch";
    /// The coordinator is killed between two batches.
    CrashCoordinator: Fault, 2, "the coordinator crashes between batches";
    /// Its disk is full.
    FillDisk: Fault, 2, "the coordinator's disk is full";
    /// Its next sync fails.
    FailSync: Fault, 2, "an fdatasync fails";
    /// Its view is lost, and its newest checkpoint is damaged.
    LoseView: Fault, 2, "the view is lost, the newest checkpoint damaged";
    /// Its clock jumps.
    JumpCoordinator: Fault, 2, "the coordinator's clock jumps";
    /// An agent is killed.
    KillAgent: Fault, 5, "an agent is killed";
    /// A runner is killed; its job's processes go on.
    KillRunner: Fault, 3, "a runner is killed";
    /// A host loses power.
    CutPower: Fault, 3, "a host loses power";
    /// A host is installed anew.
    Reinstall: Fault, 1, "a host is installed anew";
    /// A host's state directory is lost; what runs there goes on.
    LoseState: Fault, 1, "a host's state directory is lost";
    /// A host is copied, and the copy switched on.
    Clone: Fault, 1, "a host is cloned";
    /// A host stands still.
    Freeze: Fault, 2, "a host freezes";
    /// A host's disk is full.
    FillHost: Fault, 2, "a host's disk is full";
    /// A host's clock jumps.
    JumpHost: Fault, 2, "a host's clock jumps";

    /// The network works again.
    Reconnect: Repair, 4, "a host's network works again";
    /// The coordinator's disk has room again.
    FreeDisk: Repair, 4, "the coordinator's disk has room again";
    /// The host goes on.
    Thaw: Repair, 6, "a host goes on";
    /// The host's disk has room again.
    FreeHost: Repair, 4, "a host's disk has room again";

    /// Seconds pass.
    Moment: Time, 8, "a moment passes";
    /// Minutes or hours pass, in which whoever is awake does what cannot wait.
    Wait: Time, 4, "time passes";
}

/// How often each act is drawn in one world. Each has its own favourites among the faults, so that
/// some worlds go far before they are disturbed, and others have one trouble again and again.
#[derive(Debug)]
pub struct Mix(Vec<(What, u32)>);

impl Mix {
    /// A mix of its own for one world.
    pub fn draw(rng: &mut impl Rng) -> Mix {
        let mut weigh = |what: &What| match what.class() {
            Class::Fault => (*what, what.weight() * [0, 1, 2, 5][rng.random_range(0..4)]),
            Class::Progress | Class::People | Class::Repair | Class::Time => {
                (*what, 2 * what.weight())
            }
        };
        Mix(What::ALL.iter().map(&mut weigh).collect())
    }

    /// One act for which `possible` says yes.
    pub fn act(&self, rng: &mut impl Rng, possible: impl Fn(What) -> bool) -> Act {
        let what = loop {
            let drawn = self.0.choose_weighted(rng, |(_, weight)| *weight);
            let what = drawn.expect("some weights are not zero").0;
            if possible(what) {
                break what;
            }
        };
        Act { what, nth: rng.random_range(0..1000), seed: rng.random() }
    }
}
