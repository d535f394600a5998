//! Runners that hang when they should end their jobs: the agent ends both.

use std::time::{Duration, Instant};

use ::agent::attempt::Attempt;
use ::agent::clock::boot_time;
use agent_core::Event;
use nix::sys::signal::Signal;
use pipelines::order::Order;
use pipelines::outcome::{Outcome, Progress};
use pipelines::plan::OnLost;

use crate::agent::{Agent, nested};
use crate::host::*;

/// A job that has daemons and goes on until it is ended.
const JOB: [&str; 3] = ["(setsid sleep 1000 &) & sleep 0.1", "echo ready", "sleep 1000"];

/// A runner hangs that says nothing for 10 s; to end what it leaves takes some more.
const SOON: Duration = Duration::from_secs(15);

/// The attempt of `order`, as soon as its job is at work.
async fn at_work(agent: &mut Agent, host: &Host, order: &Order) -> Attempt {
    agent.order(order).await;
    while !matches!(agent.progress().await, Progress::Running { .. }) {}
    let attempt = Attempt::all(host.root()).unwrap().remove(0);
    until("the job is at work", || output(&attempt).contains("\nready\n")).await;
    attempt
}

async fn cancel(agent: &Agent, attempt: &Attempt) {
    agent.handle.event(Event::CancelReceived { attempt: attempt.id() }).await;
}

/// Nothing is left, and the log says why.
fn assert_ended(attempt: &Attempt, why: &str) {
    assert_eq!((marked(attempt), runners(attempt)), (vec![], vec![]));
    let output = output(attempt);
    let line = format!("{why}: the runner hung and was ended; ");
    assert!(output.contains(&line) && output.contains("processes of the job were ended"));
}

#[tokio::test]
async fn a_cancel_ends_a_runner_that_hangs_and_all_of_its_job() {
    let host = nested();
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    let attempt = at_work(&mut agent, &host, &order(1, &JOB)).await;
    signal(runners(&attempt)[0], Signal::SIGSTOP);
    cancel(&agent, &attempt).await;
    let asked = Instant::now();
    assert_eq!(agent.verdict().await.outcome, Outcome::Cancelled);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_ended(&attempt, "cancelled");
}

#[tokio::test]
async fn an_agent_that_never_heard_of_a_hung_runner_ends_it_too() {
    let host = nested();
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    let attempt = at_work(&mut agent, &host, &order(1, &JOB)).await;
    signal(runners(&attempt)[0], Signal::SIGSTOP);
    drop(agent);
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    cancel(&agent, &attempt).await;
    assert_eq!(agent.verdict().await.outcome, Outcome::Cancelled);
    assert_ended(&attempt, "cancelled");
}

#[tokio::test]
async fn a_lease_ends_the_job_of_a_runner_that_hangs() {
    let host = nested();
    let mut order = order(1, &JOB);
    order.job.on_lost = OnLost::Retry { after_s: 2 };
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    let attempt = at_work(&mut agent, &host, &order).await;
    signal(runners(&attempt)[0], Signal::SIGSTOP);
    let stopped = Instant::now();
    let outcome = agent.verdict().await.outcome;
    assert!(stopped.elapsed() < SOON, "{:?}", stopped.elapsed());
    assert!(matches!(outcome, Outcome::Lost { may_run: false, .. }), "{outcome}");
    assert!(outcome.to_string().contains("without the coordinator for 2s, and the job was ended"));
    assert_ended(&attempt, "the agent was without the coordinator for 2s");
}

#[tokio::test]
async fn a_runner_that_works_on_a_cancel_for_long_is_left_alone() {
    let host = nested();
    let mut patient = launcher();
    patient.args = vec!["--grace-ms".into(), "13000".into()];
    let mut agent = Agent::start_with(patient, &host, Some(boot_time())).await;
    let order = order(1, &["trap '' TERM", "echo ready", "while :; do sleep 1; done"]);
    let attempt = at_work(&mut agent, &host, &order).await;
    cancel(&agent, &attempt).await;
    let asked = Instant::now();
    assert_eq!(agent.verdict().await.outcome, Outcome::Cancelled);
    assert!(asked.elapsed() > Duration::from_secs(12), "{:?}", asked.elapsed());
    assert!(!output(&attempt).contains("hung"), "{}", output(&attempt));
}
