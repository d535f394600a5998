//! A host with attempts and runners; whatever still runs at a test's end is ended.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent::attempt::Attempt;
use agent::processes::MARK;
use agent::runner::handle::{Event, Handle, Launcher};
use agent::runner::handover::Handover;
use agent::spool::Reader;
use pipelines::id::RunId;
use pipelines::order::{self, Order};
use pipelines::outcome::Verdict;
use pipelines::plan::{Job, Task};
use proto::log::{self, Stream};
use tempfile::TempDir;
use tokio::time::timeout;

/// No single wait of these tests takes longer, by far.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    root: PathBuf,
    _dir: TempDir,
    next: std::cell::Cell<u32>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::within("")
    }

    /// The same with its attempts in a folder of their own, beside which there is room.
    pub(crate) fn within(folder: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(folder);
        std::fs::create_dir_all(&root).unwrap();
        Self { root, _dir: dir, next: 1.into() }
    }

    /// Where its attempts are.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// An attempt that runs `lines` for at most a minute.
    pub(crate) fn attempt(&self, lines: &[&str]) -> Attempt {
        self.attempt_with(lines, |_| {})
    }

    pub(crate) fn attempt_with(&self, lines: &[&str], change: impl FnOnce(&mut Job)) -> Attempt {
        let number = self.next.replace(self.next.get() + 1);
        let mut order = order(number, lines);
        change(&mut order.job);
        self.create(&order)
    }

    pub(crate) fn create(&self, order: &Order) -> Attempt {
        Attempt::create(&self.root, order.attempt, &order.to_bytes()).unwrap()
    }

    /// Starts `lines` without secrets.
    pub(crate) async fn start(&self, lines: &[&str]) -> Handle {
        spawn(&self.attempt(lines), &[]).await
    }

    /// Runs `lines` to their end.
    pub(crate) async fn run(&self, lines: &[&str]) -> (Attempt, Verdict) {
        finish(self.start(lines).await).await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for attempt in Attempt::all(self.root()).unwrap_or_default() {
            for pid in runners(&attempt).into_iter().chain(marked(&attempt)) {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
            }
        }
    }
}

/// Attempt `number` of one and the same job.
pub(crate) fn order(number: u32, lines: &[&str]) -> Order {
    Order {
        version: order::VERSION,
        attempt: RunId(17).job(3).attempt(number),
        partition: "fra-equ01".parse().unwrap(),
        pipeline: "deploy".parse().unwrap(),
        repository: "metal".parse().unwrap(),
        commit: "c0ffee".repeat(7)[..40].into(),
        reference: "refs/heads/main".into(),
        job: Job::new(
            "job".parse().unwrap(),
            "fra-equ01".parse().unwrap(),
            Task::Process,
            lines.iter().map(|line| (*line).to_owned()).collect(),
        ),
        source: None,
        artifacts: vec![],
        inventory: None,
    }
}

/// Runners whose jobs have 200 ms to end.
pub(crate) fn launcher() -> Launcher {
    Launcher { program: program(), args: vec!["--grace-ms".into(), "200".into()] }
}

/// The example, which `cargo test -p agent` builds beside the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/runner");
    assert!(program.exists(), "{program:?} is missing: run `cargo build -p agent --examples`");
    program
}

pub(crate) async fn spawn(attempt: &Attempt, mask: &[&str]) -> Handle {
    let mask = mask.iter().map(|value| (*value).to_owned()).collect();
    launcher().spawn(attempt, &Handover::new(mask)).await.unwrap()
}

pub(crate) async fn next(handle: &mut Handle) -> Event {
    timeout(PATIENCE, handle.next()).await.expect("an event")
}

/// Follows until the log has `text`.
pub(crate) async fn until_output(handle: &mut Handle, text: &str) {
    while !output(handle.attempt()).contains(text) {
        match next(handle).await {
            Event::Started { .. } | Event::LogGrew { .. } => {}
            last => panic!("{last:?} before '{text}': {}", output(handle.attempt())),
        }
    }
}

/// Follows to the end, which comes once and behind all else.
pub(crate) async fn finish(mut handle: Handle) -> (Attempt, Verdict) {
    let mut length = 0;
    loop {
        match next(&mut handle).await {
            Event::Started { .. } => {}
            Event::LogGrew { length: now } => length = now,
            Event::Finished(verdict) => {
                assert!(length <= verdict.log.length);
                assert!(timeout(Duration::from_millis(20), handle.next()).await.is_err());
                return (handle.attempt().clone(), *verdict);
            }
            Event::Hung => panic!("hung: {}", complaint(handle.attempt())),
            Event::Died => panic!("died: {}", complaint(handle.attempt())),
        }
    }
}

pub(crate) fn complaint(attempt: &Attempt) -> String {
    std::fs::read_to_string(attempt.runner_err()).unwrap_or_default()
}

/// The output of `streams`, as the upload reads it.
pub(crate) fn output_of(attempt: &Attempt, streams: &[Stream]) -> Vec<u8> {
    let (mut reader, mut out, mut offset) = (Reader::open(&attempt.log()).unwrap(), vec![], 0);
    loop {
        let batch = reader.read(offset, 1 << 20).unwrap();
        if batch.frames.is_empty() {
            return out;
        }
        offset = batch.end;
        for frame in log::frames(&batch.frames, batch.offset).unwrap() {
            if streams.contains(&frame.stream()) {
                out.extend_from_slice(&frame.data);
            }
        }
    }
}

pub(crate) fn output(attempt: &Attempt) -> String {
    let all = output_of(attempt, &[Stream::Stdout, Stream::Stderr, Stream::System, Stream::Gap]);
    String::from_utf8(all).unwrap()
}

/// Living processes with the attempt's mark.
pub(crate) fn marked(attempt: &Attempt) -> Vec<i32> {
    let mark = format!("{MARK}={}", attempt.state().unwrap().mark);
    processes(|dir| std::fs::read(dir.join("environ")).is_ok_and(|env| has(&env, &mark)))
}

/// Living runners of the attempt.
pub(crate) fn runners(attempt: &Attempt) -> Vec<i32> {
    let dir = attempt.dir().to_str().unwrap();
    processes(|proc| std::fs::read(proc.join("cmdline")).is_ok_and(|args| has(&args, dir)))
        .into_iter()
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program())
        })
        .collect()
}

pub(crate) fn has(list: &[u8], wanted: &str) -> bool {
    list.split(|byte| *byte == 0).any(|item| item == wanted.as_bytes())
}

pub(crate) fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| wanted(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
