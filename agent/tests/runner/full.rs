//! Output that there is no room for: it never holds a job up, and the log says what is missing.

use std::process::Command;

use agent::attempt::Attempt;
use agent::runner::handle::Handle;
use agent::runner::handover::Handover;
use agent::spool::{Quota, Reader};
use pipelines::outcome::{Outcome, Verdict};
use proto::log::{self, Frame, Stream};
use sha2::{Digest, Sha256};

use crate::host::*;

async fn start(attempt: &Attempt, quota: Quota) -> Handle {
    let handover = Handover::new(vec![]).with_log_quota(quota);
    launcher().spawn(attempt, &handover).await.unwrap()
}

/// All frames of a log that is as its verdict says.
fn frames(attempt: &Attempt, verdict: &Verdict) -> Vec<Frame> {
    let batch = Reader::open(&attempt.log()).unwrap().read(0, 1 << 30).unwrap();
    let frames = log::frames(&batch.frames, 0).unwrap();
    let mut hash = Sha256::new();
    frames.iter().for_each(|frame| hash.update(&frame.data));
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((batch.end, sha256), (verdict.log.length, verdict.log.sha256.clone()));
    frames
}

fn printed(frames: &[Frame]) -> u64 {
    let stdout = frames.iter().filter(|frame| frame.stream() == Stream::Stdout);
    stdout.map(|frame| frame.data.len() as u64).sum()
}

fn dropped(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.dropped).sum()
}

#[tokio::test]
async fn a_job_that_writes_more_than_its_quota_goes_on_to_its_end() {
    let host = Host::new();
    let lines = ["head -c 20000000 /dev/zero", "echo it ends >&2", "touch ../end"];
    let attempt = host.attempt(&lines);
    let quota = Quota { attempt: 1 << 20, reserve: 0, ..Quota::default() };
    let (attempt, verdict) = finish(start(&attempt, quota).await).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(attempt.dir().join("end").exists());
    let frames = frames(&attempt, &verdict);
    // All that was written is there or counted: twenty million bytes, and a few lines.
    let shown = lines.map(|line| line.len() as u64 + 3).iter().sum::<u64>();
    let stderr = frames.iter().filter(|it| it.stream() == Stream::Stderr);
    let stderr: u64 = stderr.map(|frame| frame.data.len() as u64).sum();
    let all = 20_000_000 + shown + "it ends\n".len() as u64;
    assert_eq!(printed(&frames) + stderr + dropped(&frames), all);
    assert!(std::fs::metadata(attempt.log()).unwrap().len() <= (1 << 20) + 4096);
    let words = "the attempt's log quota was reached\n";
    assert!(output(&attempt).contains(words));
}

/// A small file system in place of a host's attempts, gone with this.
struct SmallDisk<'a>(&'a Host);

impl<'a> SmallDisk<'a> {
    fn mount(host: &'a Host) -> Self {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(host.root())
            .status();
        assert!(mount.unwrap().success(), "mounting a tmpfs needs root");
        Self(host)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.root()).status();
    }
}

#[tokio::test]
async fn a_disk_that_the_job_fills_costs_output_and_neither_the_job_nor_its_verdict() {
    let host = Host::within("attempts");
    let _disk = SmallDisk::mount(&host);
    let lines = [
        "echo before",
        "cat /dev/zero > ballast || true",
        "head -c 3000000 /dev/zero",
        "rm ballast; until test -e ../seen; do echo behind; sleep 0.05; done",
        "cat /dev/zero > ballast || true",
        "head -c 3000000 /dev/zero",
    ];
    let quota = Quota { reserve: 0, ..Quota::default() };
    let mut handle = start(&host.attempt(&lines), quota).await;
    until_output(&mut handle, "\nbehind\nbehind\n").await;
    std::fs::write(handle.attempt().dir().join("seen"), "").unwrap();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", complaint(&attempt));
    let frames = frames(&attempt, &verdict);
    let gaps: Vec<_> = frames.iter().filter(|frame| frame.stream() == Stream::Gap).collect();
    let [first, last] = gaps[..] else { panic!("{} gaps", gaps.len()) };
    assert!(first.data.ends_with(b"missing here: the agent's disk was full\n"));
    // What was reserved before still takes its megabyte.
    assert!((1_900_000..=3_000_200).contains(&first.dropped), "{}", first.dropped);
    assert!((1_900_000..=3_000_200).contains(&last.dropped), "{}", last.dropped);
    let output = String::from_utf8_lossy(&output_of(&attempt, &[Stream::Stdout])).into_owned();
    assert!(output.contains("\nbefore\n"));
    assert_eq!(attempt.state().unwrap().verdict, Some(verdict));
}
