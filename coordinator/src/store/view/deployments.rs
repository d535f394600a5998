//! Deployments: attempts of jobs that have an environment, by the place that they deploy to.
//!
//! Nothing of it is a record of its own: the entries follow from plans and from attempts that ended,
//! so a view that is built anew has the same ones. Invariant: a run's plan is put before its attempts.

use coordinator_core::attempt::{self, Attempt};
use coordinator_core::event::Wall;
use pipelines::id::{AttemptId, RunId};
use pipelines::name::PartitionName;
use pipelines::plan::Plan;

use super::keys::{self, Table};
use super::{Error, View};

/// Most deployments that are kept for a place, beside the one that is there.
const KEPT: usize = 1000;

/// Where something is deployed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition of the jobs that deploy.
    pub partition: PartitionName,
    /// The environment's name.
    pub environment: String,
}

/// An attempt to deploy that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// Which one.
    pub attempt: AttemptId,
    /// When the coordinator heard of its end.
    pub at: Wall,
    /// Whether it succeeded.
    pub succeeded: bool,
}

impl View {
    /// What is deployed in each place: the latest deployment that succeeded, by place.
    pub fn deployed(&self) -> Result<Vec<(Place, Deployment)>, Error> {
        let pairs = self.db.scan_prefix([Table::Deployed as u8]);
        let each = pairs.map(|pair| {
            let (key, value) = pair?;
            let (partition, environment) = keys::read_deployed(&key).ok_or_else(damaged)?;
            Ok((Place { partition, environment }, deployment(&value, true)?))
        });
        each.collect()
    }

    /// What is deployed in a place; none if no deployment ever succeeded there.
    pub fn deployed_in(&self, place: &Place) -> Result<Option<Deployment>, Error> {
        let value = self.db.get(keys::deployed(&key_of(place)))?;
        value.map(|value| deployment(&value, true)).transpose()
    }

    /// The deployments to a place that are kept, the latest first: those before `before`, if it says
    /// one.
    pub fn deployments(
        &self,
        place: &Place,
        before: Option<(Wall, AttemptId)>,
    ) -> impl Iterator<Item = Result<Deployment, Error>> + use<> {
        let prefix = keys::deployments(&key_of(place));
        let end = match before {
            Some((at, attempt)) => [&prefix[..], &keys::ended(at, attempt)].concat(),
            // Behind every time.
            None => [&prefix[..], &[0xff; 25]].concat(),
        };
        let pairs = self.db.range(prefix..end).rev();
        pairs.map(|pair| {
            let (key, value) = pair?;
            deployment(&key, *value == *SUCCEEDED)
        })
    }

    /// Notes which jobs of a plan deploy, and to which place.
    pub(super) fn note_targets(&self, run: RunId, plan: &Plan) -> Result<(), Error> {
        for (index, job) in (0..).zip(&plan.jobs) {
            if let Some(environment) = &job.environment {
                let place = keys::place(&job.partition, &environment.name);
                self.db.insert(keys::deploys(run.job(index)), place)?;
            }
        }
        Ok(())
    }

    /// Notes an attempt, if it has ended and its job deploys.
    pub(super) fn note_deployment(&self, attempt: &Attempt) -> Result<(), Error> {
        let Some((at, succeeded)) = end(attempt) else { return Ok(()) };
        let Some(place) = self.db.get(keys::deploys(attempt.id.job))? else { return Ok(()) };
        let ended = keys::ended(at, attempt.id);
        let mark = if succeeded { SUCCEEDED } else { FAILED };
        self.db.insert(keys::deployment(&place, &ended), mark)?;
        let earlier = self.db.scan_prefix(keys::deployments(&place)).keys().rev().nth(KEPT);
        if let Some(surplus) = earlier.transpose()? {
            self.db.remove(surplus)?;
        }
        let deployed = keys::deployed(&place);
        // They may come in another order than they ended in: from a checkpoint they come by run.
        if succeeded && self.db.get(&deployed)?.is_none_or(|there| *there < *ended) {
            self.db.insert(deployed, ended)?;
        }
        Ok(())
    }
}

/// The value of a deployment that succeeded.
const SUCCEEDED: &[u8] = &[1];

/// The value of one that did not.
const FAILED: &[u8] = &[0];

/// When an attempt ended, and whether it succeeded; none while it is open.
fn end(attempt: &Attempt) -> Option<(Wall, bool)> {
    match &attempt.state {
        attempt::State::Assigned | attempt::State::Accepted | attempt::State::Running { .. } => {
            None
        }
        attempt::State::Finished { at, verdict } => Some((*at, verdict.outcome.is_success())),
        attempt::State::Abandoned { at, outcome } => Some((*at, outcome.is_success())),
    }
}

fn key_of(place: &Place) -> Vec<u8> {
    keys::place(&place.partition, &place.environment)
}

fn deployment(bytes: &[u8], succeeded: bool) -> Result<Deployment, Error> {
    let (at, attempt) = keys::read_ended(bytes).ok_or_else(damaged)?;
    Ok(Deployment { attempt, at, succeeded })
}

fn damaged() -> Error {
    Error::Damaged("a deployment's entry".to_owned())
}
