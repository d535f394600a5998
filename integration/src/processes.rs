//! Processes that tests kill and freeze: those of a site, and what runs under its agents.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ends a process as a crash would. One that has just ended by itself is as good.
pub fn kill_now(pid: u32) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// A process that is stopped for as long as this lives.
#[derive(Debug)]
pub struct Frozen(Pid);

impl Frozen {
    /// Stops a process.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn freeze(pid: u32) -> Frozen {
        let pid = Pid::from_raw(pid.cast_signed());
        kill(pid, Signal::SIGSTOP).unwrap_or_else(|error| panic!("process {pid}: {error}"));
        Frozen(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// A living runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its attempt, such as `1.0.1`.
    pub attempt: String,
    /// Its process.
    pub pid: u32,
}

/// The runners of the attempts whose directories lie under `folder`.
pub fn runners(folder: &Path) -> Vec<Runner> {
    let runner = |pid: u32| {
        let command = read(pid, "cmdline");
        let (before, dir) = command.trim_end_matches('\0').rsplit_once('\0')?;
        let attempt = Path::new(dir).strip_prefix(folder).ok()?.file_name()?;
        let attempt = attempt.to_string_lossy().into_owned();
        before.ends_with("\0runner").then_some(Runner { attempt, pid })
    };
    let found: Vec<Runner> = pids().into_iter().filter_map(runner).collect();
    // What a runner is just about to start looks like the runner itself.
    let is_child = |it: &Runner| found.iter().any(|other| parent(it.pid) == Some(other.pid));
    found.iter().filter(|it| !is_child(it)).cloned().collect()
}

/// What lives of the jobs whose directories lie under `folder`: process numbers and commands.
pub fn left_of_jobs(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let of_a_job = |pid: &u32| {
        let environment = read(*pid, "environ");
        environment.contains("GARRISON_MARK=") && environment.contains(&folder)
    };
    let words = |pid: u32| format!("{pid} {}", read(pid, "cmdline").replace('\0', " "));
    pids().into_iter().filter(of_a_job).map(words).collect()
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    // The name in parentheses may hold blanks.
    read(pid, "stat").rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Empty for a process that has ended.
fn read(pid: u32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
