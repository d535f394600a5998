//! Devices that are not reached, and what is said then.

use std::path::PathBuf;

use agent::attempt::Attempt;
use pipelines::outcome::Outcome;
use pipelines::plan::{Ssh, Task};

use crate::device::{Device, spawn};
use crate::host::*;

/// Why nothing was started on `ssh` with `keys`.
async fn refusal(device: &Device, ssh: Ssh, keys: &[PathBuf]) -> String {
    let host = Host::new();
    let attempt = host.attempt_with(&["echo ran"], |job| job.task = Task::Ssh(Box::new(ssh)));
    let (attempt, verdict) = finish(spawn(&attempt, keys).await).await;
    assert_eq!(output(&attempt), "");
    assert!(!device.record_dir().exists());
    match verdict.outcome {
        Outcome::InfraError { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn another_host_key_is_refused_with_both_fingerprints() {
    let device = Device::start();
    let ssh = Ssh { host_key: device.public("user"), ..device.ssh() };
    let reason = refusal(&device, ssh, &[device.key("user")]).await;
    for part in [&device.fingerprint("host"), &device.fingerprint("user"), "nothing was started"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    // Of a kind that the device has a key of.
    let ssh = Ssh { host_key: device.public("other"), ..device.ssh() };
    let reason = refusal(&device, ssh, &[device.key("user")]).await;
    for part in [device.fingerprint("host_ecdsa"), device.fingerprint("other")] {
        assert!(reason.contains(&part), "{part}: {reason}");
    }
}

#[tokio::test]
async fn each_of_a_devices_host_keys_may_be_pinned_and_each_key_is_tried() {
    let device = Device::start();
    device.authorize("other");
    let host = Host::new();
    let ssh = Ssh { host_key: device.public("host_ecdsa"), ..device.ssh() };
    let attempt: Attempt = host.attempt_with(&["true"], |job| job.task = Task::Ssh(Box::new(ssh)));
    let keys = [device.key("user"), device.key("other")];
    let (_, verdict) = finish(spawn(&attempt, &keys).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_device_may_show_any_of_its_pinned_host_keys() {
    let device = Device::start();
    let (ed25519, ecdsa) = (device.public("host"), device.public("host_ecdsa"));
    let (user, other) = (device.public("user"), device.public("other"));
    let ssh = Ssh { host_key: user.clone(), more_host_keys: vec![other.clone()], ..device.ssh() };
    let reason = refusal(&device, ssh, &[device.key("user")]).await;
    let pinned = format!("{} or {}", device.fingerprint("user"), device.fingerprint("other"));
    assert!(reason.contains(&pinned) && reason.contains(&device.fingerprint("host")), "{reason}");

    // What cannot be checked here does not matter beside what can.
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAABAwAAAAEF".to_owned();
    for pinned in [[&user, &ed25519], [&other, &ecdsa], [&user, &ecdsa], [&rsa, &ecdsa]] {
        let host = Host::new();
        let [first, more] = pinned.map(String::clone);
        let ssh = Ssh { host_key: first, more_host_keys: vec![more], ..device.ssh() };
        let attempt: Attempt =
            host.attempt_with(&["true"], |job| job.task = Task::Ssh(Box::new(ssh)));
        let (_, verdict) = finish(spawn(&attempt, &[device.key("user")]).await).await;
        assert_eq!(verdict.outcome, Outcome::Succeeded, "{pinned:?}");
    }
}

#[tokio::test]
async fn a_user_is_let_in_by_the_right_key_alone() {
    let device = Device::start();
    let reason = refusal(&device, device.ssh(), &[device.key("other")]).await;
    assert!(reason.contains("/other") && reason.contains("authorized_keys"), "{reason}");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named() {
    let device = Device::start();
    let reason = refusal(&device, device.ssh(), &[device.key("none")]).await;
    assert!(reason.contains("/none") && reason.contains("ssh.keys"), "{reason}");
    let reason = refusal(&device, device.ssh(), &[device.key("user.pub")]).await;
    assert!(reason.contains("/user.pub") && reason.contains("ssh.keys"), "{reason}");
    let reason = refusal(&device, device.ssh(), &[]).await;
    assert!(reason.contains("ssh.keys"), "{reason}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told() {
    let device = Device::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ssh = Ssh { port: free, ..device.ssh() };
    let reason = refusal(&device, ssh, &[device.key("user")]).await;
    let begin = format!("device leaf01 (127.0.0.1, port {free}): ");
    assert!(reason.starts_with(&begin) && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_job_cancelled_before_its_device_answers_is_cancelled() {
    let device = Device::start();
    device.signal(nix::sys::signal::Signal::SIGSTOP);
    let host = Host::new();
    let mut handle = device.job(&host, &["true"]).await;
    handle.cancel();
    let (_, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
}
