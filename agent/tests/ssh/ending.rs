//! Jobs on a device that are ended, or whose end nobody sees.

use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;

use crate::device::Device;
use crate::host::*;

/// The leader of the job's group, as its first output line `group N` says.
fn group(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("group ")).unwrap()
}

#[tokio::test]
async fn a_cancelled_job_may_clean_up() {
    let (device, host) = (Device::start(), Host::new());
    let lines = ["trap 'echo cleaned; exit 0' TERM", "sleep 1000 & echo ready; wait"];
    let mut handle = device.job(&host, &lines).await;
    until_output(&mut handle, "\nready\n").await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    assert!(output(&attempt).contains("\ncleaned\n"));
    device.assert_idle();
    assert_eq!(device.records(), [""; 0]);
}

/// Ignores SIGTERM, also in a group of its own in the same session, and writes much.
const STUBBORN: [&str; 4] = [
    "trap '' TERM",
    "timeout 1000 sh -c 'sleep 1000; :' &",
    "echo ready",
    "while :; do seq 100000; sleep 0.01; done",
];

#[tokio::test]
async fn a_cancel_ends_a_job_that_ignores_it() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &STUBBORN).await;
    until("it runs", || device.processes().len() >= 4).await;
    handle.cancel();
    let (_, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    device.assert_idle();
}

#[tokio::test]
async fn a_job_past_its_time_limit_is_ended_by_force() {
    let (device, host) = (Device::start(), Host::new());
    let attempt = host.attempt_with(&["trap '' TERM", "sleep 1000", "sleep 1000"], |job| {
        device.task()(job);
        job.timeout_s = 1;
    });
    let (attempt, verdict) = finish(device.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::TimedOut);
    assert!(output(&attempt).contains("time limit passed: ending the job\n"));
    device.assert_idle();
}

#[tokio::test]
async fn a_job_whose_connection_ends_is_lost() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["echo group $$", "sleep 1000"]).await;
    until_output(&mut handle, "\ngroup ").await;
    for pid in device.connections() {
        signal(pid, Signal::SIGKILL);
    }
    let (attempt, verdict) = finish(handle).await;
    let Outcome::Lost { reason, may_run: true } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    let group = format!("process group {} may still run on leaf01", group(&output(&attempt)));
    assert!(reason.contains("connection to leaf01 ended") && reason.contains(&group), "{reason}");
}

#[tokio::test]
async fn a_cancel_over_a_dead_connection_is_unconfirmed() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["echo group $$", "sleep 1000"]).await;
    until_output(&mut handle, "$ sleep 1000").await;
    device.signal(Signal::SIGSTOP);
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    device.signal(Signal::SIGCONT);
    let Outcome::CancelUnconfirmed { reason } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    let group = format!("process group {} may still run on leaf01", group(&output(&attempt)));
    assert!(reason.starts_with("cancelled, but") && reason.contains(&group), "{reason}");
}

#[tokio::test]
async fn a_cancel_is_confirmed_by_another_connection() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "$ sleep 1000").await;
    // The connection alone is dead, which nobody sees yet.
    let dead = device.connections();
    for pid in &dead {
        signal(*pid, Signal::SIGSTOP);
    }
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled, "{} {}", output(&attempt), complaint(&attempt));
    device.assert_idle();
    for pid in dead {
        signal(pid, Signal::SIGCONT);
    }
}
