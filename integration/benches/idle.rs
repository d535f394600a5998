//! Memory and CPU of an agent and a coordinator that have nothing to do, and of an agent and its
//! runners while 50 attempts wait for something.

use std::fs;
use std::time::Duration;

use garrison::exit::Failure;
use garrison::site::wait;
use integration::ok;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::{figure, is_done, percentile, rss_mb, site, trigger};

const ATTEMPTS: usize = 50;

/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(10);

pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    ok(mkfifo(&fifo, Mode::S_IRWXU).map_err(Failure::internal));
    let job = |n| format!("  j{n}: {{ process: {{}}, run: 'cat {}' }}\n", fifo.display());
    let jobs: String = (0..ATTEMPTS).map(job).collect();
    let site = site(dir.path(), &jobs, ATTEMPTS as u32);
    let client = ok(site.client());
    let agent = site.agent_pid("fra", "mgmt01").unwrap();
    let coordinator = site.coordinator_pid().unwrap();
    for (who, pid) in [("agent", agent), ("coordinator", coordinator)] {
        measure(who, pid);
    }
    trigger(&client, "main");
    ok(wait("all jobs to run", || {
        let run: Value = client.get("/api/v1/runs/1").ok()?;
        let jobs = run["jobs"].as_array()?;
        jobs.iter().all(|job| job["attempts"][0]["status"] == "running").then_some(())
    }));
    measure("agent_50_attempts", agent);
    let mut runners: Vec<f64> = runners_of(agent).into_iter().map(rss_mb).collect();
    assert_eq!(runners.len(), ATTEMPTS);
    runners.sort_by(f64::total_cmp);
    figure("idle", "runner_rss_mb", "MB", percentile(&runners, 0.5), &runners);
    // Whoever waits for the other end goes on.
    drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    ok(wait("the run's end", || is_done(&client).then_some(())));
}

fn measure(who: &str, pid: u32) {
    let before = cpu_ticks(pid);
    std::thread::sleep(WINDOW);
    // Ticks are hundredths of a second on Linux.
    let used = (cpu_ticks(pid) - before) as f64 / WINDOW.as_secs_f64();
    let rss = rss_mb(pid);
    figure("idle", &format!("{who}_rss_mb"), "MB", rss, &[rss]);
    figure("idle", &format!("{who}_cpu_pct"), "%", used, &[used]);
}

/// The agent's children that live.
fn runners_of(agent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|it| it[0] != "Z" && it[1] == agent.to_string()))
        .collect()
}

fn cpu_ticks(pid: u32) -> u64 {
    let fields = stat(pid).unwrap();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// CPU time of a process and of all its children that have ended, in hundredths of a second.
pub(super) fn cpu_ticks_of_all(pid: u32) -> u64 {
    let fields = stat(pid).unwrap();
    fields[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks.
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}
