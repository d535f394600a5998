//! The only loop: takes all waiting inputs, asks the core, commits once, then acts.
//!
//! Invariant: nothing is done before the changes behind it are durable; only this thread touches
//! the core and writes to the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coordinator_core::actor::Actor;
use coordinator_core::agent::SessionId;
use coordinator_core::change::Change;
use coordinator_core::core::Core;
use coordinator_core::core::counts::Counts;
use coordinator_core::deadline::Steady;
use coordinator_core::event::{
    Answer, Ask, Effect, Event, Refusal, RequestId, Step, ToAgent, Wall,
};
use coordinator_core::trigger::Trigger;
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::metrics::Metrics;
use crate::store::journal::Seq;
use crate::store::{self, Store};

/// Inputs that wait for the loop; senders wait when it is full. A few batches' worth.
const INBOX: usize = 4096;

/// Most inputs in one batch, so that its record stays well below the journal's limit.
const BATCH: usize = 512;

/// Batches of changes that a watcher may be behind before it must look at the view again.
const WATCH: usize = 1024;

/// Messages that an agent may be behind; one that is further behind is disconnected, and its next
/// hello brings everything again.
pub const OUTBOX: usize = 1024;

/// Between two looks at the wall clock, while a schedule, a gate or a window waits for its time.
const WALL_CLOCK: Duration = Duration::from_secs(10);

/// The coordinator's wall clock.
pub fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(since.as_micros() as u64)
}

/// A clock that never jumps and goes on while the host is suspended.
fn boot_time() -> Duration {
    // Every Linux has had it since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// What a session is told.
#[derive(Debug)]
pub enum Outgoing {
    /// A message.
    Message(ToAgent),
    /// That the session ends, and why.
    Close(String),
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The core refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be made durable now; nothing was done.
    #[error("{0}; nothing was done")]
    NotDurable(String),
    /// The coordinator is stopping.
    #[error("the coordinator is stopping: try again")]
    Stopped,
}

enum Input {
    Ask { actor: Actor, ask: Ask, reply: oneshot::Sender<Result<Answer, AskError>> },
    Connect { event: Event, session: SessionId, outbox: mpsc::Sender<Outgoing> },
    Event(Event),
    Look { reply: oneshot::Sender<Result<Counts, AskError>> },
    Stop { store: oneshot::Sender<Store> },
}

/// The way to the loop for everybody else.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Input>,
    sessions: Arc<AtomicU64>,
    changes: broadcast::Sender<Arc<[Change]>>,
    committed: watch::Receiver<Seq>,
}

impl Handle {
    /// Asks, and waits until the answer's changes are durable.
    pub async fn ask(&self, actor: Actor, ask: Ask) -> Result<Answer, AskError> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Ask { actor, ask, reply };
        self.inbox.send(input).await.map_err(|_| AskError::Stopped)?;
        answer.await.map_err(|_| AskError::Stopped)?
    }

    /// Reports what happened. Nothing is heard of it if the coordinator is stopping.
    pub async fn report(&self, event: Event) {
        drop(self.inbox.send(Input::Event(event)).await);
    }

    /// Opens a session: `hello` makes its first event, `outbox` hears what the agent is to be told.
    pub async fn connect(
        &self,
        hello: impl FnOnce(SessionId) -> Event,
        outbox: mpsc::Sender<Outgoing>,
    ) -> SessionId {
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let event = hello(session);
        drop(self.inbox.send(Input::Connect { event, session, outbox }).await);
        session
    }

    /// What there is to do, behind all that was reported before; an error if nothing can be done. That
    /// it answers shows that the loop lives.
    pub async fn look(&self) -> Result<Counts, AskError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Input::Look { reply }).await.map_err(|_| AskError::Stopped)?;
        answer.await.map_err(|_| AskError::Stopped)?
    }

    /// Ends the loop; gives its store. None if it has ended before.
    pub async fn stop(&self) -> Option<Store> {
        let (store, stopped) = oneshot::channel();
        self.inbox.send(Input::Stop { store }).await.ok()?;
        stopped.await.ok()
    }

    /// Every batch of changes from now on, once it is durable and in the view.
    pub fn watch(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.changes.subscribe()
    }

    /// The last batch that is durable and in the view.
    pub fn committed(&self) -> watch::Receiver<Seq> {
        self.committed.clone()
    }
}

/// The loop's state.
pub struct Driver {
    core: Core,
    /// When the core was loaded, by [`boot_time`].
    loaded: Duration,
    /// When it was loaded again, which the journal does not know yet.
    reloaded: Option<Wall>,
    /// Until then no schedule, no gate and no window is looked at, by [`boot_time`]: nothing could be written.
    rests_until: Duration,
    store: Store,
    inbox: mpsc::Receiver<Input>,
    sessions: BTreeMap<SessionId, mpsc::Sender<Outgoing>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Answer, AskError>>>,
    requests: u64,
    resolve: mpsc::UnboundedSender<Box<Trigger>>,
    changes: broadcast::Sender<Arc<[Change]>>,
    committed: watch::Sender<Seq>,
    metrics: Arc<Metrics>,
}

impl Driver {
    /// A driver over an open store. `resolve` hears of triggers; it is not bounded because it holds
    /// no more than the pending triggers that the core holds too.
    pub fn new(
        store: Store,
        snapshot: coordinator_core::change::Snapshot,
        resolve: mpsc::UnboundedSender<Box<Trigger>>,
        metrics: Arc<Metrics>,
    ) -> Result<(Driver, Handle), store::Error> {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (changes, _) = broadcast::channel(WATCH);
        let (committed, last) = watch::channel(store.last());
        let handle = Handle {
            inbox: sender,
            sessions: Arc::new(AtomicU64::new(1)),
            changes: changes.clone(),
            committed: last,
        };
        let now = now();
        let (core, step) = Core::load(snapshot, now);
        let mut driver = Driver {
            core,
            loaded: boot_time(),
            reloaded: None,
            rests_until: Duration::ZERO,
            store,
            inbox,
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            resolve,
            changes,
            committed,
            metrics,
        };
        let seq = driver.store.commit(now, &[], &step.changes)?;
        driver.perform(step);
        driver.committed.send_replace(seq);
        Ok((driver, handle))
    }

    /// Runs until it is stopped, every handle is gone, or the store fails. Blocks its thread.
    pub fn run(mut self) -> Result<(), store::Error> {
        let timer = Builder::new_current_thread().enable_time().build();
        let timer = timer.expect("a runtime that only waits needs nothing");
        let mut inputs = Vec::with_capacity(BATCH);
        while timer.block_on(self.wait(&mut inputs)) {
            let (mut stop, mut looks) = (None, Vec::new());
            let mut events = Vec::with_capacity(inputs.len() + 1);
            for input in inputs.drain(..) {
                match input {
                    Input::Stop { store } => stop = Some(store),
                    Input::Look { reply } => looks.push(reply),
                    input => events.extend(self.admit(input)),
                }
            }
            if !events.is_empty() || self.is_due() {
                self.batch(events)?;
            }
            for reply in looks {
                let ready = self.store.ready().map(|()| self.core.counts());
                drop(reply.send(ready.map_err(|error| AskError::NotDurable(error.to_string()))));
            }
            if let Some(stop) = stop {
                drop(stop.send(self.store));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until there are inputs or something is due; false once there will never be more.
    async fn wait(&mut self, inputs: &mut Vec<Input>) -> bool {
        let left = self.left();
        let receive = self.inbox.recv_many(inputs, BATCH);
        match left {
            None => receive.await > 0,
            // Behind a timer that ran out more may come.
            Some(left) => timeout(left, receive).await.map_or(true, |taken| taken > 0),
        }
    }

    /// How long to wait at most.
    fn left(&self) -> Option<Duration> {
        let steady = self
            .core
            .next_deadline()
            .map(|at| Duration::from_micros(at.0).saturating_sub(boot_time() - self.loaded));
        // Somebody may set the wall clock meanwhile.
        let wall = self
            .next_by_wall_clock()
            .map(|at| Duration::from_micros(at.0.saturating_sub(now().0)).min(WALL_CLOCK))
            .map(|left| left.max(self.rests_until.saturating_sub(boot_time())));
        steady.into_iter().chain(wall).min()
    }

    fn steady(&self) -> Steady {
        Steady((boot_time() - self.loaded).as_micros() as u64)
    }

    fn is_due(&self) -> bool {
        self.core.next_deadline().is_some_and(|at| at <= self.steady())
            || (self.next_by_wall_clock().is_some_and(|at| at <= now())
                && self.rests_until <= boot_time())
    }

    fn next_by_wall_clock(&self) -> Option<Wall> {
        let core = &self.core;
        let next = [core.next_schedule(), core.next_expiry(), core.next_opening(now())];
        next.into_iter().flatten().min()
    }

    /// Registers who waits for what, and leaves the event.
    fn admit(&mut self, input: Input) -> Option<Event> {
        Some(match input {
            Input::Stop { .. } | Input::Look { .. } => return None,
            Input::Event(event) => event,
            Input::Connect { event, session, outbox } => {
                self.sessions.insert(session, outbox);
                event
            }
            Input::Ask { actor, ask, reply } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.waiting.insert(request, reply);
                Event::Asked { request, actor, ask }
            }
        })
    }

    fn batch(&mut self, mut events: Vec<Event>) -> Result<(), store::Error> {
        let now = now();
        let given = events.len();
        events.insert(0, Event::Tick { at: self.steady() });
        if let Some(at) = self.reloaded {
            events.insert(0, Event::Reloaded { at });
        }
        let mut step = Step::default();
        for event in &events {
            let one = self.core.handle(event, now);
            step.changes.extend(one.changes);
            step.effects.extend(one.effects);
        }
        let scheduled = self.core.schedule(now);
        step.changes.extend(scheduled.changes);
        step.effects.extend(scheduled.effects);
        let begun = Instant::now();
        let seq = match self.store.commit(now, &events, &step.changes) {
            Ok(seq) => {
                self.reloaded = None;
                self.metrics.committed(begun.elapsed(), &step.changes);
                seq
            }
            // Together they are too long for one record; one at a time they are not.
            Err(store::Error::TooLong) if given > 1 => {
                self.reload(now)?;
                let given = events.split_off(events.len() - given);
                return given.into_iter().try_for_each(|one| self.batch(vec![one]));
            }
            Err(error @ (store::Error::Full { .. } | store::Error::TooLong)) => {
                return self.roll_back(&error, now);
            }
            Err(error) => {
                error!(%error, "the journal cannot be written: stopping, nothing was done");
                return Err(error);
            }
        };
        // Orders go first, and those who tell of it after them.
        self.perform(step);
        self.committed.send_replace(seq);
        // Last, so that a session that came and went within this batch still hears why.
        for event in events {
            if let Event::AgentDisconnected { session, .. } = event {
                self.sessions.remove(&session);
            }
        }
        Ok(())
    }

    fn perform(&mut self, step: Step) {
        if !step.changes.is_empty() {
            // An error only means that nobody watches.
            drop(self.changes.send(step.changes.into()));
        }
        for effect in step.effects {
            match effect {
                Effect::Answer { request, answer } => {
                    if let Some(reply) = self.waiting.remove(&request) {
                        drop(reply.send(answer.map_err(AskError::Refused)));
                    }
                }
                // The receiver is gone only while the coordinator stops; load gives it again.
                Effect::Resolve(trigger) => drop(self.resolve.send(trigger)),
                Effect::Warn(text) => warn!("{text}"),
                Effect::Complain(fault) => error!(%fault, "please report this"),
                Effect::Send { session, message } => self.send(session, Outgoing::Message(message)),
                Effect::Close { session, reason } => {
                    self.send(session, Outgoing::Close(reason));
                    self.sessions.remove(&session);
                }
            }
        }
    }

    fn send(&mut self, session: SessionId, message: Outgoing) {
        let Some(outbox) = self.sessions.get(&session) else { return };
        if outbox.try_send(message).is_err() {
            // Dropping the outbox ends the stream, which the session reports in its turn.
            self.sessions.remove(&session);
        }
    }

    /// Nothing could be written: forgets what the core decided, as a restart would.
    fn roll_back(&mut self, error: &store::Error, now: Wall) -> Result<(), store::Error> {
        warn!(%error, "nothing was done; agents are disconnected until it works again");
        self.rests_until = boot_time() + WALL_CLOCK;
        for (_, reply) in std::mem::take(&mut self.waiting) {
            drop(reply.send(Err(AskError::NotDurable(error.to_string()))));
        }
        self.reload(now)
    }

    /// The core as a restart would find it; agents are disconnected and come back.
    fn reload(&mut self, now: Wall) -> Result<(), store::Error> {
        self.sessions.clear();
        let snapshot = self.store.view().snapshot(now).map_err(store::Failure::from)?;
        let (core, step) = Core::load(snapshot, now);
        (self.core, self.loaded, self.reloaded) = (core, boot_time(), Some(now));
        // The changes of this load are not remembered: they say only that nobody is connected,
        // which the next load says again.
        self.perform(Step { changes: Vec::new(), effects: step.effects });
        Ok(())
    }
}
