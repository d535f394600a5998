//! Leases: what a runner does when its agent is without the coordinator, dead, or the host asleep.
//!
//! What these tests sleep is part of a lease, or longer than one: it passes by the real clock, and no condition says so.

use std::time::{Duration, Instant};

use agent::attempt::{Attempt, Condition};
use agent::clock::boot_time;
use agent::runner::handle::{Event, Handle};
use agent::runner::handover::Handover;
use agent_core::lease::BootTime;
use nix::sys::signal::Signal;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::plan::OnLost;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::host::*;

const SECONDS: u32 = 2;

/// A job that has daemons and goes on until it is ended.
const JOB: [&str; 3] = ["(setsid sleep 1000 &) & sleep 0.1", "echo ready", "sleep 1000"];

fn attempt(host: &Host, lines: &[&str]) -> Attempt {
    host.attempt_with(lines, |job| job.on_lost = OnLost::Fail { after_s: SECONDS })
}

async fn start(attempt: &Attempt, base: BootTime) -> Handle {
    let handover = Handover::new(vec![]).with_lease(Some(base));
    launcher().spawn(attempt, &handover).await.unwrap()
}

fn assert_ended(attempt: &Attempt, verdict: &Verdict) {
    let Outcome::Lost { reason, may_run: false } = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(reason.starts_with("the agent was without the coordinator for 2s, and"), "{reason}");
    assert_eq!(marked(attempt), [0; 0]);
    assert!(output(attempt).contains("without the coordinator for 2s: ending the job\n"));
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_the_job() {
    let host = Host::new();
    let base = boot_time();
    let (attempt, verdict) = finish(start(&attempt(&host, &JOB), base).await).await;
    assert!(boot_time().0 - base.0 >= 2_000_000);
    assert_ended(&attempt, &verdict);
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_it_is_renewed() {
    let host = Host::new();
    let (renew, renewals) = watch::channel(None);
    let handle = start(&attempt(&host, &JOB), boot_time()).await;
    let mut followed = JoinSet::new();
    followed.spawn(finish(handle.with_renewals(Some(renewals))));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        renew.send_replace(Some(boot_time()));
        assert!(followed.try_join_next().is_none(), "it ended though it was renewed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (attempt, verdict) = followed.join_next().await.unwrap().unwrap();
    assert_ended(&attempt, &verdict);
}

#[tokio::test]
async fn a_runner_whose_agent_is_dead_ends_its_job_by_itself() {
    let host = Host::new();
    let mut handle = start(&attempt(&host, &JOB), boot_time()).await;
    until_output(&mut handle, "\nready\n").await;
    let attempt = handle.attempt().clone();
    drop(handle);
    until("it has ended", || matches!(attempt.condition(), Ok(Condition::Finished(_)))).await;
    assert_ended(&attempt, &attempt.state().unwrap().verdict.unwrap());
}

#[tokio::test]
async fn another_agent_renews_the_lease_and_one_that_knows_nothing_does_not() {
    let host = Host::new();
    let attempt = attempt(&host, &["while [ ! -e go ]; do sleep 0.01; done"]);
    let mut handle = start(&attempt, boot_time()).await;
    until_output(&mut handle, "go ]").await;
    drop(handle);
    let (renew, renewals) = watch::channel(None);
    let again = Handle::attach(&attempt).with_renewals(Some(renewals));
    let mut followed = JoinSet::new();
    followed.spawn(finish(again));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    renew.send_replace(Some(boot_time()));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    std::fs::write(attempt.work().join("go"), "").unwrap();
    assert_eq!(followed.join_next().await.unwrap().unwrap().1.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_lease_that_ended_while_the_runner_was_frozen_cannot_be_renewed() {
    let host = Host::new();
    let (renew, renewals) = watch::channel(None);
    let mut handle = start(&attempt(&host, &JOB), boot_time()).await.with_renewals(Some(renewals));
    until_output(&mut handle, "\nready\n").await;
    let runner = runners(handle.attempt())[0];
    signal(runner, Signal::SIGSTOP);
    let mut followed = JoinSet::new();
    followed.spawn(finish(handle));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    renew.send_replace(Some(boot_time()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal(runner, Signal::SIGCONT);
    let thawed = Instant::now();
    let (attempt, verdict) = followed.join_next().await.unwrap().unwrap();
    assert_ended(&attempt, &verdict);
    assert!(thawed.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn nothing_starts_under_a_lease_that_has_ended() {
    let host = Host::new();
    let base = BootTime(boot_time().0 - 2_000_000);
    let (attempt, verdict) = finish(start(&attempt(&host, &["touch ran"]), base).await).await;
    assert_eq!(
        verdict.outcome.to_string(),
        "lost: the agent was without the coordinator for 2s; nothing of the job was started"
    );
    assert!(!verdict.outcome.may_run());
    assert_eq!(verdict.started_us, None);
    assert!(!attempt.work().join("ran").exists());
}

#[tokio::test]
async fn a_job_whose_agent_knows_no_leases_does_not_start() {
    let host = Host::new();
    let (_, verdict) = finish(spawn(&attempt(&host, &["true"]), &[]).await).await;
    assert_eq!(verdict.outcome.kind(), "infra_error");
    assert_eq!(verdict.started_us, None);
}

#[tokio::test]
async fn a_job_without_a_lease_goes_on_whatever_is_said_of_leases() {
    let host = Host::new();
    let (_renew, renewals) = watch::channel(Some(BootTime(0)));
    let attempt = host.attempt(&["while [ ! -e go ]; do sleep 0.01; done"]);
    let mut handle = start(&attempt, BootTime(0)).await.with_renewals(Some(renewals));
    until_output(&mut handle, "go ]").await;
    let waited = tokio::time::timeout(Duration::from_millis(1500), async {
        loop {
            if let Event::Finished(_) | Event::Died = handle.next().await {
                return;
            }
        }
    });
    assert!(waited.await.is_err());
    std::fs::write(attempt.work().join("go"), "").unwrap();
    assert_eq!(finish(handle).await.1.outcome, Outcome::Succeeded);
}
