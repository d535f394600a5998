//! Stories about gates, which wait for people.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};

use super::world::{World, by_hand, gated, person, waived};
use crate::actor::{Actor, Role};
use crate::event::Wall;
use crate::job::{Job, State};

/// The jobs of a run with three of them.
fn jobs<const N: usize>(world: &World, run: u64) -> [&'static str; N] {
    std::array::from_fn(|index| world.job(&format!("{run}.{index}")))
}

fn admins() -> [Actor; 3] {
    ["anna", "ben", "cleo"].map(|name| person(name, Role::Admin, &[]))
}

#[test]
fn a_gate_opens_behind_what_it_needs_and_lets_through_what_enough_people_approve() {
    let [anna, ben, _] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", gated(&["fra"]));
    assert_eq!(jobs(&world, 1), ["active", "waiting", "waiting"]);
    world.approve(&anna, "1.1");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world, 1), ["succeeded", "open", "waiting"]);
    world.approve(&anna, "1.1");
    world.approve(&anna, "1.1");
    assert_eq!(jobs(&world, 1), ["succeeded", "open", "waiting"]);
    world.restart();
    world.connect("fra/mgmt01");
    world.approve(&anna, "1.1");
    world.approve(&ben, "1.1");
    assert_eq!(jobs(&world, 1), ["succeeded", "approved", "active"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn who_may_not_answer_hears_why() {
    let [anna, ben, cleo] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger_by(&cleo, "key-1", gated(&["fra"]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.approve(&cleo, "1.1");
    world.approve(&person("dora", Role::Edit, &[]), "1.1");
    world.approve(&person("emil", Role::Admin, &["muc"]), "1.1");
    world.approve(&Actor::Forge { forge: "github".into(), login: "mona".into() }, "1.1");
    world.acknowledge(&anna, "1.1", "loaded on console fw01");
    for gate in ["1.0", "1.9", "7.0"] {
        world.approve(&anna, gate);
    }
    assert_eq!(jobs(&world, 1), ["succeeded", "open", "waiting"]);
    // Also who triggered may say no.
    world.reject(&cleo, "1.1");
    assert_eq!(
        (jobs(&world, 1), world.status(1)),
        (["succeeded", "rejected", "skipped"], "failed")
    );
    world.approve(&anna, "1.1");
    // A push is its pusher's, whose token is called like his login.
    world.trigger("delivery-1", gated(&["fra"]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.approve(&person("mona", Role::Admin, &[]), "2.1");
    world.approve(&ben, "2.1");
    assert_eq!(jobs(&world, 2), ["succeeded", "open", "waiting"]);
    assert_snapshot!(world.transcript());
}

#[test]
fn somebody_says_what_was_done_by_hand_in_the_very_words_whoever_triggered() {
    let anna = person("anna", Role::Edit, &["fra"]);
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger_by(&anna, "key-1", by_hand());
    assert_eq!(jobs(&world, 1), ["open", "waiting", "waiting"]);
    world.acknowledge(&anna, "1.0", "loaded");
    world.approve(&anna, "1.0");
    assert_eq!(world.job("1.0"), "open");
    world.acknowledge(&anna, "1.0", "loaded on console fw01");
    assert_eq!(jobs(&world, 1), ["acknowledged", "active", "unneeded"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world, 1), ["acknowledged", "succeeded", "unneeded"]);
    assert_eq!(world.status(1), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_rejected_gate_is_a_failed_job_for_those_behind_and_opens_again_with_a_retry() {
    let [anna, ..] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", by_hand());
    world.reject(&anna, "1.0");
    assert_eq!(jobs(&world, 1), ["rejected", "skipped", "active"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "failed");
    world.retry(1);
    assert_eq!(jobs(&world, 1), ["open", "waiting", "waiting"]);
    world.acknowledge(&anna, "1.0", "loaded on console fw01");
    // What was allowed once stays so when something behind it is tried again.
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    world.retry(1);
    assert_eq!(jobs(&world, 1), ["acknowledged", "active", "unneeded"]);
}

#[test]
fn a_gate_that_waives_asks_only_behind_a_failure_and_goes_on_all_the_same() {
    let [anna, ..] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", waived());
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world, 1), ["succeeded", "unneeded", "active", "waiting", "waiting"]);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(jobs(&world, 1), ["succeeded", "unneeded", "failed", "open", "waiting"]);
    world.approve(&anna, "1.3");
    assert_eq!(jobs(&world, 1), ["succeeded", "unneeded", "failed", "approved", "active"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    // It failed all the same, and what did can be tried again.
    assert_eq!(world.status(1), "failed");
    world.retry(1);
    assert_eq!(jobs(&world, 1), ["succeeded", "unneeded", "active", "waiting", "succeeded"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world, 1), ["succeeded", "unneeded", "succeeded", "unneeded", "succeeded"]);
    assert_eq!(world.status(1), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn what_nobody_waived_keeps_all_that_follows() {
    let [anna, ..] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", waived());
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(jobs(&world, 1), ["failed", "open", "waiting", "waiting", "waiting"]);
    world.reject(&anna, "1.1");
    // The second gate is for failures of the leaves, which were never tried.
    assert_eq!(jobs(&world, 1), ["failed", "rejected", "skipped", "skipped", "skipped"]);
    assert_eq!(world.status(1), "failed");
}

#[test]
fn the_time_of_a_gate_goes_on_while_the_coordinator_is_away() {
    let [anna, ben, _] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", gated(&["fra"]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.wall_goes_on(50);
    world.restart();
    world.connect("fra/mgmt01");
    world.approve(&anna, "1.1");
    world.wall_goes_on(9);
    assert_eq!(jobs(&world, 1), ["succeeded", "open", "waiting"]);
    let left = world.core.next_expiry();
    world.wall_goes_on(1);
    assert_eq!((jobs(&world, 1), world.status(1)), (["succeeded", "expired", "skipped"], "failed"));
    assert_eq!((left.is_some(), world.core.next_expiry()), (true, None));
    world.approve(&ben, "1.1");
    // Open again it begins anew: nobody has approved, and all of its time is left.
    world.retry(1);
    world.wall_goes_on(59);
    world.approve(&ben, "1.1");
    assert_eq!(jobs(&world, 1), ["succeeded", "open", "waiting"]);
    assert_eq!(world.core.counts().gates.values().sum::<usize>(), 1);
    assert_eq!(world.core.counts().waiting, 1);
    world.cancel(1);
    assert_eq!(
        (jobs(&world, 1), world.status(1)),
        (["succeeded", "cancelled", "cancelled"], "cancelled")
    );
    assert_eq!(world.core.next_expiry(), None);
}

#[test]
fn nothing_is_held_at_a_gate_that_stands_before_the_first_attempt() {
    let [anna, ben, _] = admins();
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    let mut first = gated(&["fra"]);
    first.jobs[1].needs.clear();
    first.jobs[0].needs = vec![];
    first.jobs.swap(0, 1);
    first.jobs[1].needs = vec![0];
    first.jobs[2].needs = vec![1];
    world.trigger("delivery-1", first.clone());
    world.trigger("delivery-2", gated(&["fra"]));
    assert_eq!(jobs(&world, 1), ["open", "waiting", "waiting"]);
    assert_eq!(world.job("2.0"), "active");
    // Behind an attempt the lock is held while people are asked.
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.approve(&anna, "1.0");
    world.approve(&ben, "1.0");
    assert_eq!((world.job("2.1"), world.job("1.1")), ("open", "queued"));
    world.reject(&anna, "2.1");
    assert_eq!((world.status(2), world.job("1.1")), ("failed", "active"));
}

#[test]
fn nothing_is_asked_about_the_plan_of_a_pull_request() {
    let [anna, ..] = admins();
    let mut world = World::new();
    world.pull_request("delivery-1", by_hand());
    assert_eq!(jobs(&world, 1), ["planned", "planned", "planned"]);
    world.acknowledge(&anna, "1.0", "loaded on console fw01");
    assert_eq!((world.job("1.0"), world.status(1)), ("planned", "planned"));
    assert_eq!(world.core.next_expiry(), None);
}

#[test]
fn the_record_of_an_open_gate_that_nobody_has_approved_says_no_more_than_since_when() {
    let text = r#"{"id":"1.0","attempts":0,"tried":0,"state":{"kind":"open","since":5}}"#;
    let job: Job = serde_json::from_str(text).unwrap();
    assert_eq!(job.state, State::Open { since: Wall(5), approvals: Vec::new() });
    assert_eq!(serde_json::to_string(&job).unwrap(), text);
}
