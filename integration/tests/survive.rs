//! A running job outlives the death of the coordinator and of its agent: it goes on, runs once, its
//! log is complete, and its verdict arrives once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use integration::{World, image, kill_runner, ok};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// By what means the job runs; `{}` in a job.
fn task(kind: &str) -> String {
    match kind {
        "process" => "process: {}".to_owned(),
        _ => format!("container: {{ image: \"{}\", pull: never, network: none }}", image()),
    }
}

/// Says that it starts, prints 20,000 lines, and waits in the middle for a file in its working
/// directory.
fn pipeline(kind: &str) -> String {
    let task = task(kind);
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  long:\n    {task}\n    run: |\n      \
         echo it starts\n      i=0\n      while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); \
         if [ $i -eq 10000 ]; then until test -e go; do sleep 0.01; done; fi; done\n      \
         echo it ends\n      touch end\n"
    )
}

struct Story {
    world: World,
    run: u64,
}

impl Story {
    /// A job that is in the middle of its work.
    fn begin(kind: &str) -> Story {
        let world = World::start(&["fra"], &pipeline(kind));
        let run = world.trigger();
        world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
        Story { world, run }
    }

    fn attempt(&self) -> PathBuf {
        self.world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.0.1")
    }

    fn go_on(&self) {
        fs::write(self.attempt().join("work/go"), "").unwrap();
    }

    fn wait_for_its_end(&self) {
        let end = self.attempt().join("work/end");
        ok(garrison::site::wait("the job's end", || end.exists().then_some(())));
    }

    fn kill_agent(&mut self) {
        ok(self.world.site.kill_agent("fra", "mgmt01"));
    }

    fn check(&self) {
        let detail = self.world.finished(self.run);
        assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", self.world.logs());
        assert_eq!(detail["jobs"][0]["attempts"].as_array().unwrap().len(), 1);
        let detail = self.world.run_when(self.run, "have its log", log_complete);
        let log = self.world.garrison(&["logs", "1.0.1"]).out;
        assert_eq!(log.len() as u64, detail["jobs"][0]["attempts"][0]["log_length"]);
        for once in ["\nit starts\n", "\nit ends\n"] {
            assert_eq!(log.matches(once).count(), 1, "{once:?}");
        }
        let lines: String = (0..20000).map(|n| format!("line {n}\n")).collect();
        let printed = &log[log.find("\nline 0\n").unwrap() + 1..];
        assert_eq!(Sha256::digest(&printed[..lines.len()]), Sha256::digest(lines));
    }
}

fn log_complete(detail: &Value) -> bool {
    detail["jobs"][0]["attempts"][0]["log_complete"] == true
}

fn outlives_the_coordinator(kind: &str) {
    let mut story = Story::begin(kind);
    ok(story.world.site.kill_coordinator());
    ok(story.world.site.start_coordinator());
    story.go_on();
    story.check();
}

fn ends_while_the_coordinator_is_dead(kind: &str) {
    let mut story = Story::begin(kind);
    ok(story.world.site.kill_coordinator());
    story.go_on();
    story.wait_for_its_end();
    ok(story.world.site.start_coordinator());
    story.check();
}

fn outlives_its_agent(kind: &str) {
    let mut story = Story::begin(kind);
    story.kill_agent();
    story.world.run_when(story.run, "be unknown", |it| {
        it["jobs"][0]["attempts"][0]["status"] == "unknown"
    });
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.go_on();
    story.check();
}

fn ends_while_its_agent_is_dead(kind: &str) {
    let mut story = Story::begin(kind);
    story.kill_agent();
    story.go_on();
    story.wait_for_its_end();
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.check();
}

fn outlives_both_dying_again_and_again(kind: &str) {
    let mut story = Story::begin(kind);
    for _ in 0..3 {
        story.kill_agent();
        ok(story.world.site.kill_coordinator());
        ok(story.world.site.start_coordinator());
        ok(story.world.site.start_agent("fra", "mgmt01"));
    }
    story.go_on();
    story.check();
}

fn is_lost_with_its_runner(kind: &str) {
    let story = Story::begin(kind);
    let end = story.attempt().join("work/end");
    kill_runner(&story.attempt());
    let detail = story.world.finished(story.run);
    assert_eq!(detail["jobs"][0]["status"], "lost", "{detail:#}");
    assert!(!end.exists());
}

macro_rules! a_job {
    ($kind:ident: $($story:ident),*) => {
        mod $kind {
            $(#[test]
            fn $story() {
                super::$story(stringify!($kind));
            })*
        }
    };
}

a_job!(process: outlives_the_coordinator, ends_while_the_coordinator_is_dead, outlives_its_agent,
    ends_while_its_agent_is_dead, outlives_both_dying_again_and_again, is_lost_with_its_runner);
a_job!(container: outlives_the_coordinator, ends_while_the_coordinator_is_dead, outlives_its_agent,
    ends_while_its_agent_is_dead, outlives_both_dying_again_and_again, is_lost_with_its_runner);

#[test]
fn every_decision_can_be_repeated_from_the_journal() {
    let mut story = Story::begin("process");
    story.kill_agent();
    ok(story.world.site.kill_coordinator());
    ok(story.world.site.start_coordinator());
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.go_on();
    story.check();
    ok(story.world.site.stop_coordinator());
    let config = story.world.site.dir().join("coordinator.toml");
    let replay = ["coordinator", "replay", "--config", config.to_str().unwrap()];
    let said = story.world.garrison(&replay);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with("decided as before\n"), "{said:?}");
    assert!(!story.world.site.data().join("replay").exists());

    ok(story.world.site.start_coordinator());
    let running = story.world.garrison(&replay);
    assert_eq!(running.code, 2, "{running:?}");
    assert!(running.err.contains("stop that one first"), "{running:?}");
}
