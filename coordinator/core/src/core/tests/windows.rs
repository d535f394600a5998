//! Stories about windows, outside of which no work begins.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Plan;

use super::world::{World, deploy, gated, locked, paired, person, windowed};
use crate::actor::{Actor, Role};
use crate::run::Run;

/// Monday before the window of [`windowed`].
const MONDAY: &str = "2026-11-23T12:00:00Z";

/// When it opens on Tuesday, and when it closes.
const OPENS: &str = "2026-11-24T02:30:00Z";
const CLOSES: &str = "2026-11-24T04:00:00Z";

fn world(at: &str, plan: Plan) -> World {
    let mut world = World::new();
    world.join("fra/mgmt01", 8);
    world.wall_clock(at);
    world.trigger("delivery-1", plan);
    world
}

/// The states of a run's jobs.
fn kinds(world: &World, run: u64) -> String {
    let jobs = world.store.jobs.values().filter(|job| job.id.run.0 == run);
    jobs.map(|job| job.state.kind()).collect::<Vec<_>>().join(" ")
}

/// When the core wants to be woken, as RFC 3339 writes it.
fn next(world: &World) -> Option<String> {
    let next = world.core.next_opening(crate::event::Wall(world.now))?;
    Some(jiff::Timestamp::from_microsecond(next.0 as i64).unwrap().to_string())
}

fn anna() -> Actor {
    person("anna", Role::Admin, &[])
}

#[test]
fn a_run_waits_for_the_window_and_goes_on_when_that_has_closed() {
    let mut world = world(MONDAY, windowed(deploy(&["fra"])));
    assert_eq!(kinds(&world, 1), "waiting waiting waiting");
    assert_eq!(next(&world).as_deref(), Some(OPENS));
    world.wall_clock("2026-11-24T02:29:59Z");
    assert_eq!(kinds(&world, 1), "waiting waiting waiting");
    world.wall_clock(OPENS);
    assert_eq!(kinds(&world, 1), "active waiting waiting");
    assert_eq!(next(&world), None);
    world.wall_clock(CLOSES);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded active waiting");
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn within_its_window_a_run_begins_at_once_and_each_partition_by_its_own() {
    let mut plan = windowed(deploy(&["fra", "muc"]));
    plan.windows[1].timezone = "America/New_York".into();
    let mut world = world(OPENS, plan);
    world.join("muc/mgmt01", 8);
    assert_eq!(kinds(&world, 1), "active waiting waiting waiting waiting waiting");
    // 03:30 in New York; in Berlin it is closed by now.
    world.wall_clock("2026-11-24T08:30:00Z");
    assert_eq!(kinds(&world, 1), "active waiting waiting active waiting waiting");
}

#[test]
fn a_restart_and_a_clock_that_jumps_lose_no_window() {
    let mut world = world(MONDAY, windowed(deploy(&["fra"])));
    world.restart();
    world.connect("fra/mgmt01");
    world.wait(0);
    assert_eq!(
        (kinds(&world, 1).as_str(), next(&world).as_deref()),
        ("waiting waiting waiting", Some(OPENS))
    );
    // Over the whole window: the next one is waited for.
    world.wall_clock("2026-11-24T12:00:00Z");
    assert_eq!(kinds(&world, 1), "waiting waiting waiting");
    assert_eq!(next(&world).as_deref(), Some("2026-11-25T02:30:00Z"));
    // Back to where one opens before that.
    world.wall_clock("2026-11-17T12:00:00Z");
    assert_eq!(next(&world).as_deref(), Some("2026-11-18T02:30:00Z"));
    world.now -= 1_000_000;
    assert_ne!(next(&world).as_deref(), Some("2026-11-18T02:30:00Z"));
    // The window opens while nobody is there.
    world.wall_clock("2026-11-17T12:00:00Z");
    world.now += 15 * 60 * 60 * 1_000_000;
    world.restart();
    world.connect("fra/mgmt01");
    assert_eq!(kinds(&world, 1), "waiting waiting waiting");
    world.wait(0);
    assert_eq!(kinds(&world, 1), "active waiting waiting");
}

#[test]
fn who_waits_holds_nothing() {
    let mut world = world(MONDAY, windowed(locked(&["fra"])));
    assert!(world.store.locks.is_empty());
    world.trigger("delivery-2", locked(&["fra"]));
    assert_eq!(kinds(&world, 2), "active waiting waiting");
    world.wall_clock(OPENS);
    assert_eq!(kinds(&world, 1), "queued waiting waiting");
    world.cancel(1);
    assert_eq!(world.status(1), "cancelled");
}

#[test]
fn a_gate_opens_in_the_window_and_what_it_lets_through_later_waits_for_the_next() {
    let mut plan = windowed(gated(&["fra"]));
    plan.jobs.remove(0);
    plan.jobs[0].needs.clear();
    plan.jobs[0].timeout_s = 24 * 60 * 60;
    plan.jobs[1].needs = vec![0];
    // One beside it is not answered at all: it is nobody's work.
    let name = "unasked".parse().unwrap();
    plan.jobs.push(pipelines::plan::Job { name, ..plan.jobs[0].clone() });
    let mut world = world(MONDAY, plan);
    assert_eq!(kinds(&world, 1), "waiting waiting waiting");
    world.wall_clock(OPENS);
    assert_eq!(kinds(&world, 1), "open waiting open");
    world.wall_clock(CLOSES);
    world.approve(&anna(), "1.0");
    world.approve(&person("ben", Role::Admin, &[]), "1.0");
    assert_eq!(kinds(&world, 1), "approved waiting open");
    assert_eq!(next(&world).as_deref(), Some("2026-11-25T02:30:00Z"));
    world.wall_clock("2026-11-25T02:30:00Z");
    assert_eq!(kinds(&world, 1), "approved active expired");
}

#[test]
fn a_rollout_begins_no_other_device_when_the_window_has_closed() {
    let mut world = world(OPENS, windowed(paired(1, None)));
    assert_eq!(kinds(&world, 1), "active waiting waiting waiting waiting waiting");
    world.wall_clock(CLOSES);
    // The device that was begun is seen through.
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded waiting waiting active waiting waiting");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded waiting waiting succeeded waiting waiting");
    world.wall_clock("2026-11-25T02:30:00Z");
    assert_eq!(kinds(&world, 1), "succeeded active waiting succeeded waiting waiting");
}

#[test]
fn what_is_tried_again_waits_for_a_window_again() {
    let mut world = world(OPENS, windowed(deploy(&["fra"])));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    world.wall_clock(CLOSES);
    world.retry(1);
    assert_eq!(kinds(&world, 1), "succeeded waiting waiting");
    world.wall_clock("2026-11-25T02:30:00Z");
    assert_eq!(kinds(&world, 1), "succeeded active waiting");
}

#[test]
fn an_admin_of_all_its_partitions_lets_a_run_begin_at_once() {
    let mut world = world(MONDAY, windowed(deploy(&["fra", "muc"])));
    world.trigger("delivery-2", deploy(&["fra"]));
    world.override_window(&person("dora", Role::Edit, &[]), 1);
    world.override_window(&person("cleo", Role::Admin, &["muc"]), 1);
    world.override_window(&anna(), 2);
    world.override_window(&anna(), 7);
    assert!(world.store.audit.is_empty());
    assert_eq!(kinds(&world, 1), "waiting waiting waiting waiting waiting waiting");
    world.override_window(&anna(), 1);
    assert_eq!(kinds(&world, 1), "active waiting waiting queued waiting waiting");
    world.override_window(&anna(), 1);
    let said: Vec<&str> = world.store.audit.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(
        said,
        ["let run 1 of site begin outside of the window maintenance: the link is down"]
    );
    // It was for this time: tried again the run waits.
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    world.cancel(1);
    world.retry(1);
    assert_eq!(kinds(&world, 1), "waiting waiting waiting waiting waiting waiting");
    assert_snapshot!(world.transcript());
}

#[test]
fn the_record_of_a_run_says_nothing_of_windows_that_nobody_overrode() {
    let world = world(MONDAY, deploy(&["fra"]));
    let run = world.store.runs.values().next().unwrap();
    let text = serde_json::to_string(run).unwrap();
    assert!(!text.contains("window"), "{text}");
    assert_eq!(&serde_json::from_str::<Run>(&text).unwrap(), run);
}
