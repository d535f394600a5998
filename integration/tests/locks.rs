//! Locks, retries, and operators' words, with the real binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use integration::{World, ok};
use serde_json::Value;

fn pipeline(more: &str, jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [fra]\n{more}jobs:\n{jobs}")
}

/// A job that says when it begins, waits for a file `go`, and says when it ends.
fn gated(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "    process: {{}}\n    run: |\n      echo \"begin $GARRISON_ATTEMPT\" >> {dir}/said\n      \
         until test -e {dir}/go; do sleep 0.05; done\n      \
         echo \"end $GARRISON_ATTEMPT\" >> {dir}/said\n"
    )
}

fn said(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("said")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn job(run: &Value, index: usize) -> &Value {
    &run["jobs"][index]
}

#[test]
fn runs_that_hold_one_lock_never_overlap_and_say_whom_they_wait_for() {
    let dir = tempfile::tempdir().unwrap();
    let text = pipeline("lock: site\n", &format!("  only:\n{}", gated(dir.path())));
    let world = World::start(&["fra"], &text);
    let runs = [world.trigger(), world.trigger(), world.trigger()];
    world.run_when(runs[0], "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    let shown = world.run_when(runs[1], "wait", |run| job(run, 0)["status"] == "queued");
    assert_eq!(job(&shown, 0)["detail"], format!("waits for lock site, held by run {}", runs[0]));
    let locks = world.garrison(&["locks", "list", "-o", "json"]).json();
    assert_eq!(locks[0]["holder"]["run"], runs[0], "{locks}");
    assert_eq!(
        locks[0]["waiting"],
        serde_json::json!([format!("{}.0", runs[1]), format!("{}.0", runs[2])])
    );

    fs::write(dir.path().join("go"), "").unwrap();
    for run in runs {
        assert_eq!(world.finished(run)["status"], "succeeded");
    }
    let order: Vec<String> = runs
        .iter()
        .flat_map(|run| [format!("begin {run}.0.1"), format!("end {run}.0.1")])
        .collect();
    assert_eq!(said(dir.path()), order);
    assert_eq!(world.garrison(&["locks", "list"]).out, "no locks are held\n");
}

#[test]
fn a_job_is_tried_again_as_often_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let flaky = format!(
        "  flaky:\n    process: {{}}\n    run: echo x >> {0}/said; test $(wc -l < {0}/said) = 3\n    \
         retry: {{ max: 2, on: [failed], delay: 1s }}\n",
        dir.path().display()
    );
    let world = World::start(&["fra"], &pipeline("", &flaky));
    let run = world.trigger();
    let shown = world.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    assert_eq!(job(&shown, 0)["attempts"].as_array().unwrap().len(), 3);
    let again = world.finished(world.trigger());
    assert_eq!(again["status"], "failed", "{again:#}");
    assert_eq!(job(&again, 0)["attempts"].as_array().unwrap().len(), 3);
}

#[test]
fn an_operator_declares_an_agent_lost_and_is_shown_what_that_means() {
    let dir = tempfile::tempdir().unwrap();
    let text = pipeline("lock: site\n", &format!("  only:\n{}", gated(dir.path())));
    let mut world = World::start(&["fra"], &text);
    let run = world.trigger();
    world.run_when(run, "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    let lost = ["agents", "lost", "fra/mgmt01", "--confirm", "fra/mgmt01"];
    let refused = world.garrison(&lost);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("is connected and speaks for itself"), "{refused:?}");

    ok(world.site.kill_agent("fra", "mgmt01"));
    world.run_when(run, "be unknown", |run| job(run, 0)["attempts"][0]["status"] == "unknown");
    let unasked = world.garrison(&["agents", "lost", "fra/mgmt01"]);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert!(unasked.err.contains(&format!("has 1 attempts: {run}.0.1")), "{unasked:?}");
    let wrong = world.garrison(&["agents", "lost", "fra/mgmt01", "--confirm", "fra/mgmt02"]);
    assert!(wrong.err.contains("nothing was done"), "{wrong:?}");
    let said = world.garrison(&lost);
    assert_eq!(said.code, 0, "{said:?}");
    let shown = world.finished(run);
    assert_eq!(job(&shown, 0)["status"], "lost");
    assert_eq!(job(&shown, 0)["detail"], "lost: local admin declared agent fra/mgmt01 lost");
    let audit = world.garrison(&["audit", "-o", "json"]).json();
    assert_eq!(audit[0]["text"], format!("declared agent fra/mgmt01 lost, and with it {run}.0.1"));

    // Back again, it ends what nobody waits for, and works on.
    ok(world.site.start_agent("fra", "mgmt01"));
    let next = world.trigger();
    world.run_when(next, "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(world.finished(next)["status"], "succeeded");
    let ends = said_ends(dir.path());
    assert_eq!(ends, [format!("end {next}.0.1")], "the lost attempt was ended");
}

fn said_ends(dir: &Path) -> Vec<String> {
    said(dir).into_iter().filter(|line| line.starts_with("end")).collect()
}

#[test]
fn a_drained_agent_ends_what_it_has_and_gets_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let text = pipeline("", &format!("  only:\n{}", gated(dir.path())));
    let world = World::start(&["fra"], &text);
    let run = world.trigger();
    world.run_when(run, "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    let mut drain = world.spawn(&["agents", "drain", "fra/mgmt01"]);
    let cordoned = || {
        let agents = world.garrison(&["agents", "list", "-o", "json"]).json();
        (agents[0]["cordoned_by"] == "local admin").then_some(())
    };
    ok(garrison::site::wait("the agent to be cordoned", cordoned));
    let waiting = world.trigger();
    world.run_when(waiting, "wait", |run| job(run, 0)["status"] == "queued");
    assert!(drain.try_wait().unwrap().is_none());
    fs::write(dir.path().join("go"), "").unwrap();
    assert!(drain.wait().unwrap().success());
    assert_eq!(world.garrison(&["agents", "uncordon", "fra/mgmt01"]).code, 0);
    assert_eq!(world.finished(waiting)["status"], "succeeded");
}

#[test]
fn breaking_a_lock_names_its_holder_and_frees_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = pipeline("lock: site\n", &format!("  only:\n{}", gated(dir.path())));
    let world = World::start(&["fra"], &text);
    let runs = [world.trigger(), world.trigger()];
    world.run_when(runs[0], "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    let unasked = world.garrison(&["locks", "break", "fra/site"]);
    assert!(unasked.err.contains(&format!("is held by run {}", runs[0])), "{unasked:?}");
    let said = world.garrison(&["locks", "break", "fra/site", "--confirm", "fra/site"]);
    assert_eq!(said.code, 0, "{said:?}");
    world.run_when(runs[1], "run", |run| job(run, 0)["attempts"][0]["status"] == "running");
    fs::write(dir.path().join("go"), "").unwrap();
    for run in runs {
        world.finished(run);
    }
    let none = world.garrison(&["locks", "break", "fra/site", "--confirm", "fra/site"]);
    assert_eq!((none.code, none.err.contains("nobody holds lock fra/site")), (4, true), "{none:?}");
}
