//! What happens to containers when runners and engines die.

use std::time::Duration;

use agent::attempt::Condition;
use agent::attempt::state::{Note, Record};
use agent::executor::docker::{Address, reap};
use agent::runner::bury::{self, bury_with};
use agent::runner::handle::{Event, Handle};
use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;
use tokio::time::timeout;

use crate::engine::{Docker, Engine, shared};
use crate::host::*;

/// A job that runs until its file `go` is there.
const UNTIL_GO: [&str; 2] = ["echo ready", "while [ ! -e go ]; do sleep 0.05; done"];

pub(crate) async fn kill_runner(handle: &mut Handle) {
    signal(runners(handle.attempt())[0], Signal::SIGKILL);
    while !matches!(next(handle).await, Event::Died) {}
    assert_eq!(handle.attempt().condition().unwrap(), Condition::Dead);
}

#[tokio::test]
async fn a_killed_runner_is_buried_with_its_container() {
    let docker = Docker::new(shared().await).await;
    let mut handle = docker.start(&["echo ready", "trap '' TERM", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    let attempt = handle.attempt().clone();
    let id = docker.engine.containers(&attempt);
    assert_eq!(attempt.state().unwrap().notes, [Note::Container { id: id.clone() }]);
    kill_runner(&mut handle).await;

    let nowhere = Address::new("unix:///nowhere.sock");
    let error = bury_with(&attempt, &nowhere).await.unwrap_err();
    assert!(matches!(error, bury::Error::Container { .. }), "{error}");
    assert!(error.to_string().contains("may still run"), "{error}");
    assert_eq!(attempt.condition().unwrap(), Condition::Dead);
    assert_eq!(docker.engine.containers(&attempt), id);

    let verdict = bury_with(&attempt, &docker.engine.address()).await.unwrap();
    assert_eq!(verdict.outcome.to_string(), "lost: runner died; the job's container was ended");
    assert_eq!(docker.engine.containers(&attempt), "");
    assert_eq!(marked(&attempt), [0; 0]);
}

#[tokio::test]
async fn a_container_that_was_created_but_never_noted_is_buried_too() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(&["true"], |_, _| {});
    let state = attempt.state().unwrap();
    let started = Record::Started { at_us: 1, boot_id: agent::clock::boot_id().unwrap() };
    attempt.state_writer(&attempt.lock().unwrap().unwrap()).unwrap().append(&started).unwrap();
    let label = format!("garrison.mark={}", state.mark);
    let image = docker.engine.image().await;
    docker.engine.docker(&["create", "--label", &label, "--network", "none", &image, "true"]);
    assert_ne!(docker.engine.containers(&attempt), "");
    let verdict = bury_with(&attempt, &docker.engine.address()).await.unwrap();
    assert!(matches!(verdict.outcome, Outcome::Lost { may_run: false, .. }), "{verdict:?}");
    assert_eq!(docker.engine.containers(&attempt), "");
}

#[tokio::test]
async fn only_containers_that_nobody_owns_are_reaped() {
    let docker = Docker::new(shared().await).await;
    let (root, address) = (docker.host.root(), docker.engine.address());
    let mut handle = docker.start(&["echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    let attempt = handle.attempt().clone();
    assert_eq!(reap(root, &address).await.unwrap(), 0);
    kill_runner(&mut handle).await;
    // That one is to be buried.
    assert_eq!(reap(root, &address).await.unwrap(), 0);
    assert_ne!(docker.engine.containers(&attempt), "");

    let mark = attempt.state().unwrap().mark;
    attempt.clone().remove().unwrap();
    assert_eq!(reap(&root.join("another"), &address).await.unwrap(), 0);
    assert_eq!(reap(root, &address).await.unwrap(), 1);
    let label = format!("label=garrison.mark={mark}");
    assert_eq!(docker.engine.docker(&["ps", "--all", "--quiet", "--filter", &label]), "");
}

#[tokio::test]
async fn an_engine_that_is_restarted_under_a_container_loses_no_verdict() {
    let engine = Engine::start(&["--live-restore"]);
    let docker = Docker::new(&engine).await;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let lines = [&UNTIL_GO[..], &["echo after", "sh -c 'exit 7'"]].concat();
        let mut handle = docker.start(&lines).await;
        until_output(&mut handle, "\nready\n").await;
        engine.stop(signal);
        until_output(&mut handle, "the Docker engine does not answer").await;
        engine.start_again();
        until_output(&mut handle, "the Docker engine is back").await;
        std::fs::write(handle.attempt().work().join("go"), "").unwrap();
        let (attempt, verdict) = docker.finish(handle).await;
        assert_eq!(verdict.outcome.to_string(), "failed: exit status 7", "{signal}");
        assert!(output(&attempt).contains("\nafter\n"), "{}", output(&attempt));
    }
}

#[tokio::test]
async fn an_engine_that_dies_while_it_starts_a_container_leaves_nothing_of_the_job() {
    let engine = Engine::start(&["--live-restore"]);
    let docker = Docker::new(&engine).await;
    let mut handle = docker.start(&["touch started", "sleep 1000"]).await;
    let attempt = handle.attempt().clone();
    // The engine notes only behind the start that the container runs.
    while marked(&attempt).is_empty() {
        if let Ok(event) = timeout(Duration::from_millis(1), handle.next()).await {
            assert!(!matches!(event, Event::Finished(_) | Event::Died), "{event:?}");
        }
    }
    engine.stop(Signal::SIGKILL);
    engine.start_again();
    let ended = timeout(Duration::from_secs(5), async {
        while matches!(handle.next().await, Event::Started { .. } | Event::LogGrew { .. }) {}
    });
    // An engine that knows of the start goes on with the job.
    let handle = match ended.await {
        Ok(()) => Handle::attach(&attempt),
        Err(_) => {
            handle.cancel();
            handle
        }
    };
    let (_, verdict) = docker.finish(handle).await;
    let outcome = verdict.outcome.to_string();
    assert_eq!(marked(&attempt), [0; 0], "{outcome}");
    let forgotten = outcome.contains("while it started the container");
    assert!(forgotten || verdict.outcome == Outcome::Cancelled, "{outcome}");
}

#[tokio::test]
async fn a_container_that_ended_while_its_engine_was_away_keeps_its_verdict() {
    let engine = Engine::start(&["--live-restore"]);
    let docker = Docker::new(&engine).await;
    let mut handle = docker.start(&[&UNTIL_GO[..], &["sh -c 'exit 7'"]].concat()).await;
    until_output(&mut handle, "\nready\n").await;
    engine.stop(Signal::SIGTERM);
    until_output(&mut handle, "the Docker engine does not answer").await;
    let attempt = handle.attempt().clone();
    std::fs::write(attempt.work().join("go"), "").unwrap();
    until("the job has ended", || marked(&attempt).is_empty()).await;
    engine.start_again();
    let (_, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome.to_string(), "failed: exit status 7");
}

#[tokio::test]
async fn a_container_that_its_engine_takes_along_is_no_failure_of_the_job() {
    let engine = Engine::start(&[]);
    let docker = Docker::new(&engine).await;
    let mut handle = docker.start(&["echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    engine.stop(Signal::SIGTERM);
    engine.start_again();
    let (_, verdict) = docker.finish(handle).await;
    let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(reason.contains("live-restore"), "{reason}");
}

#[tokio::test]
async fn a_container_that_somebody_removed_is_lost() {
    let docker = Docker::new(shared().await).await;
    let mut handle = docker.start(&["echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    let id = docker.engine.containers(handle.attempt());
    docker.engine.docker(&["rm", "--force", &id]);
    let (_, verdict) = docker.finish(handle).await;
    // The engine may tell of its end before it forgets it.
    let outcome = verdict.outcome.to_string();
    assert!(outcome.contains("vanished") || outcome == "failed: exit status 137", "{outcome}");
}
