//! What is left on a device, and who ends it.

use agent::runner::bury::bury;
use agent::runner::handle::Event;
use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;

use crate::device::Device;
use crate::host::*;

#[tokio::test]
async fn what_a_dead_runner_left_is_ended_by_the_next_attempt() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["echo group $$", "sleep 1000"]).await;
    until_output(&mut handle, "$ sleep 1000").await;
    let attempt = handle.attempt().clone();
    signal(runners(&attempt)[0], Signal::SIGKILL);
    while !matches!(next(&mut handle).await, Event::Died) {}
    let verdict = bury(&attempt).await.unwrap();
    let Outcome::Lost { reason, may_run: true } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    // The process on the device is one of this host's too, so the burial may have found it.
    assert!(reason.contains("may still run on leaf01; the next attempt"), "{reason}");
}

#[tokio::test]
async fn an_earlier_attempt_that_still_runs_is_ended_first() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["trap '' TERM", "echo ready", "sleep 1000; :"]).await;
    until_output(&mut handle, "$ sleep 1000").await;
    for pid in device.connections() {
        signal(pid, Signal::SIGKILL);
    }
    let (_, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome.kind(), "lost");
    assert_eq!(device.records(), ["fra-equ01_17.3.1"]);
    let left = device.processes();
    assert!(left.len() >= 2, "{left:?}");

    let (attempt, verdict) = device.run(&host, &["echo second"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    assert!(output.starts_with("attempt 1 of this job still runs on leaf01 (process group "));
    assert!(output.contains("ending it first\nended 2 processes of attempt 1\n"), "{output}");
    device.assert_idle();
    assert_eq!(device.records(), [""; 0]);
}

#[tokio::test]
async fn an_earlier_attempt_is_known_by_its_mark_when_its_shell_is_gone() {
    let (device, host) = (Device::start(), Host::new());
    let mut handle = device.job(&host, &["sleep 1000 & echo $$ > $TMPDIR/leader; wait"]).await;
    let leader = || std::fs::read_to_string(device.tmp().join("leader")).unwrap_or_default();
    until("both run", || leader().ends_with('\n') && device.processes().len() == 2).await;
    for pid in device.connections() {
        signal(pid, Signal::SIGKILL);
    }
    while !matches!(next(&mut handle).await, Event::Finished(_)) {}
    signal(leader().trim().parse().unwrap(), Signal::SIGKILL);
    until("the shell is gone", || device.processes().len() == 1).await;

    let (attempt, verdict) = device.run(&host, &["true"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    assert!(output.contains("ending it first\nended 1 processes of attempt 1\n"), "{output}");
    device.assert_idle();
}

#[tokio::test]
async fn an_attempt_gives_way_to_a_newer_one() {
    let (device, host) = (Device::start(), Host::new());
    let older = host.attempt_with(&["true"], device.task());
    let mut newer = device.job(&host, &["echo ready", "sleep 1000"]).await;
    until_output(&mut newer, "\nready\n").await;
    let (_, verdict) = finish(device.spawn(&older).await).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    assert!(reason.contains("attempt 2 of this job runs there already"), "{reason}");
    newer.cancel();
    assert_eq!(finish(newer).await.1.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_record_whose_group_belongs_to_another_is_outdated() {
    let (device, host) = (Device::start(), Host::new());
    device.run(&host, &["true"]).await;
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mark = uuid::Uuid::new_v4();
    let record = format!("{} 1-boot {mark}\n", stranger.id());
    std::fs::write(device.record_dir().join("fra-equ01_17.3.1"), record).unwrap();
    let (attempt, verdict) = device.run(&host, &["true"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert_eq!(output(&attempt), "$ true\n");
    assert_eq!(device.records(), [""; 0]);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn what_a_job_leaves_in_its_session_is_ended_and_a_service_is_not() {
    let (device, host) = (Device::start(), Host::new());
    let lines = ["setsid sleep 1001 > /dev/null 2>&1 &", "sleep 1002 &", "sleep 0.1; echo done"];
    let (attempt, verdict) = device.run(&host, &lines).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    assert!(output.ends_with("\ndone\nended 1 processes left behind\n"), "{output}");
    let left = device.processes();
    assert_eq!(left.len(), 1, "{left:?}");
    let command = std::fs::read(format!("/proc/{}/cmdline", left[0])).unwrap();
    assert_eq!(command, b"sleep\x001001\0");
}
