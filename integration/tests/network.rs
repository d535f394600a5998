//! The promise: a job that cuts its own network goes on, ends, and is told of when the link is back;
//! nothing runs twice, no byte of its log is missing, and its lock was held throughout.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use garrison::site::{OPEN_POLICY, Site, wait};
use integration::network::{LINK, Namespace};
use integration::{World, ok, program};
use serde_json::Value;

/// How many lines the job prints: 50 MB.
const LINES: u32 = 6_500_000;

/// How soon after the link's return what waited must run.
const PICKUP: Duration = Duration::from_secs(5);

/// How long the link is cut; `make soak` takes ten minutes.
fn cut() -> Duration {
    let seconds = std::env::var("GARRISON_CUT_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

fn pipeline(dir: &Path) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\nlock: firewall\njobs:\n  firewall:\n    \
         process: {{}}\n    run: |\n      echo $GARRISON_ATTEMPT >> {0}/started\n      \
         if test -e {0}/cut; then exit 0; fi\n      touch {0}/cut\n      \
         /usr/sbin/ip link set {LINK} down\n      seq 1 {LINES}\n      echo it ends\n      \
         touch {0}/ended\n",
        dir.display()
    )
}

/// A site whose one agent lives in a namespace; the namespace goes last.
struct Story {
    world: World,
    namespace: Namespace,
}

impl Story {
    fn new() -> Story {
        let namespace = Namespace::new();
        let dir = tempfile::Builder::new().prefix("garrison-").tempdir().unwrap();
        let mut site = ok(Site::new(dir.path(), &program(), &["fra"]));
        let text = pipeline(dir.path());
        let inventory = "partition: fra\ndevices: {}\n";
        ok(site.commit(&[(".garrison/deploy.yaml", &text), ("partitions/fra.yaml", inventory)]));
        site.set_address(namespace.address());
        site.start_agents_by(&namespace.enter());
        ok(site.start_coordinator());
        ok(site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
        Story { world: World { site, dir }, namespace }
    }

    /// Cuts the link by a job, lets `meanwhile` happen again and again until the time is over, and
    /// looks at what came of it.
    fn tell(mut self, mut meanwhile: impl FnMut(&mut World)) {
        let run = self.world.trigger();
        let marker = |name: &str| self.world.dir.path().join(name);
        let (cut_at, ended, started) = (marker("cut"), marker("ended"), marker("started"));
        ok(wait("the job to cut its link", || cut_at.exists().then_some(())));
        let begun = Instant::now();
        let second = self.world.trigger();
        while begun.elapsed() < cut() {
            meanwhile(&mut self.world);
            let waiting = self.world.run_when(second, "be there", |_| true);
            assert_eq!(waiting["jobs"][0]["status"], "queued", "the lock is held");
        }
        assert!(ended.exists(), "the job ended behind its cut link");
        let shown = self.world.run_when(run, "be unknown", |run| attempt(run) == "unknown");
        assert_eq!(shown["status"], "active");

        self.namespace.up();
        let back = Instant::now();
        let both = || (fs::read_to_string(&started).ok()?.lines().count() == 2).then_some(());
        ok(wait("the second run to start", both));
        assert!(back.elapsed() < PICKUP, "it was picked up after {:?}", back.elapsed());
        let shown = self.world.finished(run);
        assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", self.world.logs());
        assert_eq!(shown["jobs"][0]["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(self.world.finished(second)["status"], "succeeded");
        let starts = fs::read_to_string(started).unwrap();
        assert_eq!(starts, format!("{run}.0.1\n{second}.0.1\n"));
        self.world.run_when(run, "have its log", |run| {
            run["jobs"][0]["attempts"][0]["log_complete"] == true
        });
        let log = self.world.garrison(&["logs", &format!("{run}.0.1")]).out;
        // In front of what it prints, the script itself is shown.
        let printed: Vec<&str> = log.lines().skip_while(|line| *line != "1").collect();
        let (last, numbers) = printed.split_last().unwrap();
        assert_eq!((*last, numbers.len()), ("it ends", LINES as usize));
        assert!(numbers.iter().zip(1_u32..).all(|(line, number)| *line == number.to_string()));
    }
}

fn attempt(run: &Value) -> &Value {
    &run["jobs"][0]["attempts"][0]["status"]
}

#[test]
fn a_job_survives_its_own_network() {
    Story::new().tell(|_| std::thread::sleep(Duration::from_secs(1)));
}

#[test]
fn a_job_survives_its_own_network_while_the_coordinator_dies_again_and_again() {
    Story::new().tell(|world| {
        ok(world.site.kill_coordinator());
        ok(world.site.start_coordinator());
        std::thread::sleep(Duration::from_secs(3));
    });
}
