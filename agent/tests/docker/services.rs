//! Services beside a job: there before its script, on its network, and gone with it.

use agent::executor::docker::reap;
use agent::runner::bury::bury_with;
use agent::runner::handle::Handle;
use agent::runner::handover::Handover;
use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;
use pipelines::plan::{Health, Network, Service};

use crate::engine::{Docker, Engine, shared};
use crate::host::*;
use crate::survival::kill_runner;

/// Runs until it is ended.
const ENDLESS: &str = "echo the service runs; sleep 1000";

/// A job that says `ready` and then runs until its file `go` is there.
const UNTIL_GO: [&str; 2] = ["echo ready", "while [ ! -e go ]; do sleep 0.05; done"];

fn service(name: &str, image: &str, line: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        image: image.to_owned(),
        command: ["sh", "-c", line].map(str::to_owned).to_vec(),
        env: [("WORD".to_owned(), "from env".to_owned())].into(),
        health: None,
        memory: Some(64 << 20),
        millicpus: Some(500),
    }
}

fn healthy(service: Service, run: &str, timeout_s: u32) -> Service {
    Service { health: Some(Health { run: run.to_owned(), interval_s: 1, timeout_s }), ..service }
}

/// A job with these services; nothing has started.
async fn job(
    docker: &Docker<'_>,
    network: Network,
    lines: &[&str],
    services: impl FnOnce(&str) -> Vec<Service>,
) -> agent::attempt::Attempt {
    let image = docker.engine.image().await;
    docker.attempt(lines, |_, container| {
        container.network = network;
        container.services = services(&image);
    })
}

/// What `command` says in each container of an attempt.
fn in_each(engine: &Engine, attempt: &agent::attempt::Attempt, command: &[&str]) -> Vec<String> {
    let containers = engine.containers(attempt);
    let run = |id: &str| engine.docker(&[&["exec", id], command].concat());
    containers.lines().map(run).collect()
}

async fn ready(docker: &Docker<'_>, attempt: &agent::attempt::Attempt) -> Handle {
    let mut handle = docker.spawn(attempt).await;
    until_output(&mut handle, "\nready\n").await;
    handle
}

#[tokio::test]
async fn services_can_be_used_by_their_names_before_the_script_starts() {
    let docker = Docker::new(shared().await).await;
    for network in [Network::None, Network::Host] {
        let lines = ["grep -w -e db -e queue /etc/hosts", UNTIL_GO[0], UNTIL_GO[1]];
        let attempt = job(&docker, network, &lines, |image| {
            let slow = "sleep 0.5; echo $WORD > /word; sleep 1000";
            vec![
                healthy(service("db", image, slow), "grep -x 'from env' /word", 30),
                service("queue", image, ENDLESS),
            ]
        })
        .await;
        let handle = ready(&docker, &attempt).await;
        let seen = in_each(docker.engine, &attempt, &["ls", "-l", "/proc/self/ns/net"]);
        let networks: Vec<_> = seen.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(networks.len(), 3, "{seen:?}");
        assert!(networks.iter().all(|it| *it == networks[0]), "{networks:?}");
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(networks[0] == own.to_string_lossy(), network == Network::Host);
        std::fs::write(attempt.work().join("go"), "").unwrap();
        let (_, verdict) = docker.finish(handle).await;
        let output = output(&attempt);
        assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
        let known = output.lines().filter(|line| line.starts_with("127.0.0.1\t")).count();
        assert_eq!(known, 2, "{output}");
        assert!(output.contains("service db is healthy\nservice queue runs\n"), "{output}");
        assert!(!output.contains("the service runs"), "{output}");
    }
}

#[tokio::test]
async fn a_service_that_ends_before_its_job_ends_that_and_shows_its_last_lines() {
    let docker = Docker::new(shared().await).await;
    let attempt = job(&docker, Network::None, &["echo ready", "sleep 1000"], |image| {
        let dies =
            "seq 1 200; echo the word is hunter2; until test -e /die; do sleep 0.05; done; exit 9";
        vec![service("other", image, ENDLESS), service("db", image, dies)]
    })
    .await;
    let secret = Handover::new(vec!["hunter2".into()]);
    let launcher = docker.launcher(docker.engine.address().to_string().as_str());
    let mut handle = launcher.spawn(&attempt, &secret).await.unwrap();
    until_output(&mut handle, "\nready\n").await;
    let label = format!("label=garrison.mark={}", attempt.state().unwrap().mark);
    let db = docker.engine.docker(&["ps", "--quiet", "--filter", &label, "--filter", "name=-db$"]);
    docker.engine.docker(&["exec", &db, "touch", "/die"]);
    let (_, verdict) = docker.finish(handle).await;
    let output = output(&attempt);
    let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}\n{output}") };
    assert!(reason.contains("service 'db' ended with exit status 9 before the job"), "{reason}");
    let (_, tail) = output.split_once("the last 100 lines of service db:\n").expect(&output);
    assert!(tail.contains("\n200\n") && tail.contains("the word is [masked]\n"), "{output}");
    assert!(tail.contains("service db ended with exit status 9: ending the job\n"), "{output}");
    assert!(!output.contains("\n100\n") && !output.contains("the service runs"), "{output}");
}

#[tokio::test]
async fn a_service_that_is_not_healthy_in_time_keeps_the_script_from_starting() {
    let docker = Docker::new(shared().await).await;
    for (line, words) in [
        (
            ENDLESS,
            "service 'db' was not healthy within 2 s: its health command ended with exit status 3",
        ),
        ("echo the service runs; exit 4", "service 'db' ended with exit status 4"),
    ] {
        let attempt = job(&docker, Network::None, &["echo ready"], |image| {
            vec![healthy(service("db", image, line), "exit 3", 2)]
        })
        .await;
        let (_, verdict) = docker.finish(docker.spawn(&attempt).await).await;
        let output = output(&attempt);
        let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
        assert!(reason.contains(words), "{reason}");
        assert!(output.contains("the last 1 lines of service db:\nthe service runs\n"), "{output}");
        assert!(!output.contains("ready"), "{output}");
    }
}

#[tokio::test]
async fn whatever_ends_the_job_ends_its_services() {
    let docker = Docker::new(shared().await).await;
    let endless =
        |image: &str| vec![service("db", image, ENDLESS), service("queue", image, ENDLESS)];
    // A cancel of the job, and of one that waits for a service.
    let attempt = job(&docker, Network::None, &["echo ready", "sleep 1000"], endless).await;
    let mut handle = ready(&docker, &attempt).await;
    handle.cancel();
    let (_, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);

    let attempt = job(&docker, Network::None, &["echo ready"], |image| {
        vec![healthy(service("db", image, ENDLESS), "touch /asked; sleep 1000", 50)]
    })
    .await;
    let mut handle = docker.spawn(&attempt).await;
    until("the service runs", || !marked(&attempt).is_empty()).await;
    handle.cancel();
    let (_, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);

    // The script's own end, and its time limit.
    let attempt = job(&docker, Network::None, &["exit 5"], endless).await;
    let (_, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome.to_string(), "failed: exit status 5");

    let image = docker.engine.image().await;
    let attempt = docker.attempt(&["sleep 1000"], |job, container| {
        job.timeout_s = 1;
        container.services = endless(&image);
    });
    let (_, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn services_of_a_dead_runner_are_buried_and_those_that_nobody_owns_reaped() {
    let docker = Docker::new(shared().await).await;
    let endless =
        |image: &str| vec![service("db", image, ENDLESS), service("queue", image, ENDLESS)];
    let address = docker.engine.address();
    let attempt = job(&docker, Network::None, &["echo ready", "sleep 1000"], endless).await;
    let mut handle = ready(&docker, &attempt).await;
    assert_eq!(docker.engine.containers(&attempt).lines().count(), 3);
    assert_eq!(attempt.state().unwrap().notes.len(), 3);
    kill_runner(&mut handle).await;
    let verdict = bury_with(&attempt, &address).await.unwrap();
    assert!(matches!(verdict.outcome, Outcome::Lost { may_run: false, .. }), "{verdict:?}");
    assert_eq!(docker.engine.containers(&attempt), "");
    assert_eq!(marked(&attempt), [0; 0]);

    let attempt = job(&docker, Network::None, &["echo ready", "sleep 1000"], endless).await;
    let mut handle = ready(&docker, &attempt).await;
    let state = attempt.state().unwrap();
    kill_runner(&mut handle).await;
    attempt.clone().remove().unwrap();
    assert_eq!(reap(docker.host.root(), &address).await.unwrap(), 3);
    let label = format!("label=garrison.mark={}", state.mark);
    assert_eq!(docker.engine.docker(&["ps", "--all", "--quiet", "--filter", &label]), "");
}

#[tokio::test]
async fn services_outlive_a_restart_of_their_engine_with_the_job() {
    let engine = Engine::start(&["--live-restore"]);
    let docker = Docker::new(&engine).await;
    let attempt =
        job(&docker, Network::None, &UNTIL_GO, |image| vec![service("db", image, ENDLESS)]).await;
    let mut handle = ready(&docker, &attempt).await;
    engine.stop(Signal::SIGKILL);
    until_output(&mut handle, "the Docker engine does not answer").await;
    engine.start_again();
    until_output(&mut handle, "the Docker engine is back").await;
    std::fs::write(attempt.work().join("go"), "").unwrap();
    let (_, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
}
