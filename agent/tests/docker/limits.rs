//! What keeps a container from running, or from running on.

use std::process::Command;

use agent::runner::handover::Handover;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Pull;

use crate::engine::{Docker, Engine, shared};
use crate::host::*;

#[tokio::test]
async fn a_container_ends_with_its_time_limit() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(&["echo ready", "sleep 1000"], |job, _| job.timeout_s = 1);
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::TimedOut);
    assert!(output(&attempt).contains("\nready\n"), "{}", output(&attempt));
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_fails_and_says_so() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(
        &["tail -c 1G /dev/zero | cat > /dev/null", "tail /dev/zero"],
        |_, container| {
            container.memory = Some(32 << 20);
            container.millicpus = Some(900);
        },
    );
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(137) });
    let output = output(&attempt);
    assert!(output.contains("the container reached its memory limit"), "{output}");
}

#[tokio::test]
async fn an_image_that_is_missing_is_an_error_that_says_what_to_do() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(&["true"], |_, container| container.image = "none:1".into());
    let (_, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(reason.contains("'none:1'") && reason.contains("docker load"), "{reason}");
}

#[tokio::test]
async fn an_image_whose_registry_is_not_there_is_an_error_that_says_what_to_do() {
    let docker = Docker::new(shared().await).await;
    for pull in [Pull::Always, Pull::IfMissing] {
        let attempt = docker.attempt(&["true"], |_, container| {
            container.image = "127.0.0.1:1/none".into();
            container.pull = pull;
        });
        let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
        let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
        assert!(reason.contains("'127.0.0.1:1/none'") && reason.contains("refused"), "{reason}");
        assert!(reason.contains("reaches the registry"), "{reason}");
        assert_eq!(output(&attempt), "pulling 127.0.0.1:1/none\n");
    }
}

#[tokio::test]
async fn a_pull_can_be_cancelled() {
    let docker = Docker::new(shared().await).await;
    // Takes connections and never answers.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let attempt = docker.attempt(&["true"], |_, container| {
        container.image = format!("{}/none:1", registry.local_addr().unwrap());
        container.pull = Pull::IfMissing;
    });
    let mut handle = docker.spawn(&attempt).await;
    until_output(&mut handle, "pulling 127.0.0.1:").await;
    handle.cancel();
    let (_, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn an_image_that_is_there_is_not_pulled() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(&["true"], |_, container| container.pull = Pull::IfMissing);
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert_eq!(output(&attempt), "$ true\n");
}

#[tokio::test]
async fn an_image_without_a_shell_fails_and_says_so() {
    let docker = Docker::new(shared().await).await;
    // The end of an archive, with nothing before it.
    let image = import(&docker, "empty", &[0; 10_240]);
    let attempt = docker.attempt(&["true"], |_, container| container.image = image.clone());
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(127) });
    assert!(output(&attempt).contains("/bin/sh"), "{}", output(&attempt));
    docker.engine.docker(&["rmi", &image]);
}

#[tokio::test]
async fn a_container_that_cannot_be_started_is_an_error_in_the_engines_words() {
    let docker = Docker::new(shared().await).await;
    // A file stands where the script's directory should be.
    std::fs::write(docker.host.root().join("run"), "").unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(docker.host.root()).args(["--create", "run"]);
    let image = import(&docker, "run-is-a-file", &tar.output().unwrap().stdout);
    let attempt = docker.attempt(&["true"], |_, container| container.image = image.clone());
    let (_, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(reason.contains("cannot start") && reason.contains("not a directory"), "{reason}");
    docker.engine.docker(&["rmi", &image]);
}

#[tokio::test]
async fn an_engine_without_an_init_program_runs_jobs_all_the_same() {
    let engine = Engine::start(&["--init-path=/nowhere/docker-init"]);
    let docker = Docker::new(&engine).await;
    let (attempt, verdict) = docker.run(&["echo $$"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
    assert_eq!(output(&attempt), "$ echo $$\n1\n");
}

/// Makes an image of `archive`; gives its name.
fn import(docker: &Docker<'_>, name: &str, archive: &[u8]) -> String {
    let file = docker.host.root().join("archive.tar");
    std::fs::write(&file, archive).unwrap();
    let image = format!("garrison-test-{name}:{}", std::process::id());
    docker.engine.docker(&["import", file.to_str().unwrap(), &image]);
    image
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_an_error_that_says_what_to_do() {
    let docker = Docker::new(shared().await).await;
    let sentences = [
        ("unix:///nowhere.sock", "engine at unix:///nowhere.sock: "),
        ("tcp://127.0.0.1:1", "only its Unix socket is spoken to"),
    ];
    for (address, sentence) in sentences {
        let attempt = docker.attempt(&["true"], |_, _| {});
        let launcher = docker.launcher(address);
        let handle = launcher.spawn(&attempt, &Handover::new(vec![])).await.unwrap();
        let (_, verdict) = docker.finish(handle).await;
        let Outcome::InfraError { reason } = &verdict.outcome else { panic!("{verdict:?}") };
        assert!(reason.contains(sentence) && reason.contains("DOCKER_HOST"), "{reason}");
    }
}
