//! Devices whose command line is no POSIX shell: an sshd that hands each command to a program.

use nix::sys::signal::Signal;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{Kind, Ssh, Task};

use crate::device::{Device, Setup};
use crate::host::*;

/// Knows three commands, and none of a shell's.
const COMMANDS: &str = "ForceCommand case \"$SSH_ORIGINAL_COMMAND\" in \
    \"show version\") echo 'version 4.2 (it is)' ;; \
    hang) echo hanging; exec sleep 1000 ;; \
    terminal) test -t 1 && echo a terminal ;; \
    *) echo \"unknown command '$SSH_ORIGINAL_COMMAND'\"; exit 3 ;; esac\n";

fn device() -> Device {
    Device::with(Setup { config: COMMANDS, ..Setup::default() })
}

fn cli(device: &Device) -> Ssh {
    Ssh { device_kind: Kind::Cli, ..device.ssh() }
}

#[tokio::test]
async fn each_line_is_a_command_of_its_own_and_the_first_that_fails_ends_the_job() {
    let device = device();
    let host = Host::new();
    let (attempt, verdict) =
        device.run_by(cli(&device), &host, &["show version", "show version"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let once = "$ show version\nversion 4.2 (it is)\n";
    assert_eq!(output(&attempt), once.repeat(2));
    let lines = ["show version", "echo $HOME; id", "show version"];
    let (attempt, verdict) = device.run_by(cli(&device), &host, &lines).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(3) });
    let rest = "$ echo $HOME; id\nunknown command 'echo $HOME; id'\n";
    assert_eq!(output(&attempt), format!("{once}{rest}"));
    let ssh = Ssh { pty: true, ..cli(&device) };
    let (attempt, verdict) = device.run_by(ssh, &host, &["terminal"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert_eq!(output(&attempt), "$ terminal\na terminal\r\n");
}

#[tokio::test]
async fn a_cancel_is_never_confirmed() {
    let device = device();
    let host = Host::new();
    let attempt = host.attempt_with(&["hang", "show version"], |job| {
        job.task = Task::Ssh(Box::new(cli(&device)));
    });
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, "hanging\n").await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    let Outcome::CancelUnconfirmed { reason } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert_eq!(
        reason,
        "cancelled, but 'hang' may still be carried out on leaf01, which nobody can see"
    );
    assert_eq!(output(&attempt), "$ hang\nhanging\n");
}

#[tokio::test]
async fn a_line_without_an_end_is_lost() {
    let device = device();
    let host = Host::new();
    let attempt = host.attempt_with(&["hang"], |job| job.task = Task::Ssh(Box::new(cli(&device))));
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, "hanging\n").await;
    for pid in device.connections() {
        signal(pid, Signal::SIGKILL);
    }
    let (_, verdict) = finish(handle).await;
    let Outcome::Lost { reason, may_run: true } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert!(reason.contains("'hang' may still be carried out on leaf01"), "{reason}");
}

#[tokio::test]
async fn a_runner_that_dies_leaves_a_line_that_may_run() {
    let device = device();
    let host = Host::new();
    let attempt = host.attempt_with(&["hang"], |job| job.task = Task::Ssh(Box::new(cli(&device))));
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, "hanging\n").await;
    signal(runners(&attempt)[0], Signal::SIGKILL);
    while !matches!(next(&mut handle).await, agent::runner::handle::Event::Died) {}
    let verdict = agent::runner::bury::bury(&attempt).await.unwrap();
    let Outcome::Lost { reason, may_run: true } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert!(reason.contains("its last line may still be carried out on leaf01"), "{reason}");
}

#[tokio::test]
async fn a_line_that_is_refused_was_not_carried_out() {
    let device = Device::with(Setup { config: "PermitTTY no\n", ..Setup::default() });
    let ssh = Ssh { pty: true, ..cli(&device) };
    let host = Host::new();
    let (_, verdict) = device.run_by(ssh, &host, &["show version"]).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    assert!(
        reason.starts_with("'show version' on leaf01: it refuses to run a command"),
        "{reason}"
    );
}
