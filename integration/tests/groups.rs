//! Groups, of which one run at a time is under way, with the real binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use integration::{World, ok};
use serde_json::{Value, json};

/// A pipeline of the group `site` whose job says when it begins, waits for a file `go`, and says when
/// it ends, also when it is ended.
fn pipeline(mode: &str, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\nconcurrency: {{ group: site, mode: {mode} }}\n\
         jobs:\n  only:\n    process: {{}}\n    run: |\n      \
         trap 'sleep 1; echo \"end $GARRISON_ATTEMPT\" >> {dir}/said; exit 1' TERM\n      \
         echo \"begin $GARRISON_ATTEMPT\" >> {dir}/said\n      \
         until test -e {dir}/go; do sleep 0.05; done\n      \
         echo \"end $GARRISON_ATTEMPT\" >> {dir}/said\n"
    )
}

fn said(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("said")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What these runs' jobs say if none begins before the one in front of it has ended.
fn one_by_one(runs: &[u64]) -> Vec<String> {
    let of = |run: &u64| [format!("begin {run}.0.1"), format!("end {run}.0.1")];
    runs.iter().flat_map(of).collect()
}

fn is_running(run: &Value) -> bool {
    run["jobs"][0]["attempts"][0]["status"] == "running"
}

fn show(world: &World, run: u64) -> Value {
    world.garrison(&["show", &run.to_string(), "-o", "json"]).json()
}

#[test]
fn runs_of_a_group_wait_in_order_and_say_for_whom() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(&["fra"], &pipeline("queue", dir.path()));
    let [first, second, third] = [world.trigger(), world.trigger(), world.trigger()];
    world.run_when(first, "run", is_running);
    let waiting = show(&world, second);
    assert_eq!(waiting["status"], "waiting", "{waiting:#}");
    assert_eq!((&waiting["group"], &waiting["waits_for"]), (&json!("site"), &json!(first)));
    assert_eq!(waiting["jobs"][0]["status"], "waiting", "{waiting:#}");
    let words = format!("waits for run {first} (group site)");
    for arguments in [vec!["show".to_owned(), second.to_string()], vec!["runs".to_owned()]] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = world.garrison(&arguments);
        assert!(said.out.contains(&words), "{said:?}");
    }

    // All of it is so again after a crash, and the third is not let in by it.
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    assert_eq!(show(&world, third)["waits_for"], first);
    fs::write(dir.path().join("go"), "").unwrap();
    for run in [first, second, third] {
        assert_eq!(world.finished(run)["status"], "succeeded");
    }
    assert_eq!(said(dir.path()), one_by_one(&[first, second, third]));
}

#[test]
fn of_those_that_wait_only_the_newest_is_kept_and_the_record_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(&["fra"], &pipeline("newest-only", dir.path()));
    let [first, second, third] = [world.trigger(), world.trigger(), world.trigger()];
    let superseded = world.finished(second);
    assert_eq!(superseded["status"], "cancelled", "{superseded:#}");
    assert_eq!(superseded["superseded_by"], third, "{superseded:#}");
    let words = format!("superseded by run {third}");
    let shown = world.garrison(&["show", &second.to_string()]);
    assert!(shown.out.contains(&words), "{shown:?}");

    // One that waits is cancelled at once; one that is tried again stands behind the others.
    let said_so = world.garrison(&["cancel", &third.to_string()]);
    assert_eq!(said_so.code, 0, "{said_so:?}");
    assert_eq!(show(&world, third)["status"], "cancelled");
    let again = world.garrison(&["retry", &second.to_string(), "-o", "json"]).json();
    assert_eq!((&again["status"], &again["superseded_by"]), (&json!("waiting"), &Value::Null));
    fs::write(dir.path().join("go"), "").unwrap();
    for run in [first, second] {
        assert_eq!(world.finished(run)["status"], "succeeded");
    }
    assert_eq!(said(dir.path()), one_by_one(&[first, second]));
}

#[test]
fn a_run_begins_when_the_one_that_it_has_cancelled_has_ended_whatever_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(&["fra"], &pipeline("cancel-running", dir.path()));
    let first = world.trigger();
    world.run_when(first, "run", is_running);
    ok(world.site.kill_agent("fra", "mgmt01"));
    world.run_when(first, "be unknown", |run| run["jobs"][0]["attempts"][0]["status"] == "unknown");
    let second = world.trigger();
    assert_eq!(show(&world, first)["status"], "cancelling");
    assert_eq!(show(&world, second)["waits_for"], first);
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let kept = show(&world, first);
    assert_eq!((&kept["status"], &kept["superseded_by"]), (&json!("cancelling"), &json!(second)));
    assert_eq!(show(&world, second)["status"], "waiting");

    ok(world.site.start_agent("fra", "mgmt01"));
    assert_eq!(world.finished(first)["status"], "cancelled");
    world.run_when(second, "run", is_running);
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(world.finished(second)["status"], "succeeded");
    assert_eq!(said(dir.path()), one_by_one(&[first, second]));
}
