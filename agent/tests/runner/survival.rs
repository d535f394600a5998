//! What happens when agents and runners die.

use std::io::Write;
use std::process::{Command, Stdio};

use agent::attempt::Condition;
use agent::attempt::state::Record;
use agent::runner::bury::{self, bury};
use agent::runner::handle::{Event, Handle};
use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;

use crate::host::*;

#[tokio::test]
async fn a_killed_runner_is_buried_and_nothing_of_its_job_is_left() {
    let host = Host::new();
    // One has left the group, the other has dropped its mark.
    let lines = ["setsid sleep 1000 & env -i sleep 1000 &", "echo ready", "sleep 1000"];
    let mut handle = host.start(&lines).await;
    until_output(&mut handle, "\nready\n").await;
    let attempt = handle.attempt().clone();
    until("all are there", || marked(&attempt).len() >= 3).await;
    assert!(matches!(bury(&attempt).await, Err(bury::Error::Attempt(_))));

    signal(runners(&attempt)[0], Signal::SIGKILL);
    while !matches!(next(&mut handle).await, Event::Died) {}
    assert_eq!(attempt.condition().unwrap(), Condition::Dead);

    let verdict = bury(&attempt).await.unwrap();
    let Outcome::Lost { reason, may_run: false } = &verdict.outcome else { panic!("{verdict:?}") };
    assert_eq!(reason, "runner died; 4 processes of the job were ended");
    assert_eq!(marked(&attempt), [0; 0]);
    assert!(output(&attempt).contains("\nready\n"));
    assert_eq!(verdict.log.length, output(&attempt).len() as u64);
    assert_eq!(bury(&attempt).await.unwrap(), verdict);
}

#[tokio::test]
async fn after_a_reboot_no_process_is_touched() {
    let host = Host::new();
    let attempt = host.attempt(&["true"]);
    let lock = attempt.lock().unwrap().unwrap();
    let started = Record::Started { at_us: 1, boot_id: "another".into() };
    attempt.state_writer(&lock).unwrap().append(&started).unwrap();
    drop(lock);
    let verdict = bury(&attempt).await.unwrap();
    assert_eq!(verdict.started_us, Some(1));
    assert_eq!(verdict.outcome.to_string(), "lost: host rebooted while the job ran");
}

#[tokio::test]
async fn another_agent_finds_the_runner_and_all_its_output() {
    let host = Host::new();
    let mut handle =
        host.start(&["echo before", "while [ ! -e go ]; do sleep 0.01; done", "seq 100"]).await;
    until_output(&mut handle, "\nbefore\n").await;
    let attempt = handle.attempt().clone();
    drop(handle);
    assert_eq!(attempt.condition().unwrap(), Condition::Held);

    let mut handle = Handle::attach(&attempt);
    let (mut started, mut length) = (false, 0);
    while !(started && length > 0) {
        match next(&mut handle).await {
            Event::Started { .. } => started = true,
            Event::LogGrew { length: now } => length = now,
            last => panic!("{last:?}"),
        }
    }
    std::fs::write(attempt.work().join("go"), "").unwrap();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(output(&attempt).contains("\nbefore\n") && output(&attempt).ends_with("\n100\n"));

    let (_, again) = finish(Handle::attach(&attempt)).await;
    assert_eq!(again, verdict);
}

#[tokio::test]
async fn of_two_runners_one_leaves_and_both_handles_follow_the_other() {
    let host = Host::new();
    let attempt = host.attempt(&["echo ran >> ../ran", "while [ ! -e go ]; do sleep 0.01; done"]);
    let (mut one, mut two) = tokio::join!(spawn(&attempt, &[]), spawn(&attempt, &[]));
    until_output(&mut one, "go ]").await;
    until_output(&mut two, "go ]").await;
    until("one has left", || runners(&attempt).len() == 1).await;
    std::fs::write(attempt.work().join("go"), "").unwrap();
    let ((_, one), (_, two)) = tokio::join!(finish(one), finish(two));
    assert_eq!(one, two);
    assert_eq!(std::fs::read_to_string(attempt.dir().join("ran")).unwrap(), "ran\n");
    // A late one finds the verdict.
    let (_, late) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(late, one);
    assert_eq!(std::fs::read_to_string(attempt.dir().join("ran")).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_handover_that_is_cut_off_starts_nothing() {
    let host = Host::new();
    let attempt = host.attempt(&["echo ran > ../ran"]);
    let mut runner = Command::new(program())
        .arg(attempt.dir())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    runner.stdin.take().unwrap().write_all(br#"{"version":1,"mask":["hun"#).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(1));
    assert_eq!(attempt.condition().unwrap(), Condition::Unstarted);
    assert!(matches!(next(&mut Handle::attach(&attempt)).await, Event::Died));
    assert!(matches!(bury(&attempt).await, Err(bury::Error::Attempt(_))));

    let (_, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(attempt.dir().join("ran").exists());
    attempt.clone().remove().unwrap();
    assert!(!attempt.dir().exists());
}

#[tokio::test]
async fn a_runner_that_cannot_be_started_is_an_error_with_its_name() {
    let host = Host::new();
    let attempt = host.attempt(&["true"]);
    let launcher = agent::runner::handle::Launcher { program: "/none".into(), args: vec![] };
    let error = launcher.spawn(&attempt, &agent::runner::handover::Handover::new(vec![])).await;
    assert!(error.unwrap_err().to_string().contains("/none"));
    assert_eq!(attempt.condition().unwrap(), Condition::Unstarted);
}
