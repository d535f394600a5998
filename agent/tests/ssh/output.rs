//! What arrives from a device, and what arrives there.

use pipelines::outcome::{Exit, Outcome};
use proto::log::Stream;
use sha2::{Digest, Sha256};

use crate::device::Device;
use crate::host::*;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_hundred_megabytes_arrive_intact_and_stderr_apart() {
    let (device, host) = (Device::start(), Host::new());
    let line = "seq 1 14000000 | head -c 100000000 | tee numbers.$$";
    let sum = "sha256sum < numbers.$$ >&2; rm numbers.$$";
    let (attempt, verdict) = device.run(&host, &["cd $TMPDIR", line, sum]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let stdout = output_of(&attempt, &[Stream::Stdout]);
    let head = format!("$ cd $TMPDIR\n$ {line}\n");
    let numbers = &stdout[head.len()..][..100_000_000];
    assert!(stdout.starts_with(head.as_bytes()) && numbers.starts_with(b"1\n2\n3\n"));
    let stderr = String::from_utf8(output_of(&attempt, &[Stream::Stderr])).unwrap();
    assert_eq!(stderr, format!("{}  -\n", sha256(numbers)));
    device.assert_idle();
    assert_eq!(device.records(), [""; 0]);
}

#[tokio::test]
async fn the_log_says_which_device_it_is_of() {
    let (device, host) = (Device::start(), Host::new());
    let (attempt, _) = device.run(&host, &["echo one; echo two >&2"]).await;
    let batch = agent::spool::Reader::open(&attempt.log()).unwrap().read(0, 1 << 20).unwrap();
    let frames = proto::log::frames(&batch.frames, batch.offset).unwrap();
    assert!(!frames.is_empty());
    assert!(frames.iter().all(|frame| frame.device == "leaf01"));
    let (attempt, _) = host.run(&["echo one"]).await;
    let batch = agent::spool::Reader::open(&attempt.log()).unwrap().read(0, 1 << 20).unwrap();
    let frames = proto::log::frames(&batch.frames, batch.offset).unwrap();
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame.device.is_empty()));
}

#[tokio::test]
async fn the_first_line_that_fails_ends_the_job_with_its_code() {
    let (device, host) = (Device::start(), Host::new());
    let (attempt, verdict) = device.run(&host, &["echo one", "sh -c 'exit 7'", "echo two"]).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(7) });
    assert!(output(&attempt).ends_with("\none\n$ sh -c 'exit 7'\n"));
}

#[tokio::test]
async fn a_job_ended_by_a_signal_says_which() {
    let (device, host) = (Device::start(), Host::new());
    for (signal, number) in [("KILL", 9), ("TERM", 15)] {
        let (_, verdict) = device.run(&host, &[&format!("kill -{signal} $$")]).await;
        assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Signal(number) });
    }
}

#[tokio::test]
async fn the_environment_arrives_as_it_is() {
    let (device, host) = (Device::start(), Host::new());
    let odd = "it's \"$HOME\" $(touch $TMPDIR/ran) `id` \\ !x ;&|<>*\n#garrison-end\n\ttab é";
    let attempt = host.attempt_with(&["printenv ODD; printenv GARRISON_ATTEMPT; cat"], |job| {
        device.task()(job);
        job.env = [("ODD".into(), odd.into())].into();
    });
    let (attempt, verdict) = finish(device.spawn(&attempt).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    assert!(output.ends_with(&format!("; cat\n{odd}\n{}\n", attempt.id())), "{output}");
    assert!(!device.tmp().join("ran").exists());
}

#[tokio::test]
async fn two_jobs_on_one_device_do_not_disturb_each_other() {
    let (device, host) = (Device::start(), Host::new());
    let mut other = order(1, &["echo ready", "sleep 1000"]);
    device.task()(&mut other.job);
    other.attempt = other.attempt.job.run.job(4).attempt(1);
    let mut long = device.spawn(&host.create(&other)).await;
    until_output(&mut long, "\nready\n").await;

    let lines = ["echo $GARRISON_ATTEMPT; while [ ! -e $TMPDIR/go ]; do sleep 0.01; done"];
    let mut short = device.job(&host, &lines).await;
    until_output(&mut short, "17.3.1\n").await;
    long.cancel();
    let (attempt, verdict) = finish(long).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    assert!(!output(&attempt).contains("17.3"));
    std::fs::write(device.tmp().join("go"), "").unwrap();
    let (attempt, verdict) = finish(short).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(output(&attempt).ends_with("done\n17.3.1\n"), "{}", output(&attempt));
    device.assert_idle();
}
