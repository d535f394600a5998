//! What can be asked of the view.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use coordinator_core::agent::{Agent, AgentKey};
use coordinator_core::attempt::Attempt;
use coordinator_core::audit::Audit;
use coordinator_core::change::{Change, Snapshot, Stored};
use coordinator_core::event::Wall;
use coordinator_core::job::Job;
use coordinator_core::lock::Lock;
use coordinator_core::run::Run;
use coordinator_core::schedule::Scheduled;
use coordinator_core::secret::{Secret, SecretKey};
use coordinator_core::subscriber::Subscriber;
use coordinator_core::token::{ApiToken, JoinToken, TokenHash};
use coordinator_core::trigger::{Trigger, TriggerId};
use pipelines::id::{AttemptId, JobId, RunId};
use pipelines::name::{PartitionName, PipelineName, TokenName};
use pipelines::plan::Plan;

use super::keys::{self, Table};
use super::{Error, View};

/// How long a trigger's key is recognised at least, in µs: 7 days.
const KEYS_KEPT_US: u64 = 7 * 24 * 3600 * 1_000_000;

/// Most runs that one page looks at; a rare filter continues with the next page.
const LOOKED_AT: usize = 10_000;

/// Runs from the newest to the oldest.
type Descending = Box<dyn Iterator<Item = Result<RunId, Error>>>;

/// Which runs are wanted; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only runs with a job in one of these. A run that did not compile has none anywhere.
    pub partitions: Option<BTreeSet<PartitionName>>,
    /// Only runs of this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only runs of which [`Run::status`] says this.
    pub status: Option<String>,
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The runs; can be fewer than asked for although more follow.
    pub runs: Vec<Run>,
    /// Pass it as `before` for the runs that follow; none at the end.
    pub next: Option<RunId>,
}

impl View {
    /// A run.
    pub fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        self.one(&keys::run(id), as_run)
    }

    /// Runs by number, newest first: at most `limit`, all below `before`.
    pub fn runs(
        &self,
        filter: &Filter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut page = Page { runs: Vec::new(), next: None };
        let mut candidates = self.candidates(filter, before.unwrap_or(RunId(u64::MAX)));
        for looked_at in 0.. {
            let Some(id) = candidates.next().transpose()? else { return Ok(page) };
            if page.runs.len() == limit || looked_at == LOOKED_AT {
                page.next = Some(RunId(id.0 + 1));
                return Ok(page);
            }
            page.runs.extend(self.run(id)?.filter(|run| filter.takes(run)));
        }
        Ok(page)
    }

    /// Runs that are not final, by number.
    pub fn active(&self) -> Result<Vec<RunId>, Error> {
        let keys = self.db.scan_prefix([Table::RunActive as u8]).keys();
        keys.map(|key| run_number(&key?)).collect()
    }

    /// A run's plan; none if there is no such run or it did not compile.
    pub fn plan(&self, run: RunId) -> Result<Option<Arc<Plan>>, Error> {
        let bytes = self.plan_bytes(run)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        record(&bytes, as_plan).map(Some)
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.one(&keys::job(id), as_job)
    }

    /// A run's jobs, by index.
    pub fn jobs(&self, run: RunId) -> Result<Vec<Job>, Error> {
        self.all(&keys::jobs(run), as_job)
    }

    /// An attempt.
    pub fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, Error> {
        self.one(&keys::attempt(id), as_attempt)
    }

    /// A job's attempts, by number.
    pub fn attempts(&self, job: JobId) -> Result<Vec<Attempt>, Error> {
        self.all(&keys::job_attempts(job), as_attempt)
    }

    /// The attempts of all jobs of a run, by id.
    pub fn run_attempts(&self, run: RunId) -> Result<Vec<Attempt>, Error> {
        self.all(&keys::run_attempts(run), as_attempt)
    }

    /// The open attempts of all runs, by id.
    pub fn open_attempts(&self) -> Result<Vec<Attempt>, Error> {
        let mut open = Vec::new();
        for run in self.active()? {
            open.extend(self.run_attempts(run)?.into_iter().filter(Attempt::is_open));
        }
        Ok(open)
    }

    /// All that is stored of a run, for a retry; none if there is no such run or it did not
    /// compile, so that there is nothing to retry.
    pub fn stored(&self, run: RunId) -> Result<Option<Stored>, Error> {
        let (Some(record), Some(plan)) = (self.run(run)?, self.plan(run)?) else {
            return Ok(None);
        };
        let mut attempts = self.run_attempts(run)?;
        attempts.retain(Attempt::is_open);
        Ok(Some(Stored { run: record, plan, jobs: self.jobs(run)?, attempts }))
    }

    /// A trigger.
    pub fn trigger(&self, id: TriggerId) -> Result<Option<Trigger>, Error> {
        self.one(&keys::trigger(id), as_trigger)
    }

    /// The trigger with that key, however old.
    pub fn trigger_by_key(&self, key: &str) -> Result<Option<Trigger>, Error> {
        match self.db.get(keys::trigger_key(key))? {
            Some(id) => self.trigger(trigger_number(&id)?),
            None => Ok(None),
        }
    }

    /// An agent.
    pub fn agent(&self, key: &AgentKey) -> Result<Option<Agent>, Error> {
        self.one(&keys::agent(key), as_agent)
    }

    /// All agents, by partition and name.
    pub fn agents(&self) -> Result<Vec<Agent>, Error> {
        self.all(&[Table::Agent as u8], as_agent)
    }

    /// An API token.
    pub fn api_token(&self, name: &TokenName) -> Result<Option<ApiToken>, Error> {
        self.one(&keys::api_token(name), as_api_token)
    }

    /// All API tokens, by name.
    pub fn api_tokens(&self) -> Result<Vec<ApiToken>, Error> {
        self.all(&[Table::ApiToken as u8], as_api_token)
    }

    /// A join token.
    pub fn join_token(&self, hash: &TokenHash) -> Result<Option<JoinToken>, Error> {
        self.one(&keys::join_token(hash), as_join_token)
    }

    /// All join tokens, by hash.
    pub fn join_tokens(&self) -> Result<Vec<JoinToken>, Error> {
        self.all(&[Table::JoinToken as u8], as_join_token)
    }

    /// Locks that somebody holds, by partition and name.
    pub fn locks(&self) -> Result<Vec<Lock>, Error> {
        let mut locks = self.all(&[Table::Lock as u8], as_lock)?;
        // Views of older versions hold those that are free, too.
        locks.retain(|lock| lock.holder.is_some());
        Ok(locks)
    }

    /// Operators' words, the latest first, `limit` at most.
    pub fn audit(&self, limit: usize) -> Result<Vec<Audit>, Error> {
        let words = self.db.scan_prefix([Table::Audit as u8]).values().rev();
        words.take(limit).map(|value| record(&value?, as_audit)).collect()
    }

    /// A secret, sealed; also one that was deleted.
    pub fn secret(&self, key: &SecretKey) -> Result<Option<Secret>, Error> {
        self.one(&keys::secret(key), as_secret)
    }

    /// All secrets, sealed, by name and scope; deleted ones too.
    pub fn secrets(&self) -> Result<Vec<Secret>, Error> {
        self.all(&[Table::Secret as u8], as_secret)
    }

    /// Schedules that are due some time, by repository and file.
    pub fn schedules(&self) -> Result<Vec<Scheduled>, Error> {
        let mut schedules = self.all(&[Table::Schedule as u8], as_schedule)?;
        schedules.retain(|scheduled| scheduled.next.is_some());
        Ok(schedules)
    }

    /// Pipelines that want events, by repository and file.
    pub fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        let mut subscribers = self.all(&[Table::Subscriber as u8], as_subscriber)?;
        subscribers.retain(|it| !it.subscriptions.is_empty());
        Ok(subscribers)
    }

    /// What the core starts from at `now`.
    pub fn snapshot(&self, now: Wall) -> Result<Snapshot, Error> {
        let mut runs = Vec::new();
        for run in self.active()? {
            let stored = self.stored(run)?;
            runs.push(stored.ok_or_else(|| Error::Damaged(format!("run {run} lacks its plan")))?);
        }
        Ok(Snapshot {
            last_run: self.last(Table::Run)?,
            last_trigger: self.last(Table::Trigger)?,
            triggers: self.live_triggers(now)?,
            runs,
            agents: self.agents()?,
            api_tokens: self.api_tokens()?,
            join_tokens: self.join_tokens()?,
            locks: self.locks()?,
            secrets: self.secrets()?,
            schedules: self.schedules()?,
            subscribers: self.subscribers()?,
            last_audit: self.last(Table::Audit)?,
        })
    }

    /// Numbers of runs below `before` that may pass the filter, descending.
    fn candidates(&self, filter: &Filter, before: RunId) -> Descending {
        match (&filter.partitions, filter.status.as_deref()) {
            (Some(partitions), _) => {
                let row = |name| {
                    let range = keys::partition(name)..keys::run_partition(name, before);
                    self.descending(range).peekable()
                };
                Box::new(merged(partitions.iter().map(row).collect()))
            }
            (None, Some("waiting" | "active" | "cancelling")) => {
                self.descending(vec![Table::RunActive as u8]..keys::run_active(before))
            }
            (None, _) => self.descending(vec![Table::Run as u8]..keys::run(before)),
        }
    }

    fn descending(&self, range: Range<Vec<u8>>) -> Descending {
        Box::new(self.db.range(range).keys().rev().map(|key| run_number(&key?)))
    }

    /// Triggers that are pending or young, by number.
    fn live_triggers(&self, now: Wall) -> Result<Vec<Trigger>, Error> {
        let young = keys::trigger_time(Wall(now.0.saturating_sub(KEYS_KEPT_US)), TriggerId(0));
        let end = [Table::TriggerTime as u8 + 1];
        let mut ids = BTreeSet::new();
        for key in self.db.range(&young[..]..&end[..]).keys() {
            ids.insert(trigger_number(&key?)?);
        }
        for key in self.db.scan_prefix([Table::TriggerPending as u8]).keys() {
            ids.insert(trigger_number(&key?)?);
        }
        let mut triggers = Vec::with_capacity(ids.len());
        for id in ids {
            let missing = || Error::Damaged(format!("trigger {} is missing", id.0));
            triggers.push(self.trigger(id)?.ok_or_else(missing)?);
        }
        Ok(triggers)
    }

    /// The highest number in a table whose keys are numbers; 0 if it is empty.
    fn last(&self, table: Table) -> Result<u64, Error> {
        match self.db.scan_prefix([table as u8]).keys().next_back().transpose()? {
            Some(key) => number(&key),
            None => Ok(0),
        }
    }

    fn one<T>(&self, key: &[u8], pick: fn(Change) -> Option<T>) -> Result<Option<T>, Error> {
        self.db.get(key)?.map(|value| record(&value, pick)).transpose()
    }

    fn all<T>(&self, prefix: &[u8], pick: fn(Change) -> Option<T>) -> Result<Vec<T>, Error> {
        let values = self.db.scan_prefix(prefix).values();
        values.map(|value| record(&value?, pick)).collect()
    }
}

impl Filter {
    /// Whether a run passes all but the partitions.
    fn takes(&self, run: &Run) -> bool {
        self.pipeline.as_ref().is_none_or(|pipeline| *pipeline == run.pipeline)
            && self.status.as_ref().is_none_or(|status| status == run.status())
    }
}

/// Merges descending runs into one descending row, each run once.
fn merged<I>(mut rows: Vec<Peekable<I>>) -> impl Iterator<Item = Result<RunId, Error>>
where
    I: Iterator<Item = Result<RunId, Error>>,
{
    std::iter::from_fn(move || {
        if let Some(failed) = rows.iter_mut().position(|row| matches!(row.peek(), Some(Err(_)))) {
            return rows[failed].next();
        }
        let heads = rows.iter_mut().filter_map(|row| row.peek()?.as_ref().ok().copied());
        let highest = heads.max()?;
        for row in &mut rows {
            row.next_if(|head| head.as_ref().is_ok_and(|run| *run == highest));
        }
        Some(Ok(highest))
    })
}

fn record<T>(value: &[u8], pick: fn(Change) -> Option<T>) -> Result<T, Error> {
    pick(decode(value)?).ok_or_else(|| Error::Damaged("a record is of another kind".to_owned()))
}

fn decode(value: &[u8]) -> Result<Change, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Damaged(format!("a record is {error}")))
}

fn number(key: &[u8]) -> Result<u64, Error> {
    keys::number(key).ok_or_else(|| Error::Damaged("a key lacks its number".to_owned()))
}

fn run_number(key: &[u8]) -> Result<RunId, Error> {
    number(key).map(RunId)
}

fn trigger_number(key: &[u8]) -> Result<TriggerId, Error> {
    number(key).map(TriggerId)
}

fn as_plan(change: Change) -> Option<Arc<Plan>> {
    if let Change::Plan(_, plan) = change { Some(plan) } else { None }
}

macro_rules! pick {
    ($($name:ident: $kind:ident -> $record:ty;)*) => {$(
        fn $name(change: Change) -> Option<$record> {
            if let Change::$kind(record) = change { Some(record) } else { None }
        }
    )*};
}
pick! {
    as_run: Run -> Run;
    as_job: Job -> Job;
    as_attempt: Attempt -> Attempt;
    as_trigger: Trigger -> Trigger;
    as_agent: Agent -> Agent;
    as_api_token: ApiToken -> ApiToken;
    as_join_token: JoinToken -> JoinToken;
    as_lock: Lock -> Lock;
    as_audit: Audit -> Audit;
    as_secret: Secret -> Secret;
    as_schedule: Schedule -> Scheduled;
    as_subscriber: Subscriber -> Subscriber;
}
