//! What happens to the core, and what it wants done.

use std::sync::Arc;

use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::{PipelineName, RepositoryName, TokenName};
use pipelines::order::Order;
use pipelines::outcome::Progress;
use pipelines::plan::Plan;
use pipelines::schedule::Found;
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Grant};
use crate::agent::{About, AgentKey, SessionId};
use crate::change::{Change, Stored};
use crate::deadline::Steady;
use crate::lock::{Holder, LockKey};
use crate::secret::{Sealed, SecretKey};
use crate::token::TokenHash;
use crate::trigger::{Cause, TriggerId};
use crate::upgrade;

/// A moment by the coordinator's wall clock: µs since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// A question that waits for its answer; numbered by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Time passed. The first event of each batch, so that a decision can be repeated.
    Tick {
        /// The present moment.
        at: Steady,
    },
    /// The core was loaded again by the same process, because something could not be made durable;
    /// said at the head of the next batch, so that decisions can be repeated.
    Reloaded {
        /// When; agents count as away since then.
        #[serde(default)]
        at: Wall,
    },
    /// Somebody asked for something and waits for the answer.
    Asked {
        /// To whom the answer goes.
        request: RequestId,
        /// Who asked.
        actor: Actor,
        /// For what.
        ask: Ask,
    },
    /// A trigger's source was fetched and its pipelines compiled, or could not be.
    Resolved {
        /// The trigger.
        trigger: TriggerId,
        /// A run for each pipeline that asked for it, or why there can be none.
        resolution: Result<Vec<Resolution>, String>,
    },
    /// A repository's default branch was looked at.
    SchedulesFound {
        /// The repository.
        repository: RepositoryName,
        /// The branch, in full.
        reference: String,
        /// Its commit, in hex.
        commit: String,
        /// Its pipelines that have schedules, or want events.
        pipelines: Vec<Found>,
    },
    /// An agent said hello.
    AgentConnected {
        /// Who, by its certificate.
        agent: AgentKey,
        /// SHA-256 (hex) of the public key in its certificate.
        fingerprint: String,
        /// The new session.
        session: SessionId,
        /// What it says of itself.
        about: About,
        /// Every attempt that it holds.
        attempts: Vec<(AttemptId, Progress)>,
    },
    /// An agent reported on an attempt.
    AttemptReported {
        /// Who.
        agent: AgentKey,
        /// By which session.
        session: SessionId,
        /// Which attempt.
        attempt: AttemptId,
        /// How far it is.
        progress: Progress,
    },
    /// An agent said how an upgrade went.
    UpgradeReported {
        /// Who.
        agent: AgentKey,
        /// By which session.
        session: SessionId,
        /// Which, and how.
        report: upgrade::Report,
    },
    /// An agent's session ended.
    AgentDisconnected {
        /// Who.
        agent: AgentKey,
        /// Which session.
        session: SessionId,
    },
}

/// What somebody can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// Runs.
    Trigger {
        /// See [`crate::trigger::Trigger::key`].
        key: String,
        /// The repository.
        repository: RepositoryName,
        /// Full git reference.
        reference: String,
        /// What happened.
        cause: Cause,
    },
    /// That it is written down why an event started nothing.
    RefuseEvent {
        /// Why.
        reason: String,
    },
    /// The end of a run.
    Cancel {
        /// Which one.
        run: RunId,
    },
    /// Another attempt of each job of a finished run that did not succeed.
    Retry {
        /// The run as it is stored; a finished run is not in the core.
        stored: Box<Stored>,
    },
    /// That the jobs of a run may begin outside of its windows: somebody's word.
    OverrideWindow {
        /// Which run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// That a gate lets its jobs through, as far as it is up to this person.
    Approve {
        /// Which gate.
        job: JobId,
        /// In words, if there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// That a gate does not let its jobs through.
    Reject {
        /// Which gate.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// That what a gate asks for was done by hand: somebody's word.
    Acknowledge {
        /// Which gate.
        job: JobId,
        /// What was done; the gate's own text.
        text: String,
    },
    /// A token for the API.
    CreateApiToken {
        /// Its name.
        name: TokenName,
        /// Its hash.
        hash: TokenHash,
        /// What it may do.
        grant: Grant,
        /// From when on it is refused.
        expires: Wall,
    },
    /// That a token is refused from now on.
    RevokeApiToken {
        /// Which one.
        name: TokenName,
    },
    /// A token for joining.
    CreateJoinToken {
        /// Its hash.
        hash: TokenHash,
        /// Whom it admits.
        agent: AgentKey,
        /// From when on it is refused.
        expires: Wall,
    },
    /// A certificate, with a join token.
    Enrol {
        /// The token's hash.
        hash: TokenHash,
        /// SHA-256 (hex) of the agent's public key.
        fingerprint: String,
    },
    /// That an agent gets no new attempts, or gets them again.
    Cordon {
        /// Which one.
        agent: AgentKey,
        /// Whether it gets none.
        on: bool,
    },
    /// That what an agent has is waited for no more: an operator's word that it does not run.
    DeclareLost {
        /// Which agent; it must be away.
        agent: AgentKey,
    },
    /// That a lock is free: an operator's word that nothing works under it any more.
    BreakLock {
        /// Which one.
        lock: LockKey,
        /// Who is meant to hold it, so that nobody else's is broken.
        holder: Holder,
    },
    /// That an agent runs another program from now on; its attempts are not touched.
    Upgrade {
        /// Which one.
        agent: AgentKey,
        /// SHA-256 (hex) of the program.
        program: String,
    },
    /// That a secret has this value from now on.
    SetSecret {
        /// Which one.
        key: SecretKey,
        /// As which version it was sealed; it must be the next.
        version: u64,
        /// The value.
        sealed: Sealed,
    },
    /// That a secret is forgotten.
    DeleteSecret {
        /// Which one.
        key: SecretKey,
    },
    /// That an agent is cut off from now on.
    RevokeAgent {
        /// Which one.
        agent: AgentKey,
    },
}

/// One pipeline that a trigger applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The commit in hex.
    pub commit: String,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its file.
    pub file: String,
    /// The source bundle's SHA-256, in hex.
    pub source: Option<String>,
    /// Its plan, or what is wrong with it as it is shown to people.
    pub plan: Result<Arc<Plan>, String>,
}

/// What the answer to an [`Ask`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The trigger is durable; `new` is false if its key was known.
    Triggered {
        /// The trigger.
        trigger: TriggerId,
        /// Whether it was taken just now.
        new: bool,
    },
    /// It is done, or on its way and durable.
    Done,
    /// The agent may have a certificate.
    Enrolled(AgentKey),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// The actor's role or partitions do not cover it.
    #[error("{0}")]
    Forbidden(String),
    /// It does not go with the present state.
    #[error("{0}")]
    Conflict(String),
    /// A token that is unknown, expired or used.
    #[error("{0}")]
    Unauthenticated(String),
}

/// What is to be done once the changes are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a question.
    Answer {
        /// Whose.
        request: RequestId,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// Fetch and compile, then report [`Event::Resolved`].
    Resolve(Box<crate::trigger::Trigger>),
    /// Tell an agent something.
    Send {
        /// By this session; if it is gone, its successor's hello gives the same again.
        session: SessionId,
        /// What.
        message: ToAgent,
    },
    /// Tell whoever runs the coordinator of something that needs a look.
    Warn(String),
    /// Tell whoever runs the coordinator of a fault in it.
    Complain(String),
    /// End a session.
    Close {
        /// Which one.
        session: SessionId,
        /// Told to the agent.
        reason: String,
    },
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    /// The hello was taken.
    Welcome,
    /// Carry this out.
    Order(Box<Order>),
    /// End this attempt.
    Cancel(AttemptId),
    /// The verdict is durable here.
    Acknowledge(AttemptId),
    /// Of no use any more: end it and drop what is left.
    Forget(AttemptId),
    /// Run another program, unless its end was reported already.
    Upgrade {
        /// See [`upgrade::Upgrade::number`].
        number: u64,
        /// SHA-256 (hex).
        program: String,
    },
}

/// What comes of events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Step {
    /// To be made durable, in this order.
    pub changes: Vec<Change>,
    /// To be done afterwards, in this order.
    pub effects: Vec<Effect>,
}
