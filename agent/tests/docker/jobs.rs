//! How jobs in containers run and end.

use agent::runner::handle::Event;
use nix::sys::signal::Signal;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Network;
use proto::log::Stream;
use sha2::{Digest, Sha256};

use crate::engine::{Docker, shared};
use crate::host::*;

#[tokio::test]
async fn a_container_job_shows_its_lines_and_their_output() {
    let docker = Docker::new(shared().await).await;
    let (attempt, verdict) =
        docker.run(&["cd /", "export A=b", "echo \"$PWD $A\"", "echo oops >&2"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
    let stdout = String::from_utf8(output_of(&attempt, &[Stream::Stdout])).unwrap();
    assert_eq!(stdout, "$ cd /\n$ export A=b\n$ echo \"$PWD $A\"\n/ b\n$ echo oops >&2\n");
    assert_eq!(output_of(&attempt, &[Stream::Stderr]), b"oops\n");
    assert_eq!(complaint(&attempt), "");
}

#[tokio::test]
async fn fifty_megabytes_arrive_intact_from_a_container() {
    let docker = Docker::new(shared().await).await;
    let line = "seq 1 7000000 | head -c 50000000";
    let (attempt, verdict) = docker.run(&[line]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let mut expected = format!("$ {line}\n").into_bytes();
    let shown = expected.len();
    (1..=7_000_000).for_each(|number| expected.extend(format!("{number}\n").bytes()));
    expected.truncate(shown + 50_000_000);
    let sha256: String = Sha256::digest(&expected).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(verdict.log.length, expected.len() as u64);
    assert_eq!(verdict.log.sha256, sha256);
    assert!(output_of(&attempt, &[Stream::Stdout]) == expected);
}

#[tokio::test]
async fn the_first_line_that_fails_ends_the_container() {
    let docker = Docker::new(shared().await).await;
    let (attempt, verdict) = docker.run(&["echo one", "sh -c 'exit 7'", "echo two"]).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(7) });
    assert!(!output(&attempt).contains("two"));
}

#[tokio::test]
async fn a_container_sees_its_environment_its_workspace_and_no_network() {
    let docker = Docker::new(shared().await).await;
    let lines = ["env", "cat file", "echo done > made", "ls /sys/class/net", "cat"];
    let attempt =
        docker.attempt(&lines, |job, _| job.env = [("FOO".into(), "b a r".into())].into());
    std::fs::write(attempt.work().join("file"), "from the host\n").unwrap();
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
    for line in ["\nFOO=b a r\n", "\nPWD=/work\n", "\nGARRISON_ATTEMPT=17.3.1\n"] {
        assert!(output.contains(line), "{output}");
    }
    assert!(!output.contains("CARGO"), "the host's environment is there: {output}");
    assert!(output.contains("$ cat file\nfrom the host\n"), "{output}");
    assert!(output.ends_with("$ ls /sys/class/net\nlo\n$ cat\n"), "{output}");
    assert_eq!(std::fs::read_to_string(attempt.work().join("made")).unwrap(), "done\n");
}

#[tokio::test]
async fn a_container_may_have_the_hosts_network() {
    let docker = Docker::new(shared().await).await;
    let attempt = docker.attempt(&["cat /proc/net/dev"], |_, container| {
        container.network = Network::Host;
    });
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
    let ours = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    for name in ours.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()) {
        assert!(output.contains(&*name.to_string_lossy()), "{name:?}: {output}");
    }
}

#[tokio::test]
async fn a_cancelled_container_may_end_as_it_likes() {
    let docker = Docker::new(shared().await).await;
    let lines = ["trap 'echo bye; exit 3' TERM", "echo ready", "sleep 1000"];
    let mut handle = docker.start(&lines).await;
    until_output(&mut handle, "\nready\n").await;
    handle.cancel();
    let (attempt, verdict) = docker.finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    let output = output(&attempt);
    assert!(output.contains("cancelled: ending the job\n") && output.contains("bye\n"), "{output}");
}

#[tokio::test]
async fn a_container_that_ignores_sigterm_is_killed() {
    let docker = Docker::new(shared().await).await;
    let mut handle = docker.start(&["trap '' TERM", "echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    signal(runners(handle.attempt())[0], Signal::SIGTERM);
    let (_, verdict) = docker.finish(handle).await;
    assert!(matches!(verdict.outcome, Outcome::InfraError { .. }), "{verdict:?}");
}

#[tokio::test]
async fn output_of_a_container_is_seen_at_once() {
    let docker = Docker::new(shared().await).await;
    let mut handle = docker.start(&["printf 'continue? '", "sleep 1000"]).await;
    let Event::Started { .. } = next(&mut handle).await else { panic!("not started first") };
    until_output(&mut handle, "\ncontinue? ").await;
    handle.cancel();
    docker.finish(handle).await;
}
