//! Windows, outside of which nothing begins, with the real binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use integration::clock::Clock;
use integration::{Said, World, ok, program};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The machine's clock, in µs since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// A time of each day, in UTC.
fn time(us: u64) -> String {
    format!("{:02}:{:02}", us % DAY / HOUR, us % HOUR / MINUTE)
}

/// An inventory with a window that is open, and one that opens at this moment.
fn inventory(opens: u64) -> String {
    let window =
        |from: u64, to: u64| format!("[{{ from: \"{}\", to: \"{}\" }}]", time(from), time(to));
    format!(
        "partition: fra\ntimezone: UTC\nwindows:\n  now: {}\n  later: {}\ndevices: {{}}\n",
        window(now() - HOUR, now() + HOUR),
        window(opens, opens + HOUR)
    )
}

fn pipeline(window: &str) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\nlock: site\nwindow: {window}\njobs:\n  \
         first: {{ process: {{}}, run: 'true' }}\n  \
         second: {{ needs: [first], process: {{}}, run: 'true' }}\n"
    )
}

/// A site whose pipeline `deploy` begins in a window that opens at this moment, and `free` at any hour.
fn world(opens: u64) -> World {
    let world = World::start(&["fra"], &pipeline("later"));
    let files =
        [("partitions/fra.yaml", inventory(opens)), (".garrison/free.yaml", pipeline("now"))];
    ok(world.site.commit(&files.each_ref().map(|(path, text)| (*path, text.as_str()))));
    world
}

fn waits(run: &Value) -> bool {
    run["jobs"][0]["opens_us"].is_u64()
}

fn statuses(run: &Value) -> [&Value; 2] {
    [0, 1].map(|index| &run["jobs"][index]["status"])
}

/// What somebody hears whose token has this role.
fn says(world: &World, role: &str, arguments: &[&str]) -> Said {
    let token = world.garrison(&["tokens", "create", role, "--role", role]);
    assert_eq!(token.code, 0, "{token:?}");
    let mut command = Command::new(program());
    command.env("GARRISON_URL", ok(world.site.url())).env("GARRISON_TOKEN", token.out.trim());
    Said::from(command.args(arguments).output().unwrap())
}

fn plan(path: &Path) -> Said {
    let (file, partitions) = (path.join(".garrison/deploy.yaml"), path.join("partitions"));
    let arguments = ["plan", file.to_str().unwrap(), "--inventory", partitions.to_str().unwrap()];
    Said::from(Command::new(program()).args(arguments).output().unwrap())
}

#[test]
fn a_run_waits_for_its_window_through_a_crash_and_begins_when_an_admin_says_so() {
    let opens = (now() + 3 * HOUR) / MINUTE * MINUTE;
    let mut world = world(opens);
    let planned = plan(&world.site.repository());
    let words = format!("window in fra: later, every day {}-", time(opens));
    assert!(planned.out.contains(&words), "{planned:?}");

    let run = world.trigger();
    let words = "waits for the window later, which opens ";
    for restarts in [false, true] {
        if restarts {
            ok(world.site.kill_coordinator());
            ok(world.site.start_coordinator());
        }
        let waiting = world.run_when(run, "wait", waits);
        assert_eq!(statuses(&waiting), ["waiting", "waiting"], "{waiting:#}");
        let job = &waiting["jobs"][0];
        assert_eq!(job["opens_us"], opens, "{waiting:#}");
        let detail = job["detail"].as_str().unwrap();
        assert!(detail.starts_with(words), "{detail}");
        assert!(detail.ends_with(&format!(" {} (UTC)", time(opens))), "{detail}");
        assert_eq!(world.garrison(&["locks", "list"]).out, "no locks are held\n");
    }

    // What has a window that is open begins at once, under the lock for which the other does not wait.
    let free = world.garrison(&["trigger", "free", "--repository", "infra", "--follow"]);
    assert_eq!(free.code, 0, "{free:?}");

    let number = run.to_string();
    let word = ["override-window", &number, "--reason", "OPS-12: the link is down"];
    let refused = says(&world, "edit", &word);
    assert!(refused.code == 4 && refused.err.contains("needs admin; edit lacks it"), "{refused:?}");
    let empty = world.garrison(&["override-window", &number, "--reason", " "]);
    assert!(empty.code != 0 && empty.err.contains("needs a reason"), "{empty:?}");
    let of_none = world.garrison(&["override-window", "2", "--reason", "x"]);
    assert!(of_none.err.contains("run 2 has ended already"), "{of_none:?}");
    assert_eq!(statuses(&world.run_when(run, "wait", waits)), ["waiting", "waiting"]);

    let said = says(&world, "admin", &word);
    assert_eq!(said.out, format!("run {run} may begin outside of its window\n"), "{said:?}");
    let done = world.finished(run);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let overridden = &done["window_overridden"];
    assert_eq!(overridden["by"], "admin", "{done:#}");
    assert_eq!(overridden["reason"], "OPS-12: the link is down", "{done:#}");
    let shown = world.garrison(&["show", &number]).out;
    assert!(shown.contains("may begin outside of its window, by admin at "), "{shown}");
    let audit = world.garrison(&["audit", "-o", "json"]).json();
    let text = format!(
        "let run {run} of deploy begin outside of the window later: OPS-12: the link is down"
    );
    assert_eq!(
        (&audit[0]["actor"], &audit[0]["text"]),
        (&json!("admin"), &json!(text)),
        "{audit:#}"
    );
}

#[test]
fn a_window_that_opens_begins_what_waits_by_the_clock_on_the_wall() {
    // Not so far that certificates would not be valid yet.
    let opens = (now() + 50 * MINUTE) / MINUTE * MINUTE;
    let mut world = world(opens);
    let clock = Clock::new(&world.site.dir().join("clock"));
    ok(world.site.stop_coordinator());
    clock.env().iter().for_each(|(name, value)| world.site.set_env(name, value));
    ok(world.site.start_coordinator());
    let run = world.trigger();
    world.run_when(run, "wait", waits);

    // Two seconds before, killed, and back.
    let ahead = opens - 2_000_000 - now();
    clock.shift(&format!("+{:.6}", ahead as f64 / 1e6));
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let done = world.finished(run);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let started = done["jobs"][0]["attempts"][0]["started_us"].as_u64().unwrap();
    assert!(started + ahead >= opens, "{done:#}");
}
