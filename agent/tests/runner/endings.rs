//! How jobs end, and that nothing of them is left then.

use std::ffi::OsString;
use std::process::Command;

use agent::attempt::Condition;
use agent::runner::handle::Launcher;
use agent::runner::handover::Handover;
use nix::sys::signal::Signal;
use pipelines::outcome::{Exit, Outcome};
use proto::log::Stream;

use crate::host::*;

#[tokio::test]
async fn a_job_that_succeeds_shows_its_lines_and_their_output() {
    let host = Host::new();
    let attempt = host.attempt_with(
        &["cd /", "export A=b", "echo \"$PWD $A $FOO\"", "echo \"$GARRISON_ATTEMPT\" >&2"],
        |job| job.env = [("FOO".into(), "bar".into())].into(),
    );
    let (attempt, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    for line in ["$ cd /\n", "$ export A=b\n", "/ b bar\n", "17.3.1\n"] {
        assert!(output.contains(line), "{output}");
    }
    let state = attempt.state().unwrap();
    assert_eq!(verdict.started_us, state.started.map(|started| started.at_us));
    assert_eq!(attempt.condition().unwrap(), Condition::Finished(verdict.into()));
    assert_eq!(complaint(&attempt), "");
}

#[tokio::test]
async fn the_first_line_that_fails_ends_the_job() {
    let host = Host::new();
    let (attempt, verdict) = host.run(&["echo one", "sh -c 'exit 7'", "echo two"]).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(7) });
    assert!(!output(&attempt).contains("two"));
}

#[tokio::test]
async fn a_job_ended_by_a_signal_says_which() {
    let host = Host::new();
    let (_, verdict) = host.run(&["kill -KILL $$"]).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Signal(9) });
}

#[tokio::test]
async fn a_job_sees_only_its_own_environment() {
    let host = Host::new();
    let (attempt, _) = host.run(&["env", "cat"]).await;
    let output = output(&attempt);
    let mut names: Vec<_> =
        output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    let ours = "ATTEMPT COMMIT JOB MARK PARTITION PIPELINE REF REPOSITORY RUN";
    let ours = ours.split(' ').map(|name| format!("GARRISON_{name}"));
    let mut expected: Vec<_> =
        ours.chain(["HOME", "LANG", "PATH", "PWD"].map(Into::into)).collect();
    expected.sort_unstable();
    // Some shells add more of their own.
    names.retain(|name| !["OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_job_is_not_protected_where_memory_is_short_as_its_agent_is() {
    let host = Host::new();
    for (of_agent, of_job) in [("300", "300"), ("-500", "0")] {
        let choom = ["-n", of_agent, "--"];
        if !Command::new("choom").args(choom).arg("true").status().unwrap().success() {
            eprintln!("skipped: nobody may be protected here, which takes CAP_SYS_RESOURCE");
            continue;
        }
        let attempt = host.attempt(&["cat /proc/self/oom_score_adj"]);
        let Launcher { program, args } = launcher();
        let words = choom.map(OsString::from).into_iter().chain([program.into()]).chain(args);
        let launcher = Launcher { program: "choom".into(), args: words.collect() };
        let handle = launcher.spawn(&attempt, &Handover::new(vec![])).await.unwrap();
        let (attempt, _) = finish(handle).await;
        assert_eq!(output(&attempt), format!("$ cat /proc/self/oom_score_adj\n{of_job}\n"));
    }
}

#[tokio::test]
async fn a_job_past_its_time_limit_is_ended_by_force() {
    let host = Host::new();
    let attempt = host.attempt_with(&["trap '' TERM", "sleep 1000 & wait", "sleep 1000"], |job| {
        job.timeout_s = 1;
    });
    let (attempt, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.outcome, Outcome::TimedOut);
    assert_eq!(marked(&attempt), [0; 0]);
    assert!(output(&attempt).contains("time limit passed: ending the job\n"));
}

#[tokio::test]
async fn a_cancelled_job_may_clean_up() {
    let host = Host::new();
    let mut handle =
        host.start(&["trap 'echo cleaned; exit 0' TERM", "sleep 1000 & echo ready; wait"]).await;
    until_output(&mut handle, "\nready\n").await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    assert!(output(&attempt).contains("\ncleaned\n"));
    assert_eq!(marked(&attempt), [0; 0]);
}

#[tokio::test]
async fn a_job_cancelled_before_it_can_be_reached_ends_too() {
    let host = Host::new();
    let mut handle = host.start(&["sleep 1000"]).await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    assert_eq!(marked(&attempt), [0; 0]);
}

/// Daemons that have left their group, session and parent, one also its environment.
const DAEMONS: &str = "setsid sh -c '(sleep 1000 & sleep 1000) & env -i sleep 1000 &' & \
                       sleep 1000 > /dev/null 2>&1 &";

#[tokio::test]
async fn what_a_job_leaves_behind_is_ended_and_holds_nothing_up() {
    let host = Host::new();
    let (attempt, verdict) = host.run(&[DAEMONS, "sleep 0.1; echo done"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert_eq!(marked(&attempt), [0; 0]);
    let output = output(&attempt);
    assert!(output.contains("\ndone\n") && output.contains("processes left behind\n"), "{output}");
}

#[tokio::test]
async fn a_cancel_reaches_daemons() {
    let host = Host::new();
    let mut handle = host.start(&[DAEMONS, "echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    assert_eq!(marked(&attempt), [0; 0]);
}

#[tokio::test]
async fn what_is_written_behind_the_last_line_still_arrives() {
    let host = Host::new();
    let (attempt, _) =
        host.run(&["(while kill -0 $$; do :; done 2> /dev/null; echo late) &"]).await;
    assert!(output_of(&attempt, &[Stream::Stdout]).ends_with(b"\nlate\n"));
}

#[tokio::test]
async fn a_runner_that_is_told_to_end_ends_its_job() {
    let host = Host::new();
    let mut handle = host.start(&["echo ready", "sleep 1000"]).await;
    until_output(&mut handle, "\nready\n").await;
    let runner = runners(handle.attempt())[0];
    signal(runner, Signal::SIGHUP);
    signal(runner, Signal::SIGTERM);
    let (attempt, verdict) = finish(handle).await;
    assert!(
        matches!(&verdict.outcome, Outcome::InfraError { reason } if reason.contains("SIGTERM"))
    );
    assert_eq!(marked(&attempt), [0; 0]);
}

/// Its host shuts down, and signals the job first: all of it, or what its last line waits for.
#[tokio::test]
async fn a_job_that_is_told_to_end_before_its_runner_has_not_failed() {
    let host = Host::new();
    for first in [0, 1] {
        let mut handle = host.start(&["echo ready", "sleep 1000"]).await;
        until_output(&mut handle, "\nready\n").await;
        let runner = runners(handle.attempt())[0];
        until("shell and sleep", || marked(handle.attempt()).len() == 2).await;
        for &process in &marked(handle.attempt())[first..] {
            signal(process, Signal::SIGTERM);
        }
        until("its end", || marked(handle.attempt()).is_empty()).await;
        signal(runner, Signal::SIGTERM);
        let outcome = finish(handle).await.1.outcome;
        let told = matches!(&outcome, Outcome::InfraError { reason } if reason.contains("SIGTERM"));
        assert!(told, "{outcome:?}");
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_ends_without_a_start() {
    let host = Host::new();
    let attempt = host.attempt(&["true"]);
    std::fs::write(attempt.dir().join("order"), r#"{"version":99}"#).unwrap();
    let (_, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.started_us, None);
    assert!(matches!(&verdict.outcome, Outcome::InfraError { reason } if reason.contains("99")));
}
