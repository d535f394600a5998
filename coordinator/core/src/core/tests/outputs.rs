//! Stories about outputs.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Plan;

use super::world::{World, deploy};

/// `prepare` leaves two outputs; `deploy` needs it.
fn leaving() -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs[0].outputs = vec!["image".to_owned(), "version".to_owned()];
    plan
}

#[test]
fn outputs_reach_the_jobs_that_need_their_job_directly_and_survive_a_restart() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", leaving());
    world.leave("fra/mgmt01", &[("image", "sonic:4"), ("version", "1.2")]);
    // What was retried goes on with what the others left.
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    world.restart();
    world.connect("fra/mgmt01");
    world.retry(1);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_snapshot!(world.transcript());
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn an_agent_cannot_give_others_what_its_job_does_not_declare() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", leaving());
    world.leave("fra/mgmt01", &[("image", "two\nlines"), ("path", "/evil"), ("version", "1")]);
    let state = world.remembered();
    let job = state.job("1.0".parse().unwrap()).unwrap();
    assert_eq!(format!("{:?}", job.outputs), r#"{"version": "1"}"#);
}
