//! Keys of the view: a table's byte, then what orders it. Numbers are big endian, so that they
//! sort as numbers.

use coordinator_core::agent::AgentKey;
use coordinator_core::event::Wall;
use coordinator_core::lock::LockKey;
use coordinator_core::schedule::ScheduleKey;
use coordinator_core::secret::{Scope, SecretKey};
use coordinator_core::subscriber::SubscriberKey;
use coordinator_core::token::TokenHash;
use coordinator_core::trigger::TriggerId;
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::{PartitionName, TokenName};

/// A kind of entry. The numbers rest on the disk: a changed one needs a new form of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    /// About the view itself.
    Meta = 0,
    Trigger = 1,
    /// A trigger's key → its number.
    TriggerKey = 2,
    /// When a trigger was taken, and its number.
    TriggerTime = 3,
    TriggerPending = 4,
    Run = 5,
    RunActive = 6,
    /// A partition in which a run has jobs, and the run.
    RunPartition = 7,
    /// A plan's pieces.
    Plan = 8,
    Job = 9,
    Attempt = 10,
    Agent = 11,
    ApiToken = 12,
    JoinToken = 13,
    Lock = 14,
    Audit = 15,
    Secret = 16,
    Schedule = 17,
    /// A job that deploys → the place that it deploys to.
    Deploys = 18,
    /// A place, when an attempt to deploy there ended, and the attempt → whether it succeeded.
    Deployment = 19,
    /// A place → the latest deployment there that succeeded.
    Deployed = 20,
    /// A pipeline that wants events.
    Subscriber = 21,
}

impl Table {
    /// The tables that hold records; all others are found from them.
    pub(super) const RECORDS: [Table; 13] = [
        Table::Trigger,
        Table::Run,
        Table::Plan,
        Table::Job,
        Table::Attempt,
        Table::Agent,
        Table::ApiToken,
        Table::JoinToken,
        Table::Lock,
        Table::Audit,
        Table::Secret,
        Table::Schedule,
        Table::Subscriber,
    ];
}

/// A table's byte and these parts.
fn key(table: Table, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table as u8);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(super) fn form() -> Vec<u8> {
    key(Table::Meta, &[b"form"])
}

pub(super) fn applied() -> Vec<u8> {
    key(Table::Meta, &[b"applied"])
}

pub(super) fn begun() -> Vec<u8> {
    key(Table::Meta, &[b"begun"])
}

pub(super) fn trigger(id: TriggerId) -> Vec<u8> {
    key(Table::Trigger, &[&id.0.to_be_bytes()])
}

pub(super) fn trigger_key(text: &str) -> Vec<u8> {
    key(Table::TriggerKey, &[text.as_bytes()])
}

pub(super) fn trigger_time(at: Wall, id: TriggerId) -> Vec<u8> {
    key(Table::TriggerTime, &[&at.0.to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn trigger_pending(id: TriggerId) -> Vec<u8> {
    key(Table::TriggerPending, &[&id.0.to_be_bytes()])
}

pub(super) fn run(id: RunId) -> Vec<u8> {
    key(Table::Run, &[&id.0.to_be_bytes()])
}

pub(super) fn run_active(id: RunId) -> Vec<u8> {
    key(Table::RunActive, &[&id.0.to_be_bytes()])
}

/// The part of [`run_partition`] that all runs of a partition share. No name holds a zero byte.
pub(super) fn partition(partition: &PartitionName) -> Vec<u8> {
    key(Table::RunPartition, &[partition.as_str().as_bytes(), &[0]])
}

pub(super) fn run_partition(name: &PartitionName, run: RunId) -> Vec<u8> {
    let mut key = partition(name);
    key.extend_from_slice(&run.0.to_be_bytes());
    key
}

pub(super) fn plan(run: RunId) -> Vec<u8> {
    key(Table::Plan, &[&run.0.to_be_bytes()])
}

pub(super) fn plan_piece(run: RunId, piece: u32) -> Vec<u8> {
    key(Table::Plan, &[&run.0.to_be_bytes(), &piece.to_be_bytes()])
}

/// The run whose plan begins with the piece of this key; none for the pieces after the first.
pub(super) fn plan_begun(key: &[u8]) -> Option<RunId> {
    number(key.strip_suffix(&0u32.to_be_bytes())?).map(RunId)
}

pub(super) fn jobs(run: RunId) -> Vec<u8> {
    key(Table::Job, &[&run.0.to_be_bytes()])
}

pub(super) fn job(id: JobId) -> Vec<u8> {
    key(Table::Job, &[&id.run.0.to_be_bytes(), &id.index.to_be_bytes()])
}

/// The part of [`attempt`] that all attempts of a run share.
pub(super) fn run_attempts(run: RunId) -> Vec<u8> {
    key(Table::Attempt, &[&run.0.to_be_bytes()])
}

/// The part of [`attempt`] that all attempts of a job share.
pub(super) fn job_attempts(id: JobId) -> Vec<u8> {
    key(Table::Attempt, &[&id.run.0.to_be_bytes(), &id.index.to_be_bytes()])
}

pub(super) fn attempt(id: AttemptId) -> Vec<u8> {
    let mut key = job_attempts(id.job);
    key.extend_from_slice(&id.number.to_be_bytes());
    key
}

pub(super) fn agent(agent: &AgentKey) -> Vec<u8> {
    let AgentKey { partition, name } = agent;
    key(Table::Agent, &[partition.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

pub(super) fn api_token(name: &TokenName) -> Vec<u8> {
    key(Table::ApiToken, &[name.as_str().as_bytes()])
}

pub(super) fn join_token(hash: &TokenHash) -> Vec<u8> {
    key(Table::JoinToken, &[hash.0.as_bytes()])
}

pub(super) fn lock(lock: &LockKey) -> Vec<u8> {
    let LockKey { partition, name } = lock;
    key(Table::Lock, &[partition.as_str().as_bytes(), &[0], name.to_string().as_bytes()])
}

pub(super) fn audit(number: u64) -> Vec<u8> {
    key(Table::Audit, &[&number.to_be_bytes()])
}

/// Sorted by name, then from everywhere to the narrowest scope.
pub(super) fn secret(secret: &SecretKey) -> Vec<u8> {
    let (kind, one, other) = match &secret.scope {
        Scope::Everywhere => (0, "", ""),
        Scope::Repository { repository } => (1, repository.as_str(), ""),
        Scope::Partition { partition } => (2, partition.as_str(), ""),
        Scope::Device { partition, device } => (3, partition.as_str(), device.as_str()),
    };
    let name = secret.name.as_str().as_bytes();
    key(Table::Secret, &[name, &[0, kind], one.as_bytes(), &[0], other.as_bytes()])
}

/// Sorted by repository and file.
pub(super) fn schedule(schedule: &ScheduleKey) -> Vec<u8> {
    let ScheduleKey { repository, file, schedule } = schedule;
    let text = serde_json::to_vec(schedule).expect("a schedule has only string keys");
    key(Table::Schedule, &[repository.as_str().as_bytes(), &[0], file.as_bytes(), &[0], &text])
}

/// Sorted by repository and file.
pub(super) fn subscriber(subscriber: &SubscriberKey) -> Vec<u8> {
    let SubscriberKey { repository, file } = subscriber;
    key(Table::Subscriber, &[repository.as_str().as_bytes(), &[0], file.as_bytes()])
}

/// An environment of a partition, as it stands in other keys. No name holds a zero byte.
pub(super) fn place(partition: &PartitionName, environment: &str) -> Vec<u8> {
    [partition.as_str().as_bytes(), &[0], environment.as_bytes(), &[0]].concat()
}

pub(super) fn deploys(job: JobId) -> Vec<u8> {
    key(Table::Deploys, &[&job.run.0.to_be_bytes(), &job.index.to_be_bytes()])
}

/// The part of [`deployment`] that all deployments to a place share.
pub(super) fn deployments(place: &[u8]) -> Vec<u8> {
    key(Table::Deployment, &[place])
}

/// `ended` is of [`ended`].
pub(super) fn deployment(place: &[u8], ended: &[u8]) -> Vec<u8> {
    key(Table::Deployment, &[place, ended])
}

pub(super) fn deployed(place: &[u8]) -> Vec<u8> {
    key(Table::Deployed, &[place])
}

/// When an attempt ended, and which.
pub(super) fn ended(at: Wall, attempt: AttemptId) -> Vec<u8> {
    let AttemptId { job, number } = attempt;
    let (index, number) = (job.index.to_be_bytes(), number.to_be_bytes());
    [&at.0.to_be_bytes()[..], &job.run.0.to_be_bytes(), &index, &number].concat()
}

/// What [`ended`] put at the end of these bytes.
pub(super) fn read_ended(bytes: &[u8]) -> Option<(Wall, AttemptId)> {
    let bytes = bytes.last_chunk::<24>()?;
    let (at, bytes) = bytes.split_first_chunk::<8>()?;
    let (run, bytes) = bytes.split_first_chunk::<8>()?;
    let (index, number) = bytes.split_first_chunk::<4>()?;
    let job = RunId(u64::from_be_bytes(*run)).job(u32::from_be_bytes(*index));
    let number = u32::from_be_bytes(number.try_into().ok()?);
    Some((Wall(u64::from_be_bytes(*at)), job.attempt(number)))
}

/// The partition and the environment in the key of a place's latest deployment.
pub(super) fn read_deployed(key: &[u8]) -> Option<(PartitionName, String)> {
    let place = std::str::from_utf8(key.get(1..)?.strip_suffix(&[0])?).ok()?;
    let (partition, environment) = place.split_once('\0')?;
    Some((partition.parse().ok()?, environment.to_owned()))
}

/// The number at the end of a key or as a value.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}
