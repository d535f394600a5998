//! What jobs wait for: runners as real processes, and real listeners, web servers, certificates and
//! an sshd.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../ssh/device.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod device;
mod devices;
mod endings;
#[path = "../runner/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
mod net;
mod server;
mod web;

use agent::attempt::Attempt;
use pipelines::outcome::{Exit, Outcome, Verdict};
use pipelines::plan::{Job, Task};
use pipelines::probe::{Check, Probe};

use crate::host::*;

/// A probe that is tried every second, for at most so many.
fn probe(check: Check, timeout_s: u32) -> Probe {
    Probe { check, interval_s: 1, timeout_s }
}

/// An attempt that does nothing but wait for these.
fn waiting(host: &Host, probes: Vec<Probe>) -> Attempt {
    host.attempt_with(&[], |job: &mut Job| {
        job.task = Task::Wait;
        job.wait = probes;
    })
}

/// Waits for one thing to its end.
async fn wait_for(host: &Host, check: Check, timeout_s: u32) -> (Attempt, Verdict) {
    finish(spawn(&waiting(host, vec![probe(check, timeout_s)]), &[]).await).await
}

/// Why a job failed that waited.
fn problem(verdict: &Verdict) -> &str {
    match &verdict.outcome {
        Outcome::Failed { exit: Exit::Wait(problem) } => problem,
        other => panic!("{other}"),
    }
}

/// Why it fails if it waits for one thing.
async fn missed(host: &Host, check: Check) -> String {
    let (_, verdict) = wait_for(host, check, 1).await;
    problem(&verdict).to_owned()
}

/// Waits for one thing that comes.
async fn passes(host: &Host, check: Check) {
    let (attempt, verdict) = wait_for(host, check, 30).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
}
