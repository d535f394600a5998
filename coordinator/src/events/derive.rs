//! Which events a batch of changes is.
//!
//! A change is a whole record without the one before it. So what happened is told from the record
//! itself, from its batch, and from what never changes once it is written: the plan and the origin
//! of a run. The same batch gives the same events whenever it is read.
//!
//! Most changes are one event. What follows from one besides, such as a deployment from an attempt,
//! stands behind all of its batch, so that each event has a place of its own.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use coordinator_core::agent::{self, Link};
use coordinator_core::attempt;
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::gate;
use coordinator_core::job;
use coordinator_core::lock;
use coordinator_core::run;
use coordinator_core::upgrade::State::{Asked, Done, Failed};
use pipelines::id::{JobId, RunId};
use pipelines::outcome::Outcome;
use pipelines::plan::{self, Plan};
use pipelines::title::Title;
use quick_cache::unsync::Cache;

use super::envelope::{
    Agent, Attempt, Belongs, Data, Envelope, Environment, Job, Lock, Recap, Run,
};
use super::place::Position;
use crate::store::journal::Changed;
use crate::store::view::{self, View};

/// Runs whose plan is kept at hand.
const RUNS: usize = 64;

/// Longest text of a detail, in bytes; an agent's words may be of any length.
const DETAIL: usize = 1000;

/// Stands in a subject for the partition of what is in several, or in none.
const NO_PARTITION: &str = "_";

/// An event, ready to be published.
#[derive(Debug)]
pub(super) struct Event {
    /// Where in the journal it stands.
    pub(super) position: Position,
    /// The same whenever it is published again.
    pub(super) id: String,
    /// Such as `garrison.fra-equ01.job.finished`.
    pub(super) subject: String,
    /// The envelope.
    pub(super) payload: Vec<u8>,
}

/// Derives events.
pub(super) struct Deriver {
    view: View,
    /// The coordinator, as events name it.
    source: String,
    runs: Cache<RunId, Arc<Origin>>,
}

/// What never changes of a run.
struct Origin {
    belongs: Belongs,
    plan: Option<Arc<Plan>>,
}

impl Deriver {
    pub(super) fn new(view: View, trust_domain: &str) -> Deriver {
        let source = super::source(trust_domain);
        Deriver { view, source, runs: Cache::new(RUNS) }
    }

    /// The coordinator, as events name it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The events of a batch, in order.
    ///
    /// # Errors
    /// If the view, which is never behind the journal, cannot be read.
    pub(super) fn events(&mut self, batch: &Changed) -> Result<Vec<Event>, view::Error> {
        let mut events = Vec::new();
        let mut retried = BTreeSet::new();
        let mut besides = Vec::new();
        for (index, change) in (0..).zip(&batch.changes) {
            let before = batch.changes[..index as usize].last();
            let after = &batch.changes[index as usize + 1..];
            let told = match change {
                Change::Run(run) => match run_topic(run, after, batch.now) {
                    Some(topic) => {
                        if topic == "run.retried" {
                            retried.insert(run.id);
                        }
                        Some((topic, Data::Run(self.run(run)?)))
                    }
                    None => None,
                },
                // A retry writes all jobs of its run anew; to those that succeeded nothing happened.
                Change::Job(job) if job.state.is_success() && retried.contains(&job.id.run) => None,
                // To the jobs of a pull request nothing happens at all.
                Change::Job(job) if job.state == job::State::Planned => None,
                Change::Job(job) => Some((job_topic(job), Data::Job(Box::new(self.job(job)?)))),
                Change::Attempt(attempt) => {
                    besides.extend(self.environment(attempt)?);
                    Some((attempt_topic(attempt), Data::Attempt(self.attempt(attempt)?)))
                }
                Change::Agent(agent) => {
                    let topic = agent_topic(agent, before, batch.now);
                    Some((topic, Data::Agent(about(agent))))
                }
                Change::Lock(lock) => Some((lock_topic(lock), Data::Lock(Lock::from(lock)))),
                Change::Trigger(_)
                | Change::Plan(..)
                | Change::ApiToken(_)
                | Change::JoinToken(_)
                | Change::Secret(_)
                | Change::Schedule(_)
                | Change::Subscriber(_)
                | Change::Audit(_) => None,
            };
            if let Some((topic, data)) = told {
                let position = Position { seq: batch.seq, index };
                events.push(self.event(position, batch.now, topic, &data));
            }
        }
        let behind = u32::try_from(batch.changes.len()).unwrap_or(u32::MAX);
        for (index, told) in (behind..).zip(besides) {
            let topic = match told.status {
                "succeeded" => "environment.deployed",
                _ => "environment.failed",
            };
            let position = Position { seq: batch.seq, index };
            events.push(self.event(position, batch.now, topic, &Data::Environment(told)));
        }
        Ok(events)
    }

    fn event(&self, position: Position, time: Wall, topic: &str, data: &Data) -> Event {
        let id = position.id(time);
        let partition = data.partition().map_or(NO_PARTITION, |name| name.as_str());
        let envelope = Envelope::new(id.clone(), &self.source, topic, time, data);
        Event {
            position,
            subject: format!("garrison.{partition}.{topic}"),
            payload: envelope.to_json(),
            id,
        }
    }

    fn run(&mut self, run: &run::Run) -> Result<Run, view::Error> {
        let origin = self.origin(run.id)?;
        let jobs = origin.plan.iter().flat_map(|plan| &plan.jobs);
        let partitions: BTreeSet<_> = jobs.map(|job| job.partition.clone()).collect();
        Ok(Run {
            run: run.id,
            status: run.status(),
            pipeline: run.pipeline.clone(),
            repository: run.repository.clone(),
            reference: run.reference.clone(),
            commit: run.commit.clone(),
            partitions: partitions.into_iter().collect(),
            trigger: run.trigger.0,
            actor: run.actor.to_string(),
            cancelled_by: run.cancelled_by.as_ref().map(ToString::to_string),
            group: run.group.clone(),
            superseded_by: run.superseded_by,
            created_us: run.created.0,
            finished_us: match run.state {
                run::State::Waiting { .. } | run::State::Active => None,
                run::State::Finished { at, .. } => Some(at.0),
                run::State::Invalid { .. } => Some(run.created.0),
            },
        })
    }

    fn job(&mut self, job: &job::Job) -> Result<Job, view::Error> {
        let origin = self.origin(job.id.run)?;
        let spec = origin.spec(job.id)?;
        let Title { call, name, matrix, agent, device } = spec.title();
        let (approved_by, rejected_by) = answers(&job.state);
        Ok(Job {
            job: job.id,
            call,
            name,
            matrix,
            agent,
            device,
            partition: spec.partition.clone(),
            status: job.state.kind(),
            detail: match &job.state {
                job::State::Waiting
                | job::State::Queued
                | job::State::Active
                | job::State::Planned => None,
                job::State::Paused { delay_s } => Some(format!("again after {delay_s} s")),
                job::State::Open { .. }
                | job::State::Approved { .. }
                | job::State::Acknowledged { .. }
                | job::State::Rejected { .. }
                | job::State::Expired { .. } => {
                    gate::words(spec, &job.state).map(|words| cut(&words))
                }
                job::State::Finished { outcome } => reason(outcome),
                job::State::Skipped { need } => {
                    Some(format!("{} did not succeed", job.id.run.job(*need)))
                }
                job::State::Unneeded => Some("nothing that it needs failed".to_owned()),
                job::State::Stopped { .. } => {
                    Some("not begun: too much of its rollout failed".to_owned())
                }
                job::State::Cancelled { by } => {
                    Some(format!("cancelled by {by} before it started"))
                }
            },
            approved_by,
            rejected_by,
            attempts: job.attempts,
            belongs: origin.belongs.clone(),
        })
    }

    fn attempt(&mut self, attempt: &attempt::Attempt) -> Result<Attempt, view::Error> {
        let origin = self.origin(attempt.id.job.run)?;
        let recap = match &attempt.state {
            attempt::State::Finished { verdict, .. } => {
                verdict.recap.as_deref().map(|recap| Recap::from(recap.totals()))
            }
            _ => None,
        };
        let (status, started_us, finished_us) = match &attempt.state {
            attempt::State::Assigned => ("assigned", None, None),
            attempt::State::Accepted => ("accepted", None, None),
            attempt::State::Running { started_us } => ("running", Some(*started_us), None),
            attempt::State::Finished { verdict, .. } => {
                (verdict.outcome.kind(), verdict.started_us, Some(verdict.finished_us))
            }
            attempt::State::Abandoned { outcome, .. } => (outcome.kind(), None, None),
        };
        Ok(Attempt {
            attempt: attempt.id,
            job: attempt.id.job,
            name: origin.spec(attempt.id.job)?.name.clone(),
            partition: attempt.agent.partition.clone(),
            agent: attempt.agent.name.clone(),
            status,
            detail: attempt.outcome().and_then(reason),
            cancelled_by: attempt.cancelled_by.as_ref().map(ToString::to_string),
            started_us,
            finished_us,
            recap,
            belongs: origin.belongs.clone(),
        })
    }

    /// The deployment that an attempt was, if it has ended and its job deploys.
    fn environment(
        &mut self,
        attempt: &attempt::Attempt,
    ) -> Result<Option<Environment>, view::Error> {
        let Some(outcome) = attempt.outcome() else { return Ok(None) };
        let origin = self.origin(attempt.id.job.run)?;
        let spec = origin.spec(attempt.id.job)?;
        Ok(spec.environment.as_ref().map(|environment| Environment {
            environment: environment.name.clone(),
            partition: spec.partition.clone(),
            url: environment.url.clone(),
            status: outcome.kind(),
            attempt: attempt.id,
            job: attempt.id.job,
            name: spec.name.clone(),
            device: spec.at().cloned(),
            belongs: origin.belongs.clone(),
        }))
    }

    fn origin(&mut self, id: RunId) -> Result<Arc<Origin>, view::Error> {
        if let Some(origin) = self.runs.get(&id) {
            return Ok(Arc::clone(origin));
        }
        let missing = || view::Error::Damaged(format!("run {id} is missing"));
        let run = self.view.run(id)?.ok_or_else(missing)?;
        let belongs = Belongs {
            run: id,
            pipeline: run.pipeline,
            repository: run.repository,
            reference: run.reference,
            commit: run.commit,
        };
        let origin = Arc::new(Origin { belongs, plan: self.view.plan(id)? });
        self.runs.insert(id, Arc::clone(&origin));
        Ok(origin)
    }
}

impl Origin {
    fn spec(&self, id: JobId) -> Result<&plan::Job, view::Error> {
        let job = self.plan.as_ref().and_then(|plan| plan.jobs.get(id.index as usize));
        job.ok_or_else(|| view::Error::Damaged(format!("the plan of job {id} is missing")))
    }
}

/// None for what is told by its jobs: that a wave or a window has come.
fn run_topic(run: &run::Run, after: &[Change], now: Wall) -> Option<&'static str> {
    use run::Step::{Begun, Cancelled, Created, Finished, Retried, Wave, Window};
    if run.is_final() {
        return Some("run.finished");
    }
    match run.step {
        Some(Created) => Some("run.created"),
        Some(Retried) => Some("run.retried"),
        Some(Begun) => Some("run.started"),
        Some(Cancelled) => Some("run.cancelling"),
        Some(Wave | Window | Finished) => None,
        // Written by an older version.
        None if run.cancelled_by.is_some() => Some("run.cancelling"),
        // Behind a run that was created or retried stands its plan.
        None if run.group.is_some() && !after.iter().any(|it| is_plan(it, run.id)) => {
            Some("run.started")
        }
        // The batch that creates a run gives it its own time.
        None if run.created == now => Some("run.created"),
        None => Some("run.retried"),
    }
}

fn is_plan(change: &Change, run: RunId) -> bool {
    matches!(change, Change::Plan(plan, _) if *plan == run)
}

fn job_topic(job: &job::Job) -> &'static str {
    match job.state {
        job::State::Waiting => "job.waiting",
        job::State::Queued => "job.queued",
        job::State::Paused { .. } => "job.paused",
        job::State::Active => "job.started",
        job::State::Open { ref approvals, .. } if approvals.is_empty() => "job.opened",
        job::State::Open { .. } => "job.approving",
        job::State::Finished { .. }
        | job::State::Approved { .. }
        | job::State::Acknowledged { .. }
        | job::State::Rejected { .. }
        | job::State::Expired { .. }
        | job::State::Skipped { .. }
        | job::State::Unneeded
        | job::State::Stopped { .. }
        | job::State::Planned
        | job::State::Cancelled { .. } => "job.finished",
    }
}

fn attempt_topic(attempt: &attempt::Attempt) -> &'static str {
    match attempt.state {
        attempt::State::Finished { .. } | attempt::State::Abandoned { .. } => "attempt.finished",
        _ if attempt.cancelled_by.is_some() => "attempt.cancelling",
        attempt::State::Assigned => "attempt.assigned",
        attempt::State::Accepted => "attempt.accepted",
        attempt::State::Running { .. } => "attempt.started",
    }
}

/// An agent that enrols stands right behind the token that it used.
fn agent_topic(agent: &agent::Agent, before: Option<&Change>, now: Wall) -> &'static str {
    let enrolled = matches!(before, Some(Change::JoinToken(token))
        if token.agent == agent.key && token.used_by.as_ref() == Some(&agent.fingerprint));
    // What changes an upgrade or a link gives it the batch's own time.
    let upgrade = agent.upgrade.as_ref().map(|it| (it, &it.state));
    match agent.link {
        _ if enrolled => "agent.enrolled",
        _ if agent.revoked => "agent.revoked",
        _ if matches!(upgrade, Some((it, Asked)) if it.asked == now) => "agent.upgrade_asked",
        _ if matches!(upgrade, Some((_, Done { at })) if *at == now) => "agent.upgraded",
        _ if matches!(upgrade, Some((_, Failed { at, .. })) if *at == now) => {
            "agent.upgrade_failed"
        }
        Link::Up { since, .. } if since == now => "agent.connected",
        Link::Down { since } if since == now => "agent.disconnected",
        _ if agent.cordoned_by.is_some() => "agent.cordoned",
        _ => "agent.uncordoned",
    }
}

fn lock_topic(lock: &lock::Lock) -> &'static str {
    match (lock.holder, lock.in_doubt) {
        (None, _) => "lock.freed",
        (Some(_), None) => "lock.taken",
        (Some(_), Some(_)) => "lock.doubted",
    }
}

/// Who has approved at a gate, or acknowledged, and who rejected it.
fn answers(state: &job::State) -> (Vec<String>, Option<String>) {
    match state {
        job::State::Open { approvals, .. } | job::State::Approved { approvals, .. } => {
            (approvals.iter().map(|it| it.by.to_string()).collect(), None)
        }
        job::State::Acknowledged { by, .. } => (vec![by.to_string()], None),
        job::State::Rejected { by, .. } => (Vec::new(), Some(by.to_string())),
        _ => (Vec::new(), None),
    }
}

fn about(agent: &agent::Agent) -> Agent {
    Agent {
        agent: agent.key.name.clone(),
        partition: agent.key.partition.clone(),
        status: match agent.link {
            _ if agent.revoked => "revoked",
            Link::Up { .. } => "connected",
            Link::Down { .. } => "away",
        },
        version: agent.about.as_ref().map(|about| about.version.clone()),
    }
}

fn reason(outcome: &Outcome) -> Option<String> {
    (!outcome.is_success()).then(|| cut(outcome))
}

/// The words, cut at [`DETAIL`].
fn cut(words: &impl Display) -> String {
    let mut text = words.to_string();
    if text.len() > DETAIL {
        text.truncate(text.floor_char_boundary(DETAIL));
        text.push('…');
    }
    text
}
