//! Stories about jobs that are for one certain agent.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{self, OnLost, Plan};

use super::world::{World, deploy, each, patient};

fn jobs<const N: usize>(world: &World) -> [&'static str; N] {
    std::array::from_fn(|index| world.job(&format!("1.{index}")))
}

#[test]
fn a_job_goes_to_its_own_agent_and_to_no_other_whatever_room_that_has() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.join("fra/mgmt02", 1);
    world.join("muc/mgmt03", 4);
    world.trigger("delivery-1", each(&["mgmt02", "mgmt01", "mgmt03"]));
    // The namesake of another partition does not count.
    assert_eq!(jobs(&world), ["active", "active", "queued", "waiting"]);
    world.trigger("delivery-2", each(&["mgmt02"]));
    assert_eq!(world.job("2.0"), "queued");
    world.work("fra/mgmt02", Outcome::Succeeded);
    assert_eq!(world.job("2.0"), "active");
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.join("fra/mgmt03", 1);
    world.work("fra/mgmt03", Outcome::Succeeded);
    assert_eq!(jobs(&world), ["succeeded", "succeeded", "succeeded", "active"]);
    assert_snapshot!(world.transcript());
}

#[test]
fn while_its_agent_is_away_or_cordoned_a_job_waits_and_keeps_nobody_else_waiting() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.join("fra/mgmt02", 4);
    world.disconnect("fra/mgmt02");
    world.trigger("delivery-1", each(&["mgmt01", "mgmt02"]));
    world.trigger("delivery-2", deploy(&["fra"]));
    assert_eq!(jobs(&world), ["active", "queued", "waiting"]);
    assert_eq!(world.job("2.0"), "active");
    world.cordon("fra/mgmt02", true);
    world.connect("fra/mgmt02");
    assert_eq!(jobs(&world), ["active", "queued", "waiting"]);
    world.restart();
    world.connect("fra/mgmt01");
    world.connect("fra/mgmt02");
    assert_eq!(jobs(&world), ["active", "queued", "waiting"]);
    world.cordon("fra/mgmt02", false);
    assert_eq!(jobs(&world), ["active", "active", "waiting"]);
}

/// A job for `mgmt01` that is tried again.
fn pinned(on_lost: OnLost) -> Plan {
    let mut plan = patient(on_lost, 0);
    plan.jobs[0].agent = Some("mgmt01".parse().unwrap());
    plan
}

#[test]
fn what_is_tried_again_stays_with_its_agent() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.join("fra/mgmt02", 4);
    world.trigger("delivery-1", pinned(OnLost::Wait));
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(jobs(&world), ["active"]);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(world.status(1), "failed");
    world.disconnect("fra/mgmt01");
    world.retry(1);
    assert_eq!(jobs(&world), ["queued"]);
    world.connect("fra/mgmt01");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world), ["succeeded"]);
}

#[test]
fn what_was_given_up_waits_for_the_agent_that_it_is_for() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.join("fra/mgmt02", 4);
    let mut plan = pinned(OnLost::Retry { after_s: 3600 });
    plan.jobs[0].retry = None;
    world.trigger("delivery-1", plan);
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.wait(68);
    assert_eq!(jobs(&world), ["queued"]);
    // Somebody's word that nothing of it runs brings it no other agent either.
    world.connect("fra/mgmt01");
    assert_eq!(jobs(&world), ["active"]);
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.declare_lost("fra/mgmt01");
    assert_eq!(jobs(&world), ["queued"]);
    world.cancel(1);
    assert_eq!(world.status(1), "cancelled");
    assert_snapshot!(world.transcript());
}

#[test]
fn under_a_lock_of_the_job_the_agents_take_turns() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.join("fra/mgmt02", 4);
    let mut plan = each(&["mgmt01", "mgmt02"]);
    let with_lock = |job: plan::Job| plan::Job { lock: Some("probe".parse().unwrap()), ..job };
    plan.jobs = plan.jobs.into_iter().map(with_lock).collect();
    world.trigger("delivery-1", plan);
    assert_eq!(jobs(&world), ["active", "queued", "waiting"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(jobs(&world), ["succeeded", "active", "waiting"]);
    world.work("fra/mgmt02", Outcome::Succeeded);
    assert_eq!(jobs(&world), ["succeeded", "succeeded", "active"]);
}
