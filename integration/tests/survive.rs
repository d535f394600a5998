//! A running job outlives the death of the coordinator and of its agent: it goes on, runs once, its
//! log is complete, and its verdict arrives once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use integration::{World, ok};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Counts its starts, prints 20,000 lines on the way, and waits for a word before it ends.
fn pipeline(dir: &Path) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  long:\n    process: {{}}\n    run: |\n      \
         echo started >> {0}/starts\n      i=0\n      while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); \
         [ $i -eq 10000 ] && until test -e {0}/go; do sleep 0.01; done; done\n      echo ended >> {0}/ends\n",
        dir.display()
    )
}

struct Story {
    world: World,
    dir: tempfile::TempDir,
    run: u64,
}

impl Story {
    /// A job that is in the middle of its work.
    fn begin() -> Story {
        let dir = tempfile::tempdir().unwrap();
        let world = World::start(&["fra"], &pipeline(dir.path()));
        let run = world.trigger();
        world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
        Story { world, dir, run }
    }

    fn go_on(&self) {
        fs::write(self.dir.path().join("go"), "").unwrap();
    }

    fn check(&self) {
        let detail = self.world.finished(self.run);
        assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", self.world.logs());
        assert_eq!(detail["jobs"][0]["attempts"].as_array().unwrap().len(), 1);
        for file in ["starts", "ends"] {
            let text = fs::read_to_string(self.dir.path().join(file)).unwrap();
            assert_eq!(text.lines().count(), 1, "{file}");
        }
        let detail = self.world.run_when(self.run, "have its log", log_complete);
        let log = self.world.garrison(&["logs", "1.0.1"]).out;
        assert_eq!(log.len() as u64, detail["jobs"][0]["attempts"][0]["log_length"]);
        let lines: String = (0..20000).map(|n| format!("line {n}\n")).collect();
        let printed = &log[log.find("line 0\n").unwrap()..];
        assert_eq!(Sha256::digest(&printed[..lines.len()]), Sha256::digest(lines));
    }
}

fn log_complete(detail: &Value) -> bool {
    detail["jobs"][0]["attempts"][0]["log_complete"] == true
}

#[test]
fn a_job_outlives_the_coordinator() {
    let mut story = Story::begin();
    ok(story.world.site.kill_coordinator());
    ok(story.world.site.start_coordinator());
    story.go_on();
    story.check();
}

#[test]
fn a_job_that_ends_while_the_coordinator_is_dead_is_heard_of_afterwards() {
    let mut story = Story::begin();
    ok(story.world.site.kill_coordinator());
    story.go_on();
    let ends = story.dir.path().join("ends");
    ok(garrison::site::wait("the job's end", || ends.exists().then_some(())));
    ok(story.world.site.start_coordinator());
    story.check();
}

#[test]
fn a_job_outlives_its_agent() {
    let mut story = Story::begin();
    ok(story.world.site.kill_agent("fra", "mgmt01"));
    story.world.run_when(story.run, "be unknown", |it| {
        it["jobs"][0]["attempts"][0]["status"] == "unknown"
    });
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.go_on();
    story.check();
}

#[test]
fn a_job_that_ends_while_its_agent_is_dead_is_heard_of_afterwards() {
    let mut story = Story::begin();
    ok(story.world.site.kill_agent("fra", "mgmt01"));
    story.go_on();
    let ends = story.dir.path().join("ends");
    ok(garrison::site::wait("the job's end", || ends.exists().then_some(())));
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.check();
}

#[test]
fn a_job_outlives_both_dying_again_and_again() {
    let mut story = Story::begin();
    for _ in 0..3 {
        ok(story.world.site.kill_agent("fra", "mgmt01"));
        ok(story.world.site.kill_coordinator());
        ok(story.world.site.start_coordinator());
        ok(story.world.site.start_agent("fra", "mgmt01"));
    }
    story.go_on();
    story.check();
}

#[test]
fn a_dead_runner_is_told_as_lost() {
    let story = Story::begin();
    let attempts = story.world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.0.1");
    kill_runner(&attempts);
    let detail = story.world.finished(story.run);
    assert_eq!(detail["jobs"][0]["status"], "lost", "{detail:#}");
    assert!(!story.dir.path().join("ends").exists());
}

/// Ends the process that runs `garrison runner DIR`, and nothing else.
fn kill_runner(dir: &Path) {
    let wanted = format!("runner\0{}\0", dir.display());
    let runner = fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let pid: i32 = process.file_name().to_string_lossy().parse().ok()?;
        String::from_utf8_lossy(&command).ends_with(&wanted).then_some(pid)
    });
    let pid = nix::unistd::Pid::from_raw(runner.expect("the runner lives"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
