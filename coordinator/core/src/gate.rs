//! Gates of a run as they stand: who may answer them now. The core decides by these rules, and whoever
//! shows a gate says by them what the reader may do.

use pipelines::gate::{Asks, Gate, Triggerer};
use pipelines::plan::{self, Task};

use crate::actor::{Actor, Role};
use crate::event::{Refusal, Wall};
use crate::job::{self, Approval, Job};
use crate::run::Run;

/// A job of a run, looked at as a gate.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its run.
    pub run: &'a Run,
    /// What the plan says of it.
    pub spec: &'a plan::Job,
    /// How far it is.
    pub job: &'a Job,
}

/// A gate that waits for people.
#[derive(Debug, Clone, Copy)]
pub struct Open<'a> {
    /// What it asks for.
    pub gate: &'a Gate,
    /// Since when it waits.
    pub since: Wall,
    /// Who has approved.
    pub approvals: &'a [Approval],
}

impl<'a> Standing<'a> {
    /// What it is called in sentences.
    pub fn title(&self) -> String {
        format!("gate {} ({} in {})", self.job.id, self.spec.title(), self.spec.partition)
    }

    /// What it asks for; none if it is no gate.
    pub fn gate(&self) -> Option<&'a Gate> {
        match &self.spec.task {
            Task::Gate(gate) => Some(gate),
            Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Render(_) | Task::Wait => {
                None
            }
        }
    }

    /// When it expires; none if it is not open.
    pub fn expires(&self) -> Option<Wall> {
        expires(self.spec, self.job)
    }

    /// Who has approved, or acknowledged, so far.
    pub fn approvals(&self) -> Vec<Approval> {
        match &self.job.state {
            job::State::Open { approvals, .. } | job::State::Approved { approvals, .. } => {
                approvals.clone()
            }
            job::State::Acknowledged { at, by } => {
                vec![Approval { by: by.clone(), at: *at, comment: None }]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the actor may approve.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn may_approve(&self, actor: &Actor) -> Result<Open<'a>, Refusal> {
        let open = self.open(actor, "approving")?;
        let Open { gate, approvals, .. } = open;
        let title = self.title();
        let triggerer = match &gate.asks {
            Asks::Approval { triggerer, .. } => triggerer,
            Asks::Acknowledgement { .. } => {
                let text = format!("{title} is acknowledged, not approved");
                return Err(Refusal::Conflict(text));
            }
        };
        if *triggerer == Triggerer::Refused && actor.is_same_person(&self.run.actor) {
            return Err(Refusal::Forbidden(format!(
                "{title}: {} triggered run {}, so somebody else must approve it",
                self.run.actor, self.run.id
            )));
        }
        if approvals.iter().any(|approval| approval.by.is_same_person(actor)) {
            return Err(Refusal::Conflict(format!(
                "{title}: {actor} has approved already; it waits for {}",
                gate.wants(approvals.len())
            )));
        }
        Ok(open)
    }

    /// Whether the actor may acknowledge; gives the text that must be said.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn may_acknowledge(&self, actor: &Actor) -> Result<&'a str, Refusal> {
        match &self.open(actor, "acknowledging")?.gate.asks {
            Asks::Acknowledgement { text } => Ok(text),
            Asks::Approval { .. } => {
                let text = format!("{} is approved, not acknowledged", self.title());
                Err(Refusal::Conflict(text))
            }
        }
    }

    /// Whether the actor may reject.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn may_reject(&self, actor: &Actor) -> Result<(), Refusal> {
        self.open(actor, "rejecting").map(drop)
    }

    /// The gate, if it is open and this person has its role.
    fn open(&self, actor: &Actor, doing: &str) -> Result<Open<'a>, Refusal> {
        let (id, partition) = (self.job.id, &self.spec.partition);
        if !actor.may(Role::View, partition) {
            return Err(Refusal::NotFound(format!("there is no job {id}")));
        }
        let Some(gate) = self.gate() else {
            return Err(Refusal::Conflict(format!(
                "job {id} ({} in {partition}) is no gate",
                self.spec.title()
            )));
        };
        let title = self.title();
        let is_person = matches!(actor, Actor::Token { .. } | Actor::LocalAdmin);
        if !is_person || !actor.may(gate.role, partition) {
            return Err(Refusal::Forbidden(format!(
                "{title}: {doing} needs {}; {actor} lacks it",
                gate.role
            )));
        }
        let state = match &self.job.state {
            job::State::Open { since, approvals } => {
                return Ok(Open { gate, since: *since, approvals });
            }
            job::State::Waiting => "is not open yet: it waits for other jobs".to_owned(),
            job::State::Approved { .. } => "was approved already".to_owned(),
            job::State::Acknowledged { by, .. } => format!("was acknowledged already, by {by}"),
            job::State::Rejected { by, .. } => format!("was rejected already, by {by}"),
            job::State::Expired { .. } => "is not open any more: it has expired".to_owned(),
            other => format!("is not open any more: it is {}", other.kind()),
        };
        Err(Refusal::Conflict(format!("{title} {state}")))
    }
}

/// What a gate waits for, or how it was answered, in words; none in states that are not a gate's own.
pub fn words(spec: &plan::Job, state: &job::State) -> Option<String> {
    let Task::Gate(gate) = &spec.task else { return None };
    let said = |approval: &Approval| match &approval.comment {
        Some(comment) => format!("{} ({comment})", approval.by),
        None => approval.by.to_string(),
    };
    let all = |approvals: &[Approval]| approvals.iter().map(said).collect::<Vec<_>>().join(", ");
    match state {
        job::State::Open { approvals, .. } => {
            let wants = gate.wants(approvals.len());
            Some(match approvals.as_slice() {
                [] => format!("waits for {wants}"),
                some => format!("waits for {wants}; approved by {}", all(some)),
            })
        }
        job::State::Approved { approvals, .. } => Some(format!("approved by {}", all(approvals))),
        job::State::Acknowledged { by, .. } => Some(format!("acknowledged by {by}")),
        job::State::Rejected { by, reason, .. } => Some(format!("rejected by {by}: {reason}")),
        job::State::Expired { .. } => Some("expired: too few people answered in time".to_owned()),
        _ => None,
    }
}

/// When a gate expires; none if it is not open.
pub(crate) fn expires(spec: &plan::Job, job: &Job) -> Option<Wall> {
    match &job.state {
        job::State::Open { since, .. } => {
            Some(Wall(since.0.saturating_add(u64::from(spec.timeout_s) * 1_000_000)))
        }
        _ => None,
    }
}
