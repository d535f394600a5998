//! What a forge is told of a run.

use std::collections::BTreeSet;

use coordinator_core::event::Wall;
use coordinator_core::job::{self, Job};
use coordinator_core::run::{self, Outcome, Run};
use pipelines::plan::{Plan, Task};

use crate::config::Origin;
use crate::git;

/// The longest description that all forges take, in characters: GitHub's limit.
const LONGEST: usize = 140;

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// What to show.
    pub(super) state: State,
    /// In words.
    pub(super) description: String,
    /// The run's page, if people can reach it.
    pub(super) target_url: Option<String>,
    /// Tells the statuses of a commit's pipelines apart.
    pub(super) context: String,
}

/// What a forge is to show; each has words of its own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its time has not come.
    Waiting,
    /// It is under way.
    Running,
    /// It went well.
    Succeeded,
    /// It did not.
    Failed,
    /// It was ended before it was over.
    Cancelled,
    /// There is nothing that could be run.
    Invalid,
}

/// The status of a run with these jobs.
pub(super) fn status(
    run: &Run,
    plan: Option<&Plan>,
    jobs: &[Job],
    origin: Option<&Origin>,
) -> Status {
    let (state, description) = match &run.state {
        run::State::Waiting { .. } => {
            let group = run.group.as_ref().map_or("", |group| group.as_str());
            (State::Waiting, format!("Run {} waits for its turn in the group {group}", run.id))
        }
        run::State::Active => match &run.cancelled_by {
            Some(actor) => {
                (State::Running, format!("Run {} is being cancelled by {actor}", run.id))
            }
            None => (State::Running, under_way(run, plan, jobs)),
        },
        run::State::Finished { at, outcome } => {
            let took = took(run.created, *at);
            match outcome {
                Outcome::Succeeded => (State::Succeeded, format!("Succeeded in {took}")),
                Outcome::Planned => (State::Succeeded, planned(plan)),
                Outcome::Failed => (State::Failed, format!("{} after {took}", failed(plan, jobs))),
                Outcome::Cancelled => {
                    (State::Cancelled, format!("{} after {took}", cancelled(run)))
                }
            }
        }
        run::State::Invalid { .. } => (State::Invalid, format!("{} does not compile", run.file)),
    };
    Status {
        state,
        description: short(description),
        target_url: origin.map(|origin| format!("{}/runs/{}", origin.as_str(), run.id)),
        context: context(run),
    }
}

/// The plan of a pull request is told beside what a push of the same commit does.
fn context(run: &Run) -> String {
    let plan = if git::is_pull_request(&run.reference) { "/plan" } else { "" };
    format!("garrison/{}{plan}", run.pipeline)
}

/// Says for whom it waits, if it does.
fn under_way(run: &Run, plan: Option<&Plan>, jobs: &[Job]) -> String {
    let open = jobs.iter().filter(|job| matches!(job.state, job::State::Open { .. }));
    let waits = |job: &Job| {
        let spec = plan?.jobs.get(job.id.index as usize)?;
        let Task::Gate(gate) = &spec.task else { return None };
        let approvals = match &job.state {
            job::State::Open { approvals, .. } => approvals.len(),
            _ => 0,
        };
        Some((gate.wants(approvals), format!("{} in {}", spec.title(), spec.partition)))
    };
    let mut open = open.filter_map(waits);
    let Some((wants, gate)) = open.next() else { return format!("Run {} is under way", run.id) };
    match open.count() {
        0 => format!("Run {} waits for {wants} ({gate})", run.id),
        more => format!("Run {} waits for {wants} ({gate}, and {more} more)", run.id),
    }
}

fn planned(plan: Option<&Plan>) -> String {
    let jobs = plan.map_or(&[][..], |plan| &plan.jobs);
    let partitions: BTreeSet<_> = jobs.iter().map(|job| &job.partition).collect();
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!("Would run {} in {}", count(jobs.len(), "job"), count(partitions.len(), "partition"))
}

fn cancelled(run: &Run) -> String {
    match (run.superseded_by, &run.cancelled_by) {
        (Some(newer), _) => format!("Superseded by run {newer}"),
        (None, Some(actor)) => format!("Cancelled by {actor}"),
        (None, None) => "Cancelled".to_owned(),
    }
}

/// Which jobs are to blame: those that others wait for in vain are not.
fn failed(plan: Option<&Plan>, jobs: &[Job]) -> String {
    let is_failed = |job: &&Job| match &job.state {
        job::State::Finished { outcome } => !outcome.is_success(),
        job::State::Rejected { .. } | job::State::Expired { .. } => true,
        job::State::Waiting
        | job::State::Queued
        | job::State::Open { .. }
        | job::State::Approved { .. }
        | job::State::Acknowledged { .. }
        | job::State::Paused { .. }
        | job::State::Active
        | job::State::Skipped { .. }
        | job::State::Unneeded
        | job::State::Stopped { .. }
        | job::State::Planned
        | job::State::Cancelled { .. } => false,
    };
    let name = |job: &Job| {
        let spec = plan?.jobs.get(job.id.index as usize)?;
        Some(format!("{} in {} {}", spec.title(), spec.partition, job.state.kind()))
    };
    let failed: Vec<&Job> = jobs.iter().filter(is_failed).collect();
    match failed.as_slice() {
        [] => "Failed".to_owned(),
        [job] => name(job).unwrap_or_else(|| "1 job did not succeed".to_owned()),
        [job, others @ ..] => match name(job) {
            Some(name) => format!("{name}, and {} more of {} jobs", others.len(), jobs.len()),
            None => format!("{} of {} jobs did not succeed", failed.len(), jobs.len()),
        },
    }
}

/// Such as `2 min 5 s`.
fn took(from: Wall, to: Wall) -> String {
    let seconds = to.0.saturating_sub(from.0).div_ceil(1_000_000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn short(text: String) -> String {
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use coordinator_core::actor::Actor;
    use pipelines::id::RunId;
    use pipelines::outcome::{self, Exit};

    use super::*;
    use crate::store::fixtures;

    fn said(run: &Run, jobs: &[Job]) -> (State, String) {
        let plan = fixtures::plan(&["fra", "muc", "nbg"], "true");
        let status = status(run, Some(&plan), jobs, None);
        (status.state, status.description)
    }

    fn ended(outcome: Outcome) -> Run {
        let state = run::State::Finished { at: Wall(125_000_000), outcome };
        Run { created: Wall(0), ..fixtures::run(7, "deploy", state) }
    }

    fn job(index: u32, state: job::State) -> Job {
        Job {
            id: RunId(7).job(index),
            attempts: 1,
            tried: 1,
            artifacts: vec![],
            outputs: Default::default(),
            state,
        }
    }

    #[test]
    fn each_state_of_a_run_has_its_words() {
        let active = fixtures::run(7, "deploy", run::State::Active);
        assert_eq!(said(&active, &[]), (State::Running, "Run 7 is under way".to_owned()));
        let ending = Run { cancelled_by: Some(Actor::LocalAdmin), ..active };
        let words = "Run 7 is being cancelled by local admin";
        assert_eq!(said(&ending, &[]), (State::Running, words.to_owned()));
        let done = ended(Outcome::Succeeded);
        assert_eq!(said(&done, &[]), (State::Succeeded, "Succeeded in 2 min 5 s".to_owned()));
        let invalid = run::State::Invalid { diagnostics: "line 1".to_owned() };
        let invalid = fixtures::run(7, "deploy", invalid);
        assert_eq!(
            said(&invalid, &[]),
            (State::Invalid, "deploy.yaml does not compile".to_owned())
        );
        let by = Some(Actor::LocalAdmin);
        let words = "Would run 3 jobs in 3 partitions";
        assert_eq!(said(&ended(Outcome::Planned), &[]), (State::Succeeded, words.to_owned()));
        let cancelled = Run { cancelled_by: by, ..ended(Outcome::Cancelled) };
        let words = "Cancelled by local admin after 2 min 5 s";
        assert_eq!(said(&cancelled, &[]), (State::Cancelled, words.to_owned()));
        let superseded = Run { superseded_by: Some(RunId(8)), ..cancelled };
        let words = "Superseded by run 8 after 2 min 5 s";
        assert_eq!(said(&superseded, &[]), (State::Cancelled, words.to_owned()));
        let waiting = fixtures::run(7, "deploy", run::State::Waiting { place: 1 });
        let waiting = Run { group: Some("site".parse().unwrap()), ..waiting };
        let words = "Run 7 waits for its turn in the group site";
        assert_eq!(said(&waiting, &[]), (State::Waiting, words.to_owned()));
    }

    #[test]
    fn a_run_at_a_gate_says_for_whom_it_waits_and_who_said_no() {
        let plan = fixtures::gated();
        let said = |run: &Run, job: Job| status(run, Some(&plan), &[job], None).description;
        let active = fixtures::run(7, "deploy", run::State::Active);
        let open = |approvals| fixtures::open_gate(7, approvals);
        assert_eq!(said(&active, open(0)), "Run 7 waits for 2 approvals by admins (deploy in fra)");
        assert_eq!(
            said(&active, open(1)),
            "Run 7 waits for 1 approval by an admin (deploy in fra)"
        );
        let (by, reason) = (Actor::LocalAdmin, "no".to_owned());
        let rejected = Job { state: job::State::Rejected { at: Wall(3), by, reason }, ..open(0) };
        let words = "deploy in fra rejected after 2 min 5 s";
        assert_eq!(said(&ended(Outcome::Failed), rejected), words);
    }

    #[test]
    fn a_failure_names_the_job_to_blame() {
        let outcome = outcome::Outcome::Failed { exit: Exit::Code(1) };
        let failed = job::State::Finished { outcome };
        let skipped = job(1, job::State::Skipped { need: 0 });
        let jobs = [job(0, failed.clone()), skipped.clone()];
        let words = "deploy in fra failed after 2 min 5 s";
        assert_eq!(said(&ended(Outcome::Failed), &jobs), (State::Failed, words.to_owned()));
        let jobs = [job(0, failed.clone()), skipped, job(2, failed)];
        let words = "deploy in fra failed, and 1 more of 3 jobs after 2 min 5 s";
        assert_eq!(said(&ended(Outcome::Failed), &jobs), (State::Failed, words.to_owned()));
    }

    #[test]
    fn long_words_are_cut_and_the_page_is_linked() {
        let name = "x".repeat(60);
        let invalid = run::State::Invalid { diagnostics: String::new() };
        let run = Run { file: "ü".repeat(200), ..fixtures::run(7, &name, invalid) };
        let origin = Origin::try_from("https://g.example".to_owned()).unwrap();
        let status = status(&run, None, &[], Some(&origin));
        assert_eq!(status.description.chars().count(), LONGEST);
        assert_eq!(status.target_url.as_deref(), Some("https://g.example/runs/7"));
        assert_eq!(status.context, format!("garrison/{name}"));
        for reference in ["refs/pull/7/head", "refs/merge-requests/7/head"] {
            assert_eq!(
                context(&Run { reference: reference.to_owned(), ..run.clone() }),
                format!("garrison/{name}/plan")
            );
        }
    }
}
