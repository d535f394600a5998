//! Leases with the real binaries. The least that the language allows is a minute, so these tests take
//! a little longer than that.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use garrison::site::wait;
use integration::{World, ok};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// `leased` may go on without the coordinator for a minute, `patient` for as long as it takes. Each
/// notes every tenth of a second that it runs, until it may end.
const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra, muc]\njobs:\n  leased:\n    \
                        process: {}\n    run: &run until test -e go; do touch runs; sleep 0.1; \
                        done\n    on_lost: fail\n    lost_after: 1m\n  patient:\n    \
                        process: {}\n    run: *run\n";

const MINUTE: Duration = Duration::from_secs(60);

struct Story {
    world: World,
    run: u64,
}

impl Story {
    /// Both jobs run in both partitions.
    fn begin() -> Story {
        let world = World::start(&["fra", "muc"], PIPELINE);
        let run = world.trigger();
        world.run_when(run, "run", |detail| {
            let jobs = detail["jobs"].as_array().unwrap();
            jobs.iter().all(|job| job["attempts"][0]["status"] == "running")
        });
        Story { world, run }
    }

    fn attempt(&self, partition: &str, name: &str) -> PathBuf {
        let detail = self.world.garrison(&["show", "1", "-o", "json"]).json();
        let id = job(&detail, partition, name)["attempts"][0]["id"].as_str().unwrap().to_owned();
        self.world.site.agent_dir(partition, "mgmt01").join("state/attempts").join(id)
    }
}

fn job<'a>(detail: &'a Value, partition: &str, name: &str) -> &'a Value {
    let jobs = detail["jobs"].as_array().unwrap().iter();
    let mut found = jobs.filter(|job| job["partition"] == partition && job["name"] == name);
    found.next().unwrap()
}

/// Whether a job's script has run within the last second.
fn runs(attempt: &Path) -> bool {
    let touched = fs::metadata(attempt.join("work/runs")).unwrap().modified().unwrap();
    touched.elapsed().unwrap_or_default() < Duration::from_secs(1)
}

fn wait_until_it_ends(attempt: &Path) -> Instant {
    let deadline = Instant::now() + 2 * MINUTE;
    while runs(attempt) {
        assert!(Instant::now() < deadline, "{} still runs", attempt.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    Instant::now()
}

#[test]
fn a_job_ends_by_itself_when_its_agent_is_dead_or_without_the_coordinator_for_its_lease() {
    let mut story = Story::begin();
    let leased = ["fra", "muc"].map(|partition| story.attempt(partition, "leased"));
    let patient = ["fra", "muc"].map(|partition| story.attempt(partition, "patient"));
    ok(story.world.site.kill_agent("muc", "mgmt01"));
    let coordinator = Pid::from_raw(story.world.site.coordinator_pid().unwrap().cast_signed());
    kill(coordinator, Signal::SIGSTOP).unwrap();
    let cut = Instant::now();
    for attempt in &leased {
        let lasted = wait_until_it_ends(attempt).duration_since(cut);
        // The last heartbeat was at most 5 s old, and the last sign of life is one.
        assert!(lasted > MINUTE - Duration::from_secs(6), "{lasted:?}");
        assert!(lasted < MINUTE + Duration::from_secs(5), "{lasted:?}");
    }
    for attempt in &patient {
        assert!(runs(attempt), "{}", attempt.display());
        fs::write(attempt.join("work/go"), "").unwrap();
    }
    kill(coordinator, Signal::SIGCONT).unwrap();
    ok(story.world.site.start_agent("muc", "mgmt01"));
    let detail = story.world.finished(story.run);
    for partition in ["fra", "muc"] {
        let job = |name| job(&detail, partition, name);
        assert_eq!(job("patient")["status"], "succeeded", "{detail:#}");
        assert_eq!(job("leased")["status"], "lost", "{detail:#}");
        let outcome = job("leased")["attempts"][0]["outcome"].to_string();
        assert!(outcome.contains("the agent was without the coordinator for 1m"), "{outcome}");
    }
}

#[test]
fn a_job_outlives_its_lease_while_its_agent_is_linked() {
    let story = Story::begin();
    let begun = Instant::now();
    let attempts = ["leased", "patient"]
        .into_iter()
        .flat_map(|name| ["fra", "muc"].map(|partition| story.attempt(partition, name)))
        .collect::<Vec<_>>();
    while begun.elapsed() < MINUTE + Duration::from_secs(8) {
        for attempt in &attempts {
            assert!(runs(attempt), "{}\n{}", attempt.display(), story.world.logs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for attempt in &attempts {
        fs::write(attempt.join("work/go"), "").unwrap();
    }
    assert_eq!(story.world.finished(story.run)["status"], "succeeded");
}

#[test]
fn an_agents_labels_are_shown() {
    let mut world = World::start(&["fra"], PIPELINE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    let config = world.site.agent_dir("fra", "mgmt01").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}labels = {{ site = \"north\", rack = \"R1.7\" }}\n"))
        .unwrap();
    ok(world.site.start_agent("fra", "mgmt01"));
    let shown = ok(wait("the labels to be shown", || {
        let said = world.garrison(&["agents", "list"]);
        said.out.contains("rack=R1.7 site=north").then_some(said)
    }));
    assert!(shown.out.contains("LABELS"), "{shown:?}");
    let agents = world.garrison(&["agents", "list", "-o", "json"]).json();
    assert_eq!(agents[0]["labels"]["site"], "north");
}
