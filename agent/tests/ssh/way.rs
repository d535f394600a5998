//! Devices behind others, and host keys that an authority vouches for.

use std::process::Command;
use std::time::Duration;

use pipelines::outcome::Outcome;
use pipelines::plan::{Hop, Ssh, Task};

use crate::device::{Device, Setup};
use crate::host::*;

/// `device` as a hop of this name.
fn hop(device: &Device, name: &str) -> Hop {
    let ssh = Ssh { device: name.parse().unwrap(), ..device.ssh() };
    ssh.way().pop().unwrap()
}

/// Why a job on `device` did not start.
async fn refusal(device: &Device, ssh: Ssh) -> String {
    match device.run_by(ssh, &Host::new(), &["echo ran"]).await.1.outcome {
        Outcome::InfraError { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_device_is_reached_through_a_chain_of_others() {
    let [mgmt, spine, leaf] = [Device::start(), Device::start(), Device::start()];
    // Whoever logs in at one may log in at all.
    for device in [&mgmt, &spine] {
        std::fs::copy(leaf.key("user.pub"), device.key("authorized")).unwrap();
    }
    let ssh = Ssh { jump: vec![hop(&mgmt, "mgmt01"), hop(&spine, "spine01")], ..leaf.ssh() };
    let host = Host::new();
    let attempt = host.attempt_with(
        &["echo ready; while [ ! -e $TMPDIR/go ]; do sleep 0.01; done", "seq 1 200000"],
        |job| {
            job.task = Task::Ssh(Box::new(ssh.clone()));
        },
    );
    let mut handle = leaf.spawn(&attempt).await;
    until_output(&mut handle, "\nready\n").await;
    for device in [&mgmt, &spine, &leaf] {
        assert_eq!(device.connections().len(), 1);
    }
    std::fs::write(leaf.tmp().join("go"), "").unwrap();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(output(&attempt).ends_with("\n200000\n"));
    until("nothing stays open", || mgmt.connections().is_empty() && spine.connections().is_empty())
        .await;

    // Each has its own pinned key.
    let mut wrong = hop(&spine, "spine01");
    wrong.host_keys = vec![leaf.public("host")];
    let stranger = Ssh { jump: vec![hop(&mgmt, "mgmt01"), wrong], ..leaf.ssh() };
    let reason = refusal(&leaf, stranger).await;
    for part in [
        "jump host spine01 (127.0.0.1, port ",
        &spine.fingerprint("host"),
        &leaf.fingerprint("host"),
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[tokio::test]
async fn a_jump_host_that_lets_nobody_through_is_named() {
    let spine = Device::with(Setup { config: "AllowTcpForwarding no\n", ..Setup::default() });
    let leaf = Device::start();
    std::fs::copy(leaf.key("user.pub"), spine.key("authorized")).unwrap();
    let jump = vec![hop(&spine, "spine01")];
    let reason = refusal(&leaf, Ssh { jump: jump.clone(), ..leaf.ssh() }).await;
    assert!(reason.contains("spine01 does not pass on connections to 127.0.0.1"), "{reason}");
    spine.authorize("other");
    let reason = refusal(&leaf, Ssh { jump, ..leaf.ssh() }).await;
    assert!(reason.contains("jump host spine01") && reason.contains("authorized_keys"), "{reason}");
}

#[tokio::test]
async fn patience_is_as_long_as_the_job_says() {
    let device = Device::start();
    device.signal(nix::sys::signal::Signal::SIGSTOP);
    let before = std::time::Instant::now();
    let reason = refusal(&device, Ssh { timeout_s: Some(1), ..device.ssh() }).await;
    assert!(reason.contains("no answer within 1 s"), "{reason}");
    assert!(before.elapsed() < Duration::from_secs(10));
}

/// Has the device's authority sign its host key, as `arguments` of ssh-keygen say.
fn certify(device: &Device, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-I", "leaf01", "-s"]).arg(device.key("ca")).args(arguments);
    assert!(command.arg(device.key("host.pub")).status().unwrap().success());
}

#[tokio::test]
async fn a_host_key_may_be_vouched_for_by_a_pinned_authority() {
    let device =
        Device::with(Setup { config: "HostCertificate DIR/host-cert.pub\n", ..Setup::default() });
    let host = Host::new();
    let by_authority =
        Ssh { host_key: String::new(), host_ca: vec![device.public("ca")], ..device.ssh() };
    for principal in ["127.0.0.1", "leaf01,other"] {
        certify(&device, &["-h", "-n", principal]);
        let (_, verdict) = device.run_by(by_authority.clone(), &host, &["true"]).await;
        assert_eq!(verdict.outcome, Outcome::Succeeded, "{principal}");
    }
    // A pinned key counts beside, whatever its certificate says.
    certify(&device, &["-h", "-n", "other"]);
    let both = Ssh { host_ca: vec![device.public("ca")], ..device.ssh() };
    let (_, verdict) = device.run_by(both, &host, &["true"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);

    for (arguments, part) in [
        (&["-h", "-n", "leaf02"][..], "neither for 127.0.0.1 nor for leaf01"),
        (&["-h"], "neither for 127.0.0.1 nor for leaf01"),
        (&["-h", "-n", "leaf01", "-V", "20200101:20200102"], "is not valid now"),
        (&["-n", "leaf01"], "pinned"),
    ] {
        certify(&device, arguments);
        let reason = refusal(&device, by_authority.clone()).await;
        assert!(reason.contains(part), "{arguments:?}: {reason}");
    }
    certify(&device, &["-h", "-n", "leaf01"]);
    let stranger = Ssh { host_ca: vec![device.public("user")], ..by_authority };
    let reason = refusal(&device, stranger).await;
    for part in [device.fingerprint("host"), device.fingerprint("ca"), device.fingerprint("user")] {
        assert!(reason.contains(&part), "{part}: {reason}");
    }
}
