//! The agent's loop: feeds the core, and does on this host what the core wants done.
//!
//! Invariant: one task owns the core; disks and runners are waited for in tasks of their own, which
//! report back as events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_core::{Core, Effect, Event, Found};
use pipelines::id::AttemptId;
use pipelines::name::PartitionName;
use pipelines::order::Order;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::output::Outputs;
use proto::convert;
use proto::v1::{self, agent_message};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::attempt::{self, Attempt, Condition};
use crate::cache::Cache;
use crate::content::Contents;
use crate::executor::docker;
use crate::keeper::{Keeper, Start};
use crate::lease::Acknowledged;
use crate::policy::Policy;
use crate::runner::bury::bury;
use crate::runner::handle::{Begun, Launcher};
use crate::spool::Quota;
use crate::upload::Uploads;
use crate::{clock, spool};

/// Inputs that wait for the loop; senders wait when it is full.
const INBOX: usize = 1024;

/// What this host is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the attempts' directories are.
    pub attempts: PathBuf,
    /// The site's policy file, if it is not the usual one.
    pub policy: Option<PathBuf>,
    /// The partition of this agent.
    pub partition: PartitionName,
    /// Source and artifacts.
    pub contents: Contents,
    /// How runners are started.
    pub launcher: Launcher,
    /// How much output may be kept.
    pub log_quota: Quota,
    /// What jobs find again.
    pub cache: Cache,
    /// From when leases count.
    pub acknowledged: Acknowledged,
    /// The hello without its attempts.
    pub hello: v1::Hello,
}

#[derive(Debug)]
enum Input {
    Event(Event),
    Linked(mpsc::Sender<v1::AgentMessage>),
    Upgraded(v1::UpgradeReport),
}

/// The way to the loop.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Input>);

/// The loop's end of it.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Input>);

/// The way to a loop that is yet to be opened.
pub fn channel() -> (Handle, Inbox) {
    let (sender, inbox) = mpsc::channel(INBOX);
    (Handle(sender), Inbox(inbox))
}

impl Handle {
    /// Reports what happened.
    pub async fn event(&self, event: Event) {
        // The loop is gone only while the agent stops; the directories hold everything.
        drop(self.0.send(Input::Event(event)).await);
    }

    /// An upgrade has ended: said now and by each hello.
    pub async fn upgraded(&self, report: v1::UpgradeReport) {
        drop(self.0.send(Input::Upgraded(report)).await);
    }

    /// A link is up: the hello goes into `outbox`, then everything that changes.
    pub async fn linked(&self, outbox: mpsc::Sender<v1::AgentMessage>) {
        drop(self.0.send(Input::Linked(outbox)).await);
    }
}

/// The loop's state.
pub struct Host {
    core: Core,
    settings: Settings,
    inbox: Inbox,
    me: Handle,
    uploads: Uploads,
    outbox: Option<mpsc::Sender<v1::AgentMessage>>,
    /// Runners that wait for orders which are being written.
    begun: BTreeMap<AttemptId, Begun>,
    /// By which each keeper hears of a cancel.
    cancels: BTreeMap<AttemptId, CancellationToken>,
    tasks: JoinSet<()>,
}

impl Host {
    /// Looks at what the attempts' directories hold, buries dead runners, and takes up the rest.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub async fn open(
        settings: Settings,
        (me, inbox): (Handle, Inbox),
        uploads: Uploads,
    ) -> Result<Host, attempt::Error> {
        let mut found = Vec::new();
        let mut held = Vec::new();
        for attempt in Attempt::all(&settings.attempts)? {
            let state = find(&attempt).await?;
            if let Found::Finished(verdict) = &state {
                uploads.ended(&attempt, &verdict.log).await;
            }
            if let Found::Alive { .. } = state {
                held.push(attempt.clone());
            }
            found.push((attempt.id(), state));
        }
        if !found.is_empty() {
            info!(attempts = found.len(), alive = held.len(), "found attempts");
        }
        let (core, effects) = Core::load(found);
        let mut host = Host {
            core,
            settings,
            inbox,
            me,
            uploads,
            outbox: None,
            begun: BTreeMap::new(),
            cancels: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        host.tasks.spawn(docker::reap_regularly(host.settings.attempts.clone()));
        for attempt in held {
            host.keep(attempt, Start::Attach);
        }
        host.perform(effects);
        Ok(host)
    }

    /// Runs until `stop`; runners are left alone.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = self.tasks.join_next() => {}
                Some(input) = self.inbox.0.recv() => match input {
                    Input::Event(event) => self.event(event),
                    Input::Linked(outbox) => self.linked(outbox),
                    Input::Upgraded(report) => {
                        self.settings.hello.upgrade = Some(report.clone());
                        self.say(agent_message::Kind::Upgrade(report));
                    }
                },
            }
        }
    }

    fn linked(&mut self, outbox: mpsc::Sender<v1::AgentMessage>) {
        let effects = self.core.handle(Event::LinkUp);
        let attempts = self.core.held().iter().map(|(id, it)| convert::state(*id, it)).collect();
        let sent_us = clock::boot_time().0;
        let hello = v1::Hello { attempts, sent_us, ..self.settings.hello.clone() };
        self.outbox = Some(outbox);
        self.say(agent_message::Kind::Hello(hello));
        self.perform(effects);
    }

    fn event(&mut self, event: Event) {
        if event == Event::LinkDown {
            self.outbox = None;
        }
        if let Event::StoreFailed { attempt, .. } = &event {
            self.begun.remove(attempt);
        }
        let event = match event {
            Event::OrderReceived { attempt, order, .. } => {
                let refusal = self.refusal(attempt, &order);
                Event::OrderReceived { attempt, order, refusal }
            }
            event => event,
        };
        let effects = self.core.handle(event);
        self.perform(effects);
    }

    /// What speaks against an order: that it is not for us, or the site's own policy, which is read
    /// anew each time so that a change holds at once.
    fn refusal(&self, attempt: AttemptId, order: &[u8]) -> Option<Outcome> {
        let infra = |reason: String| Some(Outcome::InfraError { reason });
        let order = match Order::from_bytes(order) {
            Ok(order) => order,
            Err(error) => return infra(error.to_string()),
        };
        if order.attempt != attempt || order.partition != self.settings.partition {
            return infra(format!(
                "the order is for attempt {} in {}, and came as {attempt} to an agent of {}",
                order.attempt, order.partition, self.settings.partition
            ));
        }
        match Policy::load(self.settings.policy.as_deref()) {
            Ok(policy) => policy.check(&order).err().map(Outcome::from),
            Err(error) => infra(error.to_string()),
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Store { attempt, order } => self.store(attempt, order),
                Effect::Launch { attempt } => self.launch(attempt),
                Effect::Conclude { attempt, outcome } => self.conclude(attempt, outcome),
                Effect::Cancel { attempt } => {
                    if let Some(cancel) = self.cancels.get(&attempt) {
                        cancel.cancel();
                    }
                }
                Effect::Remove { attempt } => self.remove(attempt),
                Effect::Report { attempt, progress } => {
                    let state = convert::state(attempt, &progress);
                    self.say(agent_message::Kind::State(state));
                }
            }
        }
    }

    fn say(&mut self, kind: agent_message::Kind) {
        let Some(outbox) = &self.outbox else { return };
        if outbox.try_send(v1::AgentMessage { kind: Some(kind) }).is_err() {
            warn!(
                "the coordinator does not take our messages: hanging up, the next hello tells all"
            );
            self.outbox = None;
            self.core.handle(Event::LinkDown);
        }
    }

    fn store(&mut self, id: AttemptId, order: Vec<u8>) {
        // An order that is refused, or cannot be written, drops it; and if it cannot be begun, the
        // keeper tries again and says why.
        if let Ok(begun) = self.settings.launcher.begin(&Attempt::path(&self.settings.attempts, id))
        {
            self.begun.insert(id, begun);
        }
        let (root, me) = (self.settings.attempts.clone(), self.me.clone());
        let base = *self.settings.acknowledged.borrow();
        self.tasks.spawn(async move {
            let created = blocking(move || Attempt::create_leased(&root, id, &order, base)).await;
            let event = match created {
                Ok(_) => Event::OrderStored { attempt: id },
                Err(error) => {
                    error!(attempt = %id, %error, "order could not be stored");
                    Event::StoreFailed { attempt: id, verdict: not_stored(&error) }
                }
            };
            me.event(event).await;
        });
    }

    fn launch(&mut self, id: AttemptId) {
        match self.attempt(id) {
            Ok(attempt) => {
                let begun = self.begun.remove(&id);
                self.keep(attempt, Start::Spawn(begun));
            }
            Err(error) => error!(attempt = %id, %error, "directory is gone"),
        }
    }

    fn keep(&mut self, attempt: Attempt, start: Start) {
        let cancel = self.cancels.entry(attempt.id()).or_default().clone();
        let keeper = Keeper {
            attempt,
            launcher: self.settings.launcher.clone(),
            contents: self.settings.contents.clone(),
            policy: self.settings.policy.clone(),
            log_quota: self.settings.log_quota,
            cache: self.settings.cache.clone(),
            acknowledged: self.settings.acknowledged.clone(),
            cancel,
            host: self.me.clone(),
            uploads: self.uploads.clone(),
        };
        self.tasks.spawn(keeper.run(start));
    }

    fn conclude(&mut self, id: AttemptId, outcome: Outcome) {
        self.begun.remove(&id);
        let attempt = self.attempt(id);
        let (me, uploads) = (self.me.clone(), self.uploads.clone());
        self.tasks.spawn(async move {
            match blocking(move || attempt.and_then(|it| Ok((it.conclude(outcome)?, it)))).await {
                Ok((verdict, attempt)) => {
                    uploads.ended(&attempt, &verdict.log).await;
                    me.event(Event::Concluded { attempt: id, verdict }).await;
                }
                Err(error) => error!(attempt = %id, %error, "verdict could not be written"),
            }
        });
    }

    fn remove(&mut self, id: AttemptId) {
        self.cancels.remove(&id);
        let (attempt, uploads) = (self.attempt(id), self.uploads.clone());
        self.tasks.spawn(async move {
            uploads.gone(id).await;
            if let Err(error) = blocking(move || attempt.and_then(Attempt::remove)).await {
                error!(attempt = %id, %error, "directory could not be removed");
            }
        });
    }

    fn attempt(&self, id: AttemptId) -> Result<Attempt, attempt::Error> {
        Attempt::open(&self.settings.attempts.join(id.to_string()))
    }
}

/// How an attempt stands at the agent's start.
async fn find(attempt: &Attempt) -> Result<Found, attempt::Error> {
    Ok(match attempt.condition()? {
        Condition::Unstarted => Found::Accepted,
        Condition::Held => {
            let started = attempt.state()?.started;
            Found::Alive { started_us: started.map(|started| started.at_us) }
        }
        // Its keeper sends what the job left before anybody hears of the verdict.
        Condition::Finished(verdict) if is_unsent(attempt, &verdict) => {
            Found::Alive { started_us: verdict.started_us }
        }
        Condition::Finished(verdict) => Found::Finished(verdict),
        Condition::Dead => match bury(attempt).await {
            Ok(verdict) => Found::Finished(Box::new(verdict)),
            Err(error) => {
                error!(attempt = %attempt.id(), %error, "dead runner could not be buried");
                Found::Alive { started_us: None }
            }
        },
    })
}

fn is_unsent(attempt: &Attempt, verdict: &Verdict) -> bool {
    !verdict.artifacts.is_empty() && attempt.artifacts().exists()
}

fn not_stored(error: &attempt::Error) -> Verdict {
    Verdict {
        outcome: Outcome::InfraError {
            reason: format!("nothing was started: {error}; see the disk of the agent's state"),
        },
        started_us: None,
        finished_us: clock::wall_us(),
        log: spool::no_output(),
        artifacts: Vec::new(),
        outputs: Outputs::new(),
        recap: None,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Where the attempts' directories are, under a state directory.
pub fn attempts(state: &Path) -> PathBuf {
    state.join("attempts")
}
