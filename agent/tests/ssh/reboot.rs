//! Devices that are rebooted: sshd is ended and started again with another boot id, by the test.

use agent::attempt::Attempt;
use agent::runner::bury::bury;
use agent::runner::handle::{Event, Handle};
use agent::runner::handover::Handover;
use nix::sys::signal::Signal;
use pipelines::outcome::Outcome;
use pipelines::plan::{HostKey, Reboot, Ssh, Task};

use crate::device::{ADMIN, Device, Setup};
use crate::host::*;

/// What the device does when it is asked to reboot: it says so to the test.
const ASK: &str = "echo asked > $TMPDIR/asked";

fn reboot(device: &Device, wait_s: u32, host_key: HostKey) -> Ssh {
    let reboot = Reboot { wait_s, host_key, run: Some(ASK.into()) };
    Ssh { reboot: Some(reboot), ..device.ssh() }
}

/// Starts a job whose device is asked to reboot when this returns.
async fn asked(device: &Device, host: &Host, ssh: Ssh) -> (Attempt, Handle) {
    let attempt = host.attempt_with(&["echo script"], |job| job.task = Task::Ssh(Box::new(ssh)));
    let folder = device.key("new");
    let _ = std::fs::create_dir(&folder);
    let handover = Handover::new(vec![])
        .with_ssh_keys(vec![device.key("user")])
        .with_new_host_keys(Some(folder));
    let mut handle = launcher().spawn(&attempt, &handover).await.unwrap();
    until_output(&mut handle, " reboots (boot ").await;
    assert_eq!(std::fs::read_to_string(device.tmp().join("asked")).unwrap(), "asked\n");
    (attempt, handle)
}

fn reason(outcome: Outcome) -> String {
    match outcome {
        Outcome::InfraError { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_device_reboots_and_is_back_with_another_boot() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let (_, mut handle) = asked(&device, &host, reboot(&device, 60, HostKey::Pinned)).await;
    device.go_down();
    until_output(&mut handle, "leaf01 is away: ").await;
    device.come_back("second-boot");
    let (attempt, verdict) = finish(handle).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
    assert!(
        output.starts_with(
            "$ echo script\nscript\nleaf01 reboots (boot first-boot): waiting up to 1m for it\n"
        ),
        "{output}"
    );
    assert!(
        output.contains("\nleaf01 is back after ") && output.ends_with(" s (boot second-boot)\n"),
        "{output}"
    );
    assert!(!output.contains("new host key"), "{output}");
}

#[tokio::test]
async fn a_device_that_does_not_go_down_has_not_rebooted() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let (_, handle) = asked(&device, &host, reboot(&device, 9, HostKey::Pinned)).await;
    let reason_of_first = reason(finish(handle).await.1.outcome);
    assert_eq!(
        reason_of_first,
        "leaf01 did not go down within 9s: its boot is still first-boot; see on it what holds up the reboot"
    );
    // Nor has one whose sshd alone was away.
    let (_, mut handle) = asked(&device, &host, reboot(&device, 12, HostKey::Pinned)).await;
    device.go_down();
    until_output(&mut handle, "leaf01 is away: ").await;
    device.come_back("first-boot");
    let reason = reason(finish(handle).await.1.outcome);
    assert!(
        reason.contains("is back within 12s, but did not reboot: its boot is still first-boot"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_device_that_does_not_come_back_is_told_with_what_was_seen_last() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let (_, handle) = asked(&device, &host, reboot(&device, 3, HostKey::Pinned)).await;
    device.go_down();
    let reason = reason(finish(handle).await.1.outcome);
    assert!(
        reason.starts_with("leaf01 did not come back within 3s; what was seen last: "),
        "{reason}"
    );
    assert!(reason.contains("Connection refused"), "{reason}");
}

#[tokio::test]
async fn another_host_key_behind_a_reboot_is_refused_with_both_fingerprints() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let pinned = device.fingerprint("host");
    let (_, handle) = asked(&device, &host, reboot(&device, 12, HostKey::Pinned)).await;
    device.go_down();
    device.reinstall();
    // Which the job has not asked for.
    std::fs::write(device.key("new").join("leaf01.pub"), device.public("host")).unwrap();
    device.come_back("second-boot");
    let reason = reason(finish(handle).await.1.outcome);
    for part in [
        "leaf01 came back with another host key",
        &pinned,
        &device.fingerprint("host"),
        "host_key: renew",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[tokio::test]
async fn a_new_host_key_is_taken_from_where_the_site_says_alone() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let pinned = device.public("host");
    let (_, mut handle) = asked(&device, &host, reboot(&device, 60, HostKey::Renew)).await;
    device.go_down();
    device.reinstall();
    device.come_back("second-boot");
    // Nobody has said anything of it yet, or of another device.
    std::fs::write(device.key("new").join("leaf02.pub"), device.public("host")).unwrap();
    until_output(&mut handle, &device.fingerprint("host")).await;
    let text = format!("{} root@leaf01\n", device.public("host"));
    std::fs::write(device.key("new").join("leaf01.pub"), text).unwrap();
    let (attempt, verdict) = finish(handle).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
    let line =
        format!("leaf01 has a new host key; pin it in the inventory: {}\n", device.public("host"));
    assert!(output.ends_with(&line), "{output}");

    // A wrong one does not let anybody in.
    std::fs::write(device.key("new").join("leaf01.pub"), device.public("user")).unwrap();
    std::fs::remove_file(device.tmp().join("asked")).unwrap();
    let (_, handle) = asked(&device, &host, reboot(&device, 12, HostKey::Renew)).await;
    device.go_down();
    device.reinstall();
    device.come_back("third-boot");
    let reason = reason(finish(handle).await.1.outcome);
    for part in [&device.fingerprint("host"), &device.fingerprint("user"), "ssh.new_host_keys"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_ne!(pinned, device.public("host"));
}

#[tokio::test]
async fn who_does_not_wait_for_a_device_does_not_know_of_it() {
    let mut device = Device::with_boot_id();
    let host = Host::new();
    let (_, mut handle) = asked(&device, &host, reboot(&device, 60, HostKey::Pinned)).await;
    device.go_down();
    handle.cancel();
    let (_, verdict) = finish(handle).await;
    let Outcome::CancelUnconfirmed { reason } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert_eq!(
        reason,
        "cancelled, but leaf01 was asked to reboot and was not seen to be back; see that it is"
    );

    device.come_back("second-boot");
    let attempt = host.attempt_with(&["true"], |job| {
        job.task = Task::Ssh(Box::new(reboot(&device, 60, HostKey::Pinned)));
        job.timeout_s = 2;
    });
    let (_, verdict) = finish(device.spawn(&attempt).await).await;
    let Outcome::CancelUnconfirmed { reason } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert!(reason.starts_with("time limit passed, but leaf01 was asked"), "{reason}");
}

#[tokio::test]
async fn a_runner_that_dies_while_it_waits_leaves_a_device_that_may_be_away() {
    let device = Device::with_boot_id();
    let host = Host::new();
    let (attempt, mut handle) = asked(&device, &host, reboot(&device, 60, HostKey::Pinned)).await;
    signal(runners(&attempt)[0], Signal::SIGKILL);
    while !matches!(next(&mut handle).await, Event::Died) {}
    let verdict = bury(&attempt).await.unwrap();
    let Outcome::Lost { reason, may_run: true } = verdict.outcome else {
        panic!("{}", verdict.outcome)
    };
    assert!(reason.contains("leaf01 was asked to reboot and was not seen to be back"), "{reason}");
}

#[tokio::test]
async fn nothing_is_rebooted_that_should_not_be() {
    let host = Host::new();
    let run = |device: Device, ssh: Ssh, lines: &'static [&'static str]| {
        let attempt = host.attempt_with(lines, |job| job.task = Task::Ssh(Box::new(ssh)));
        async move {
            let (_, verdict) = finish(device.spawn(&attempt).await).await;
            assert!(!device.tmp().join("asked").exists());
            verdict.outcome
        }
    };
    // This host itself, by its boot id.
    let device = Device::start();
    let ssh = reboot(&device, 60, HostKey::Pinned);
    let words = reason(run(device, ssh, &["true"]).await);
    assert!(words.contains("leaf01 is not rebooted: it is the host of this agent"), "{words}");
    // A device whose script has failed.
    let device = Device::with_boot_id();
    let ssh = reboot(&device, 60, HostKey::Pinned);
    assert_eq!(run(device, ssh, &["exit 3"]).await.kind(), "failed");
    // One that refuses.
    let device = Device::with_boot_id();
    let refusing =
        Reboot { wait_s: 60, host_key: HostKey::Pinned, run: Some("echo busy >&2; exit 4".into()) };
    let ssh = Ssh { reboot: Some(refusing), ..device.ssh() };
    let words = reason(run(device, ssh, &["true"]).await);
    assert!(
        words.contains("leaf01 is not rebooted: 'echo busy >&2; exit 4' failed: busy"),
        "{words}"
    );
}

#[tokio::test]
async fn a_reboot_is_asked_for_by_the_user_of_the_script() {
    let mut device = Device::with(Setup {
        sudoers: Some("garrison-test ALL=(ALL) NOPASSWD: ALL"),
        ..Setup::default()
    });
    let host = Host::new();
    let asked = device.tmp().join("asked");
    let run = Some(format!("id -un > {}", asked.display()));
    let reboot = Reboot { wait_s: 60, host_key: HostKey::Pinned, run };
    let ssh = Ssh { reboot: Some(reboot), sudo: Some("root".into()), ..device.ssh_of(ADMIN) };
    let attempt = host.attempt_with(&["true"], |job| job.task = Task::Ssh(Box::new(ssh)));
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, " reboots (boot ").await;
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), "root\n");
    device.go_down();
    device.come_back("second-boot");
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
}
