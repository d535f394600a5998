//! Schedules, with the real binary under a wall clock that the test sets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use garrison::client::Client;
use garrison::site::{wait, wait_within};
use integration::clock::Clock;
use integration::disk::SmallDisk;
use integration::{World, ok};
use pipelines::schedule::{Missed, Schedule};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The machine's clock, in µs since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Each day at this time, in UTC.
fn daily(at: u64) -> String {
    let (minute, hour) = (at % HOUR / MINUTE, at % DAY / HOUR);
    format!("{minute} {hour} * * *")
}

/// A full minute in two hours or so.
fn soon() -> u64 {
    (now() + 2 * HOUR) / MINUTE * MINUTE
}

/// How the coordinator shows a moment in UTC.
fn shown(us: u64) -> String {
    let utc = Schedule {
        cron: "* * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        inputs: [].into(),
        missed: Missed::Once,
    };
    utc.local(us)
}

fn pipeline(schedules: &str) -> String {
    format!(
        "on:\n  manual: {{}}\n  schedule:\n{schedules}inputs:\n  check: {{ type: bool, default: false }}\n\
         partitions: [fra]\njobs:\n  one: {{ process: {{}}, run: date }}\n"
    )
}

/// A site without agents whose coordinator has a clock of its own.
struct Night {
    world: World,
    clock: Clock,
}

impl Night {
    fn new(schedules: &str) -> Night {
        let mut world = World::without_agents(&["fra"], &pipeline(schedules));
        let clock = Clock::new(&world.site.dir().join("clock"));
        ok(world.site.stop_coordinator());
        clock.env().iter().for_each(|(name, value)| world.site.set_env(name, value));
        ok(world.site.start_coordinator());
        Night { world, clock }
    }

    /// The coordinator's clock shows this moment; gives by how much it is ahead.
    fn set(&self, us: u64) -> u64 {
        let ahead = us - now();
        self.clock.shift(&format!("+{:.6}", ahead as f64 / 1e6));
        ahead
    }

    fn schedules(&self) -> Vec<Value> {
        let listed = self.world.garrison(&["schedules", "list", "-o", "json"]).json();
        listed.as_array().cloned().unwrap_or_else(|| panic!("{listed}"))
    }

    /// Waits until so many schedules are known.
    fn know(&self, count: usize) -> Vec<Value> {
        let known = || Some(self.schedules()).filter(|all| all.len() == count);
        wait("the schedules", known).unwrap_or_else(|it| panic!("{it}\n{}", self.world.logs()))
    }

    /// Runs, the oldest first.
    fn runs(&self) -> Vec<Value> {
        let runs = self.world.garrison(&["runs", "-o", "json"]).json();
        runs.as_array().unwrap().iter().rev().cloned().collect()
    }

    /// Waits until there are so many runs.
    fn ran(&self, count: usize) -> Vec<Value> {
        let ran = || Some(self.runs()).filter(|runs| runs.len() >= count);
        let runs = wait_within(Duration::from_secs(60), "the runs", ran);
        runs.unwrap_or_else(|failure| panic!("{failure}\n{}", self.world.logs()))
    }
}

#[test]
fn a_time_starts_a_schedule_once_whoever_is_killed_around_it() {
    let due = soon();
    let inputs = "inputs: { check: true }";
    let mut night = Night::new(&format!("    - {{ cron: \"{}\", {inputs} }}\n", daily(due)));
    let known = night.know(1);
    assert_eq!((&known[0]["next_us"], &known[0]["missed"]), (&json!(due), &json!("once")));
    let listed = night.world.garrison(&["schedules", "list"]).out;
    let utc = shown(due);
    assert!(listed.contains("deploy") && listed.contains(utc.trim_end_matches(" UTC")), "{listed}");

    // Only who may see one of its partitions sees it.
    for (partition, count) in [("fra", 1), ("muc", 0)] {
        let create = ["tokens", "create", partition, "--role", "view", "--partition", partition];
        let made = night.world.garrison(&[&create[..], &["-o", "json"]].concat()).json();
        let token = made["token"].as_str().unwrap_or_else(|| panic!("{made}"));
        let client = Client::new(&ok(night.world.site.url()), token);
        let seen: Vec<Value> = ok(client.get("/api/v1/schedules"));
        assert_eq!(seen.len(), count, "{partition}");
    }

    // Killed just before it, and then as soon as it serves again, again and again.
    let ahead = night.set(due - 2_000_000);
    let arrived = || (now() + ahead >= due - 20_000).then_some(());
    ok(wait("the time", arrived));
    for _ in 0..6 {
        ok(night.world.site.kill_coordinator());
        ok(night.world.site.start_coordinator());
    }
    let runs = night.ran(1);
    let run = night.world.garrison(&["show", "1", "-o", "json"]).json();
    assert_eq!(run["actor"], format!("schedule of {utc}"), "{run:#}");
    assert_eq!(run["inputs"], json!({ "check": "true" }), "{run:#}");
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let moved = night.know(1);
    assert_eq!((&moved[0]["next_us"], &moved[0]["last"]["runs"]), (&json!(due + DAY), &json!([1])));

    // The time comes again by a clock that was set back, and nothing starts; then the next day's.
    night.set(due - 1_000_000);
    ok(night.world.site.kill_coordinator());
    ok(night.world.site.start_coordinator());
    night.set(due + DAY - 500_000);
    let runs = night.ran(2);
    assert_eq!(runs[1]["actor"], format!("schedule of {}", shown(due + DAY)));
    assert_eq!(runs.len(), 2, "{runs:#?}");
    let audit = night.world.garrison(&["audit", "-o", "json"]).json();
    assert_eq!(audit, json!([]));
}

#[test]
fn of_times_that_were_missed_the_latest_is_made_up_for_if_that_is_wanted() {
    let due = soon();
    let (once, skip) = (daily(due), daily(due + MINUTE));
    let schedules =
        format!("    - {{ cron: \"{once}\" }}\n    - {{ cron: \"{skip}\", missed: skip }}\n");
    let mut night = Night::new(&schedules);
    night.know(2);
    ok(night.world.site.stop_coordinator());
    let later = due + 3 * DAY + HOUR;
    night.set(later);
    ok(night.world.site.start_coordinator());
    let runs = night.ran(1);
    assert_eq!(runs[0]["actor"], format!("schedule of {}", shown(due + 3 * DAY)));
    let audit = night.world.garrison(&["audit", "-o", "json"]).json();
    let words: Vec<&str> =
        audit.as_array().unwrap().iter().rev().map(|it| it["text"].as_str().unwrap()).collect();
    let of =
        |cron: &str| format!("schedule '{cron} UTC' of .garrison/deploy.yaml in infra was missed");
    let made_up =
        format!("{} at {}: started for {} instead", of(&once), shown(due), shown(due + 3 * DAY));
    let left = format!("{} at {}: not started", of(&skip), shown(due + MINUTE));
    assert_eq!(words, [&made_up, &left]);
    let log = night.world.logs();
    assert!(log.contains(&made_up) && log.contains(&left), "{log}");
    let next: Vec<Value> = night.schedules().iter().map(|it| it["next_us"].clone()).collect();
    assert_eq!(next, [json!(due + 4 * DAY), json!(due + 4 * DAY + MINUTE)]);
    assert_eq!(night.runs().len(), 1);
}

#[test]
fn a_schedule_is_due_too_while_its_repository_is_away() {
    let due = soon();
    let mut night = Night::new(&format!("    - {{ cron: \"{}\" }}\n", daily(due)));
    let commit = night.know(1)[0]["commit"].clone();
    ok(night.world.site.kill_coordinator());
    let repository = night.world.site.repository();
    std::fs::rename(&repository, repository.with_extension("away")).unwrap();
    night.set(due - 1_000_000);
    ok(night.world.site.start_coordinator());
    let runs = night.ran(1);
    assert_eq!((&runs[0]["status"], &runs[0]["commit"]), (&json!("active"), &commit), "{runs:#?}");
    let log = night.world.logs();
    assert!(log.contains("is taken as it was last fetched"), "{log}");
}

#[test]
fn a_schedule_that_is_due_while_the_disk_is_full_starts_when_there_is_room() {
    // It goes last.
    let disk = SmallDisk::mount("400m");
    let due = soon();
    let mut night = Night::new(&format!("    - {{ cron: \"{}\" }}\n", daily(due)));
    night.know(1);
    let site = &mut night.world.site;
    ok(site.stop_coordinator());
    let (data, full) = (site.data(), disk.path().join("data"));
    let moved = Command::new("mv").arg(&data).arg(&full).status().unwrap();
    assert!(moved.success());
    symlink(&full, &data).unwrap();
    ok(site.start_coordinator());
    // 64 MiB must be free.
    let ballast = disk.fill(32 << 20);
    night.set(due);
    let refused = || night.world.logs().matches("nothing was done").count();
    ok(wait("the disk to be found full", || (refused() > 0).then_some(())));
    drop(ballast);
    assert_eq!(night.ran(1)[0]["actor"], format!("schedule of {}", shown(due)));
    assert!(refused() < 4, "{}", night.world.logs());
}

#[test]
fn a_push_changes_the_schedules_and_what_nobody_told_of_counts_when_one_is_due() {
    let due = soon();
    let schedule = |at: u64| format!("    - {{ cron: \"{}\" }}\n", daily(at));
    let night = Night::new(&schedule(due));
    night.know(1);
    let site = &night.world.site;
    let two = pipeline(&format!("{}{}", schedule(due), schedule(due + HOUR)));
    let pushed = ok(site.push(&[(".garrison/deploy.yaml", &two)]));
    let known = night.know(2);
    assert!(known.iter().all(|it| it["commit"] == pushed.commit), "{known:#?}");
    assert_eq!(known[0]["next_us"], due);

    // What nobody was told of is found when the schedule is due: it is there no more.
    ok(site.commit(&[(".garrison/deploy.yaml", &pipeline(&schedule(due + HOUR)))]));
    night.set(due);
    let last = || night.schedules().iter().find_map(|it| it["last"]["trigger"].as_u64());
    let trigger = ok(wait("the schedule to be due", last));
    let path = format!("/api/v1/triggers/{trigger}");
    let resolved = || {
        let shown: Value = site.client().ok()?.get(&path).ok()?;
        (shown["status"] != "pending").then_some(shown)
    };
    let shown = ok(wait("its resolution", resolved));
    assert_eq!((&shown["status"], &shown["runs"]), (&json!("resolved"), &json!([])), "{shown:#}");
    let listed = night.world.garrison(&["schedules", "list"]).out;
    assert!(listed.contains(&format!("none (trigger {trigger})")), "{listed}");

    ok(site.push(&[(".garrison/deploy.yaml", "on: { manual: {} }\n")]));
    night.know(0);
    assert_eq!(night.world.garrison(&["schedules", "list"]).out, "no schedules\n");
}
