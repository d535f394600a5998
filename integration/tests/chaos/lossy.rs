//! Links that lose packets, are slow, and break in the middle of what they carry.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use garrison::site::{OPEN_POLICY, Site, wait, wait_within};
use integration::delay::delay;
use integration::network::Namespace;
use integration::{World, ok, program};
use serde_json::Value;

use crate::job::{self, Records};

/// A site whose one agent lives in a namespace; the namespace goes last.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) records: Records,
    pub(crate) namespace: Namespace,
}

impl Story {
    pub(crate) fn begin(jobs: impl Fn(&Records) -> String) -> Story {
        let namespace = Namespace::new();
        let records = Records::new();
        let dir = tempfile::Builder::new().prefix("garrison-").tempdir().unwrap();
        let mut site = ok(Site::new(dir.path(), &program(), &["fra"]));
        let text = format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{}", jobs(&records));
        let inventory = "partition: fra\ndevices: {}\n";
        ok(site.commit(&[(".garrison/deploy.yaml", &text), ("partitions/fra.yaml", inventory)]));
        site.set_address(namespace.address());
        site.start_agents_by(&namespace.enter());
        ok(site.start_coordinator());
        ok(site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
        let story = Story { world: World { site, dir }, records, namespace };
        job::commit(&story.world);
        story
    }

    /// From now on the agent's way to the coordinator takes `each_way` in each direction.
    fn delay(&mut self, each_way: Duration) {
        ok(self.world.site.stop_agent("fra", "mgmt01"));
        let path = self.world.site.agent_dir("fra", "mgmt01").join("agent.toml");
        let config = fs::read_to_string(&path).unwrap();
        let direct = config.split('"').nth(1).unwrap().trim_start_matches("https://").to_owned();
        let address = self.namespace.address();
        let slow = delay(address, direct.parse().unwrap(), each_way);
        fs::write(path, config.replace(&direct, &slow.to_string())).unwrap();
        ok(self.world.site.start_agent("fra", "mgmt01"));
    }

    /// Commits a file that nobody can make smaller.
    fn commit_noise(&self, megabytes: u64) {
        let mut noise = Vec::new();
        let random = fs::File::open("/dev/urandom").unwrap();
        random.take(megabytes << 20).read_to_end(&mut noise).unwrap();
        fs::write(self.world.site.repository().join("noise"), noise).unwrap();
        ok(self.world.site.commit(&[]));
    }

    /// Such a link takes its time.
    fn finished(&self, run: u64) -> Value {
        let client = ok(self.world.site.client());
        let ended = wait_within(Duration::from_secs(150), "the run's end", || {
            let shown: Value = client.get(&format!("/api/v1/runs/{run}")).ok()?;
            let whole = job::attempts(&shown).iter().all(|it| it["log_complete"] == true);
            (whole && !shown["finished_us"].is_null()).then_some(shown)
        });
        ended.unwrap_or_else(|failure| panic!("{failure}\n{}", self.world.logs()))
    }
}

/// Bytes of content that has begun to arrive under `store`.
fn arriving(store: &Path) -> u64 {
    let files = fs::read_dir(store.join("unfinished")).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[test]
fn a_slow_link_that_loses_packets_loses_no_output_and_runs_nothing_twice() {
    const LINES: u32 = 200_000;
    let mut story = Story::begin(|records| {
        let print = records.print(LINES);
        let job = |name: &str, more: &str| {
            format!("  {name}:\n    process: {{}}\n{more}    run: {print}\n")
        };
        let second = "    needs: [first]\n    artifacts: { paths: [noise] }\n";
        [job("first", ""), job("beside", ""), job("second", second)].concat()
    });
    story.commit_noise(1);
    story.delay(Duration::from_millis(150));
    story.namespace.slow_down("40mbit");
    story.namespace.lose(0.1);
    let run = story.world.trigger();
    let shown = story.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", story.world.logs());
    for attempt in job::attempts(&shown) {
        job::check_log(&story.world, attempt["id"].as_str().unwrap(), LINES);
    }
    assert_eq!(story.records.said("started").len(), 3);
    story.records.check();
}

#[test]
fn a_link_that_breaks_while_it_carries_content_carries_it_when_it_is_back() {
    const LINES: u32 = 10_000;
    let story = Story::begin(|records| {
        format!(
            "  only:\n    process: {{}}\n    artifacts: {{ paths: [noise] }}\n    run: {}\n",
            records.print(LINES)
        )
    });
    story.commit_noise(8);
    story.namespace.slow_down("20mbit");
    let run = story.world.trigger();
    let ends = [
        story.world.site.agent_dir("fra", "mgmt01").join("state/content"),
        story.world.site.data().join("content/store"),
    ];
    let log = story.world.site.dir().join("agent-fra-mgmt01.log");
    let breaks = || fs::read_to_string(&log).unwrap().matches("no link").count();
    for (number, end) in ends.iter().enumerate() {
        let half = || (arriving(end) > 2 << 20).then_some(());
        ok(wait("content to be half there", half));
        story.namespace.refuse();
        ok(wait("the agent to be without a link", || (breaks() > number).then_some(())));
        assert!(arriving(end) < 8 << 20, "it was broken in the middle");
        story.namespace.mend();
    }
    let shown = story.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", story.world.logs());
    job::check_log(&story.world, "1.0.1", LINES);
    assert_eq!(story.records.said("started"), ["1.0.1"]);
}
