//! Disks that are full.

use std::fs;
use std::os::unix::fs::symlink;

use garrison::site::{OPEN_POLICY, wait};
use integration::disk::SmallDisk;
use integration::{World, ok};
use serde_json::Value;

use crate::job::{self, Records};

fn pipeline(run: &str) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  only:\n    process: {{}}\n    run: {run}\n"
    )
}

/// A site whose agent has its state on a disk of its own, which goes last.
struct Story {
    world: World,
    disk: SmallDisk,
}

impl Story {
    fn begin(size: &str, run: &str) -> Story {
        let disk = SmallDisk::mount(size);
        let mut world = World::without_agents(&["fra"], &pipeline(run));
        let dir = world.site.agent_dir("fra", "mgmt01");
        fs::create_dir_all(&dir).unwrap();
        symlink(disk.path(), dir.join("state")).unwrap();
        ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
        Story { world, disk }
    }

    /// The state of a run that ends, and the words of its only job.
    fn ends(&self, run: u64) -> (Value, String) {
        let shown = self.world.finished(run);
        job::logs_arrive(&self.world, run);
        let words = shown["jobs"][0]["detail"].as_str().unwrap_or_default().to_owned();
        (shown["jobs"][0]["status"].clone(), words)
    }

    /// Waits until the agent holds nothing that could make room by its end.
    fn rests(&self) {
        let attempts = self.disk.path().join("attempts");
        let gone = || fs::read_dir(&attempts).unwrap().next().is_none().then_some(());
        ok(wait("the attempts' directories to be gone", gone));
    }

    /// There is room again, and it is used.
    fn works_again(self) {
        ok(self.world.site.commit(&[(".garrison/deploy.yaml", &pipeline("echo fine"))]));
        self.rests();
        let run = self.world.trigger();
        assert_eq!(self.ends(run), (Value::from("succeeded"), String::new()));
    }
}

#[test]
fn an_order_that_finds_no_room_is_answered_in_words() {
    let story = Story::begin("16m", "echo fine");
    assert_eq!(story.ends(story.world.trigger()).0, "succeeded");
    story.rests();
    let ballast = story.disk.fill(0);
    let (status, words) = story.ends(story.world.trigger());
    assert_eq!(status, "infra_error");
    assert!(words.contains("nothing was started"), "{words}");
    assert!(words.contains("No space left on device"), "{words}");
    assert!(words.contains("see the disk of the agent's state"), "{words}");
    drop(ballast);
    story.works_again();
}

#[test]
fn a_job_whose_output_finds_no_room_goes_on_and_its_log_says_what_is_missing() {
    const LINES: u32 = 3_000_000;
    // Logs leave 128 MiB free.
    let story = Story::begin("140m", &format!("seq 1 {LINES}"));
    let run = story.world.trigger();
    assert_eq!(story.ends(run), (Value::from("succeeded"), String::new()));
    let frames = job::frames(&story.world, &format!("{run}.0.1"));
    let missing: u64 = frames.iter().map(|frame| frame.dropped).sum();
    let kept = frames.iter().filter(|frame| frame.stream == "stdout");
    let kept: String = kept.map(|frame| frame.text.as_str()).collect();
    let kept = kept.strip_prefix(&format!("$ seq 1 {LINES}\n")).unwrap();
    let all = job::numbers(LINES);
    assert!(all.starts_with(kept) && kept.len() > 1 << 20, "kept {}", kept.len());
    assert_eq!(kept.len() as u64 + missing, all.len() as u64);
    let words = frames.last().unwrap();
    assert_eq!(words.stream, "gap");
    assert!(words.text.ends_with("are missing here: the agent's disk was full\n"), "{words:?}");
    story.works_again();
}

#[test]
fn a_job_whose_files_fill_the_disk_fails_by_its_own_words() {
    let story = Story::begin("16m", "head -c 100M /dev/zero > file");
    let (status, words) = story.ends(story.world.trigger());
    assert_eq!(status, "failed", "{words}");
    story.works_again();
}

#[test]
fn a_job_whose_runner_dies_on_a_full_disk_is_lost_when_there_is_room() {
    let story = Story::begin("16m", "sleep 600");
    let run = story.world.trigger();
    story.world.run_when(run, "run", |run| job::attempts(run)[0]["status"] == "running");
    let ballast = story.disk.fill(0);
    let runners = integration::processes::runners(&story.world.site.agent_dir("fra", "mgmt01"));
    integration::processes::kill_now(runners[0].pid);
    let log = story.world.site.dir().join("agent-fra-mgmt01.log");
    let said = || fs::read_to_string(&log).unwrap().contains("No space left").then_some(());
    ok(wait("the agent to say so", said));
    drop(ballast);
    let (status, words) = story.ends(run);
    assert_eq!(status, "lost", "{words}");
    story.works_again();
}

#[test]
fn agents_work_on_while_the_coordinators_disk_is_full() {
    const LINES: u32 = 1_000_000;
    let disk = SmallDisk::mount("400m");
    let records = Records::new();
    let mut world = World::without_agents(&["fra"], &pipeline(&records.print(LINES)));
    job::commit(&world);
    ok(world.site.stop_coordinator());
    fs::remove_dir_all(world.site.data()).unwrap();
    symlink(disk.path(), world.site.data()).unwrap();
    ok(world.site.start_coordinator());
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
    let run = world.trigger();
    ok(wait("the job to start", || (records.said("started").len() == 1).then_some(())));
    let ballast = disk.fill(0);
    ok(wait("the job to end", || (records.said("ended").len() == 1).then_some(())));
    let said = world.garrison(&["trigger", "deploy", "-r", "infra"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("no space is left"), "{said:?}");
    drop(ballast);
    let shown = world.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", world.logs());
    assert_eq!(job::attempts(&shown).len(), 1);
    job::logs_arrive(&world, run);
    job::check_log(&world, "1.0.1", LINES);
    assert_eq!(world.finished(world.trigger())["status"], "succeeded");
    records.check();
}
