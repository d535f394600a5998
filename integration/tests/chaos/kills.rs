//! Coordinator, agents and runners are killed at random times.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use garrison::site::wait;
use integration::chance::Chance;
use integration::{World, ok, processes};
use serde_json::Value;

use crate::job::{self, Records};

const PARTITIONS: [&str; 2] = ["fra", "muc"];

/// Runs in work at once.
const ACTIVE: usize = 3;

/// What each job prints; a multiple of ten.
const LINES: u32 = 5_000;

/// For how long; `make soak` takes longer.
fn duration() -> Duration {
    let seconds = std::env::var("GARRISON_CHAOS_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

fn pipeline(records: &Records) -> String {
    let print = records.print(LINES);
    let job = |name: &str, more: &str, run: &str| {
        format!("  {name}:\n    process: {{}}\n{more}    run: {run}\n")
    };
    let jobs = [
        job("first", "    lock: site\n", &format!("{print} held")),
        job("second", "    needs: [first]\n    lock: site\n", &format!("{print} held")),
        job(
            "flaky",
            "    retry: { max: 2, on: [failed], delay: 1s }\n",
            &format!("'{print}; case $GARRISON_ATTEMPT in *.1) false;; esac'"),
        ),
        job("make", "    artifacts: { paths: [out] }\n", &format!("'{print}; seq 100000 > out'")),
        job("use", "    needs: [make]\n", &format!("'test $(wc -l < out) = 100000; {print}'")),
    ];
    format!("on: {{ manual: {{}} }}\npartitions: [fra, muc]\njobs:\n{}", jobs.concat())
}

struct Story {
    world: World,
    records: Records,
    chance: Chance,
    runs: Vec<u64>,
    /// Attempts whose runners were killed.
    killed: BTreeSet<String>,
}

impl Story {
    fn begin() -> Story {
        let chance = Chance::new();
        let records = Records::new();
        let world = World::start(&PARTITIONS, &pipeline(&records));
        job::commit(&world);
        Story { world, records, chance, runs: Vec::new(), killed: BTreeSet::new() }
    }

    fn keep_busy(&mut self) {
        let runs: Value = ok(ok(self.world.site.client()).get("/api/v1/runs?limit=100"));
        let runs = runs.as_array().unwrap();
        let active = runs.iter().filter(|run| run["finished_us"].is_null()).count();
        for _ in active..ACTIVE {
            self.runs.push(self.world.trigger());
        }
    }

    fn kill_something(&mut self) {
        match self.chance.below(10) {
            0..2 => self.kill_coordinator(|_| {}),
            2..3 => self.kill_coordinator(Story::kill_agent),
            3..6 => self.kill_agent(),
            _ => self.kill_runner(),
        }
    }

    fn kill_coordinator(&mut self, meanwhile: fn(&mut Story)) {
        ok(self.world.site.kill_coordinator());
        meanwhile(self);
        sleep(self.chance.pause(500));
        ok(self.world.site.start_coordinator());
    }

    fn kill_agent(&mut self) {
        let partition = PARTITIONS[self.chance.below(PARTITIONS.len())];
        ok(self.world.site.kill_agent(partition, "mgmt01"));
        sleep(self.chance.pause(500));
        ok(self.world.site.launch_agent(partition, "mgmt01"));
    }

    fn kill_runner(&mut self) {
        let mut runners = processes::runners(self.world.site.dir());
        if !runners.is_empty() {
            let runner = runners.swap_remove(self.chance.below(runners.len()));
            processes::kill_now(runner.pid);
            self.killed.insert(runner.attempt);
        }
    }

    /// Each run ended as it may, with whole logs.
    fn check(&self, run: u64) {
        let shown = self.world.finished(run);
        job::logs_arrive(&self.world, run);
        for job in shown["jobs"].as_array().unwrap() {
            let status = job["status"].as_str().unwrap();
            assert!(["succeeded", "lost", "skipped"].contains(&status), "{job:#}");
        }
        let (started, ended) = (self.records.said("started"), self.records.said("ended"));
        for attempt in job::attempts(&shown) {
            let id = attempt["id"].as_str().unwrap();
            let has = |list: &[String]| list.iter().any(|it| it == id);
            if attempt["status"] == "lost" {
                assert!(self.killed.contains(id), "nobody killed its runner: {attempt:#}");
            } else {
                assert!(has(&started) && has(&ended), "{attempt:#}");
                job::check_log(&self.world, id, LINES);
            }
        }
    }

    /// Nothing is left of all that ran.
    fn check_hosts(&self) {
        for partition in PARTITIONS {
            let dir = self.world.site.agent_dir(partition, "mgmt01").join("state/attempts");
            let gone = || fs::read_dir(&dir).unwrap().next().is_none().then_some(());
            ok(wait("the attempts' directories to be gone", gone));
        }
        assert_eq!(processes::left_of_jobs(self.world.site.dir()), [""; 0]);
    }
}

#[test]
fn whatever_is_killed_each_attempt_runs_once_and_each_run_ends() {
    let mut story = Story::begin();
    let begun = Instant::now();
    while begun.elapsed() < duration() {
        story.keep_busy();
        story.kill_something();
        sleep(story.chance.pause(700));
    }
    for run in &story.runs {
        story.check(*run);
    }
    story.records.check();
    story.check_hosts();

    let last = story.world.trigger();
    assert_eq!(story.world.finished(last)["status"], "succeeded", "{}", story.world.logs());
    ok(story.world.site.stop_coordinator());
    let config = story.world.site.dir().join("coordinator.toml");
    let replay = ["coordinator", "replay", "--config", config.to_str().unwrap()];
    let said = story.world.garrison(&replay);
    assert_eq!(said.code, 0, "{said:?}");
}
