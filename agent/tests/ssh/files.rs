//! Files that are carried to a device and from it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use agent::attempt::Attempt;
use agent::runner::bury::bury;
use agent::runner::handle::Event;
use nix::sys::signal::Signal;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::plan::{Download, Ssh, Task, Upload};

use crate::device::{ADMIN, Device, Setup};
use crate::host::*;

fn upload(from: &str, to: impl Into<String>) -> Upload {
    Upload { from: from.into(), to: to.into(), mode: None }
}

fn download(from: impl Into<String>, to: &str) -> Download {
    Download { from: from.into(), to: to.into() }
}

/// An attempt that carries what `ssh` says, and its working directory.
fn attempt(host: &Host, ssh: Ssh, lines: &[&str]) -> (Attempt, PathBuf) {
    let attempt = host.attempt_with(lines, |job| job.task = Task::Ssh(Box::new(ssh)));
    let work = attempt.dir().join("work");
    fs::create_dir_all(&work).unwrap();
    (attempt, work)
}

async fn run(device: &Device, attempt: &Attempt) -> (Attempt, Verdict) {
    finish(device.spawn(attempt).await).await
}

fn reason(verdict: Verdict) -> String {
    match verdict.outcome {
        Outcome::InfraError { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn files_go_both_ways_whole_and_with_their_permissions() {
    let device = Device::start();
    let host = Host::new();
    let there = device.tmp().display().to_string();
    let ssh = Ssh {
        upload: vec![
            Upload { mode: Some(0o600), ..upload("conf/big", format!("{there}/big")) },
            upload("tool", format!("{there}/")),
            upload("link", "in-home"),
        ],
        download: vec![download(format!("{there}/out"), "logs/deep/"), download("in-home", "copy")],
        ..device.ssh()
    };
    let lines = [
        "cd $TMPDIR; stat -c '%n %a' big tool",
        "sha256sum < big > out; ls -A . | grep garrison-fra && exit 1 || :",
    ];
    let (attempt, work) = attempt(&host, ssh, &lines);
    let big: Vec<u8> = (0..20_000_000_u32).map(|n| (n >> 8 ^ n) as u8).collect();
    fs::create_dir(work.join("conf")).unwrap();
    fs::write(work.join("conf/big"), &big).unwrap();
    fs::write(work.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("tool"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("conf/../tool", work.join("link")).unwrap();
    // Over what is there already.
    fs::write(device.tmp().join("tool"), "older and longer than what comes").unwrap();
    let (attempt, verdict) = run(&device, &attempt).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
    assert!(output.contains("\nbig 600\ntool 755\n"), "{output}");
    let sum = fs::read_to_string(work.join("logs/deep/out")).unwrap();
    let line = format!("uploaded conf/big to {there}/big: 20000000 bytes, SHA-256 {}", &sum[..64]);
    assert!(output.contains(&line), "{line}: {output}");
    assert!(output.contains(&format!("downloaded {there}/out to logs/deep/out: 68 bytes")));
    assert_eq!(fs::read(work.join("copy")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(fs::read(device.tmp().join("tool")).unwrap(), b"#!/bin/sh\n");
    // sshd's home is that of the host's user.
    let home = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().dir;
    fs::remove_file(home.join("in-home")).unwrap();
}

#[tokio::test]
async fn what_cannot_be_uploaded_keeps_the_script_from_running() {
    let device = Device::with(Setup { sudoers: Some(""), ..Setup::default() });
    let host = Host::new();
    for (from, to, part) in [
        ("none", "x", "'none': it is not among the files"),
        ("out", "x", "'out' leads out of the job's working directory"),
        ("folder", "x", "'folder': it is no file"),
        ("file", "/none/x", "'/none/x' there"),
        ("file", "/etc/x", "'/etc/x' there"),
    ] {
        let ssh = Ssh { upload: vec![upload(from, to)], ..device.ssh_of(ADMIN) };
        let (attempt, work) = attempt(&host, ssh, &["echo ran"]);
        fs::create_dir(work.join("folder")).unwrap();
        fs::write(work.join("file"), "x").unwrap();
        symlink("../order", work.join("out")).unwrap();
        let (attempt, verdict) = run(&device, &attempt).await;
        let reason = reason(verdict);
        assert!(reason.contains(part), "{part}: {reason}");
        assert_eq!(output(&attempt), "");
    }
}

#[tokio::test]
async fn what_cannot_be_downloaded_is_told_behind_the_script() {
    let device = Device::start();
    let host = Host::new();
    let there = device.tmp().display().to_string();
    for (from, to, part) in [
        (format!("{there}/none"), "x", "/none' there: No such file"),
        (there.clone(), "x", "there is no file"),
        ("/etc/hostname".to_owned(), "out/x", "'out/x' leads out"),
    ] {
        let ssh = Ssh { download: vec![download(from, to)], ..device.ssh() };
        let (attempt, work) = attempt(&host, ssh, &["echo ran"]);
        symlink("/tmp", work.join("out")).unwrap();
        let (attempt, verdict) = run(&device, &attempt).await;
        assert!(output(&attempt).contains("ran"));
        let reason = reason(verdict);
        assert!(reason.starts_with("the script succeeded on leaf01, but then"), "{reason}");
        assert!(reason.contains(part), "{part}: {reason}");
        device.assert_idle();
    }
}

#[tokio::test]
async fn an_upload_that_is_interrupted_leaves_what_was_there() {
    let device = Device::start();
    let host = Host::new();
    let target = device.tmp().join("firmware");
    fs::write(&target, "old").unwrap();
    let ssh = Ssh { upload: vec![upload("image", target.display().to_string())], ..device.ssh() };
    let files = || {
        fs::read_dir(device.tmp())
            .unwrap()
            .flatten()
            .map(|it| it.file_name().into_string().unwrap())
    };
    let beside = || files().find(|name| name.starts_with(".firmware.garrison-fra-equ01_17.3"));

    // So large that it cannot be there before it is stopped.
    let big = |work: &std::path::Path| {
        fs::File::create(work.join("image")).unwrap().set_len(30 << 30).unwrap();
    };
    let (first, work) = attempt(&host, ssh.clone(), &["echo ran"]);
    big(&work);
    let mut handle = device.spawn(&first).await;
    until("it is being uploaded", || beside().is_some()).await;
    handle.cancel();
    let (first, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled, "{}", output(&first));
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    assert_eq!(beside(), None);

    // A connection that breaks leaves the part beside, and the next attempt takes it away.
    let (second, work) = attempt(&host, ssh.clone(), &["echo ran"]);
    big(&work);
    let handle = device.spawn(&second).await;
    until("it is being uploaded", || beside().is_some()).await;
    for pid in device.connections() {
        signal(pid, Signal::SIGKILL);
    }
    let (second, verdict) = finish(handle).await;
    let reason = reason(verdict);
    assert!(reason.contains("cannot carry 'image'"), "{reason}");
    assert!(!output(&second).contains("ran"));
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    assert!(beside().is_some());

    // So does a runner that dies; nothing of the job runs then.
    fs::remove_file(device.tmp().join(beside().unwrap())).unwrap();
    let (dying, work) = attempt(&host, ssh.clone(), &["echo ran"]);
    big(&work);
    let mut handle = device.spawn(&dying).await;
    until("it is being uploaded", || beside().is_some()).await;
    signal(runners(&dying)[0], Signal::SIGKILL);
    while !matches!(next(&mut handle).await, Event::Died) {}
    let verdict = bury(&dying).await.unwrap();
    assert!(matches!(verdict.outcome, Outcome::Lost { may_run: false, .. }), "{}", verdict.outcome);
    assert_eq!(fs::read_to_string(&target).unwrap(), "old");

    let (third, work) = attempt(&host, ssh, &["echo ran"]);
    fs::write(work.join("image"), "new").unwrap();
    let (third, verdict) = run(&device, &third).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&third));
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(beside(), None);
}

#[tokio::test]
async fn a_device_without_sftp_is_told() {
    let device = Device::with(Setup { config: "Subsystem none /none\n", ..Setup::default() });
    let ssh = Ssh { upload: vec![upload("a", "b")], ..device.ssh() };
    let host = Host::new();
    let (attempt, work) = attempt(&host, ssh, &["echo ran"]);
    fs::write(work.join("a"), "x").unwrap();
    let (_, verdict) = run(&device, &attempt).await;
    let reason = reason(verdict);
    assert!(reason.contains("has the SFTP subsystem"), "{reason}");
}
