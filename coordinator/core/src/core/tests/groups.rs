//! Stories about groups, of which one run at a time is under way.

use insta::assert_snapshot;
use pipelines::id::RunId;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Mode;

use super::world::{World, deploy, grouped};

fn statuses<const N: usize>(world: &World) -> [&'static str; N] {
    std::array::from_fn(|index| world.status(index as u64 + 1))
}

fn superseded_by(world: &World, run: u64) -> Option<u64> {
    world.store.runs[&RunId(run)].superseded_by.map(|newer| newer.0)
}

#[test]
fn runs_of_a_group_begin_one_after_the_other_in_order() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    for delivery in ["delivery-1", "delivery-2", "delivery-3"] {
        world.trigger(delivery, grouped(Mode::Queue));
    }
    world.trigger("delivery-4", deploy(&["fra"]));
    assert_eq!(statuses(&world), ["active", "waiting", "waiting", "active"]);
    assert_eq!([world.job("2.0"), world.job("3.0")], ["waiting", "waiting"]);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(statuses(&world), ["failed", "active", "waiting", "active"]);
    world.restart();
    world.connect("fra/mgmt01");
    assert_eq!(statuses(&world), ["failed", "active", "waiting", "active"]);
    // One that waits may be cancelled; a retry stands behind those that wait.
    world.trigger("delivery-5", grouped(Mode::Queue));
    world.cancel(3);
    world.retry(1);
    assert_eq!(statuses(&world), ["waiting", "active", "cancelled", "active", "waiting"]);
    world.cancel(2);
    world.end_cancelled("fra/mgmt01");
    world.start("fra/mgmt01");
    world.end_cancelled("fra/mgmt01");
    assert_eq!(statuses(&world), ["waiting", "cancelled", "cancelled", "active", "active"]);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_pull_request_is_planned_and_nothing_of_it_is_done() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.pull_request("delivery-1", grouped(Mode::CancelRunning));
    world.trigger("delivery-2", grouped(Mode::CancelRunning));
    world.pull_request("delivery-3", grouped(Mode::CancelRunning));
    assert_eq!(statuses(&world), ["planned", "active", "planned"]);
    assert_eq!([world.job("1.0"), world.job("2.0")], ["planned", "active"]);
    world.restart();
    world.retry(1);
    world.cancel(3);
    assert_eq!(statuses(&world), ["planned", "active", "planned"]);
    assert_snapshot!(world.transcript());
}

#[test]
fn of_those_that_wait_only_the_newest_is_kept() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", grouped(Mode::NewestOnly));
    world.trigger("delivery-2", grouped(Mode::NewestOnly));
    world.trigger("delivery-3", grouped(Mode::NewestOnly));
    assert_eq!(statuses(&world), ["active", "cancelled", "waiting"]);
    assert_eq!(superseded_by(&world, 2), Some(3));
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(statuses(&world), ["succeeded", "cancelled", "active"]);
    // Tried again it is one that nobody has superseded.
    world.retry(2);
    assert_eq!(statuses(&world), ["succeeded", "waiting", "active"]);
    assert_eq!(superseded_by(&world, 2), None);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_newer_run_begins_when_the_one_that_it_had_cancelled_has_ended() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", grouped(Mode::CancelRunning));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.trigger("delivery-2", grouped(Mode::CancelRunning));
    world.trigger("delivery-3", grouped(Mode::CancelRunning));
    assert_eq!(statuses(&world), ["cancelling", "cancelled", "waiting"]);
    world.restart();
    assert_eq!(statuses(&world), ["cancelling", "cancelled", "waiting"]);
    world.connect("fra/mgmt01");
    assert_eq!(statuses(&world), ["cancelling", "cancelled", "waiting"]);
    world.end_cancelled("fra/mgmt01");
    assert_eq!(statuses(&world), ["cancelled", "cancelled", "active"]);
    assert_eq!([superseded_by(&world, 1), superseded_by(&world, 2)], [Some(2), Some(3)]);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_run_that_has_not_begun_its_work_is_superseded_at_once() {
    let mut world = World::new();
    world.trigger("delivery-1", grouped(Mode::CancelRunning));
    world.trigger("delivery-2", grouped(Mode::CancelRunning));
    assert_eq!(statuses(&world), ["cancelled", "active"]);
    assert_eq!(world.job("2.0"), "queued");
}

#[test]
fn a_person_who_cancelled_first_stays_the_one_who_did() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", grouped(Mode::CancelRunning));
    world.start("fra/mgmt01");
    world.cancel(1);
    world.trigger("delivery-2", grouped(Mode::CancelRunning));
    assert_eq!(statuses(&world), ["cancelling", "waiting"]);
    assert_eq!(superseded_by(&world, 1), None);
}

#[test]
fn a_plan_of_before_there_were_groups_is_in_none() {
    let text = r#"{"pipeline":"site","file":".garrison/site.yaml","jobs":[]}"#;
    let plan: pipelines::plan::Plan = serde_json::from_str(text).unwrap();
    assert_eq!(plan.concurrency, None);
}
