//! The Docker engine dies under a running container, and the agent and the coordinator with it.

use std::fs;

use agent::executor::docker::Address;
use coordinator::api::types::LogFrame;
use dockerd::Engine;
use garrison::site::{OPEN_POLICY, wait};
use integration::{World, image_at, ok};
use nix::sys::signal::Signal;

use crate::job;

const LINES: u32 = 20_000;

/// A site whose agent uses an engine of its own, and a container in the middle of its work.
struct Story {
    world: World,
    engine: Engine,
    run: u64,
}

impl Story {
    fn begin(args: &[&str]) -> Story {
        let engine = Engine::start(args);
        let half = LINES / 2;
        let text = format!(
            "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  only:\n    \
             container: {{ image: \"{}\", pull: never, network: none }}\n    \
             run: echo $GARRISON_ATTEMPT >> started; seq 1 {half}; \
             until test -e go; do sleep 0.05; done; seq {} {LINES}\n",
            image_at(&Address::new(engine.host())),
            half + 1,
        );
        let mut world = World::without_agents(&["fra"], &text);
        world.site.set_env("DOCKER_HOST", &engine.host());
        ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
        let run = world.trigger();
        let story = Story { world, engine, run };
        ok(wait("the job to start", || (story.started() == "1.0.1\n").then_some(())));
        ok(wait("the engine to know", || (story.engine.running() == 1).then_some(())));
        story
    }

    fn work(&self) -> std::path::PathBuf {
        self.world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.0.1/work")
    }

    /// What the job has recorded of its starts.
    fn started(&self) -> String {
        fs::read_to_string(self.work().join("started")).unwrap_or_default()
    }

    fn all_die(&mut self) {
        self.engine.stop(Signal::SIGKILL);
        ok(self.world.site.kill_agent("fra", "mgmt01"));
        ok(self.world.site.kill_coordinator());
        ok(self.world.site.start_coordinator());
        ok(self.world.site.start_agent("fra", "mgmt01"));
        self.engine.start_again();
    }
}

#[test]
fn a_container_outlives_its_engine_agent_and_coordinator_where_the_engine_has_live_restore() {
    let mut story = Story::begin(&["--live-restore"]);
    story.all_die();
    assert_eq!(story.started(), "1.0.1\n");
    // What it printed before the runner has found it again would be missing, as the log says.
    let frames = || job::frames(&story.world, "1.0.1");
    let is_back = |frame: &LogFrame| frame.text.contains("the Docker engine is back");
    ok(wait("the runner to find it again", || frames().iter().any(is_back).then_some(())));
    fs::write(story.work().join("go"), "").unwrap();
    let shown = story.world.finished(story.run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", story.world.logs());
    assert_eq!(job::attempts(&shown).len(), 1);
    job::logs_arrive(&story.world, story.run);
    job::check_log(&story.world, "1.0.1", LINES);
}

#[test]
fn a_container_that_its_engine_takes_along_is_told_of_once_and_in_words() {
    let mut story = Story::begin(&[]);
    story.all_die();
    let shown = story.world.finished(story.run);
    assert_eq!(shown["jobs"][0]["status"], "infra_error", "{shown:#}");
    let words = shown["jobs"][0]["detail"].as_str().unwrap();
    assert!(words.contains("set `live-restore` for the engine"), "{words}");
    assert_eq!(job::attempts(&shown).len(), 1);
    job::logs_arrive(&story.world, story.run);
}
