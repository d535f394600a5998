//! Stories about jobs of a pipeline that another one starts.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};

use super::world::{World, called};

const FAILED: Outcome = Outcome::Failed { exit: Exit::Code(1) };

#[test]
fn its_jobs_know_their_outputs_by_the_names_that_they_have_there() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    let mut plan = called();
    plan.jobs[1].outputs = vec!["digest".to_owned()];
    world.trigger("delivery-1", plan);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.leave("fra/mgmt01", &[("digest", "d1")]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_snapshot!(world.transcript());
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn what_cleans_up_there_runs_only_if_it_began() {
    let kinds = |world: &World| {
        let states = world.store.jobs.values().map(|job| job.state.kind());
        states.collect::<Vec<_>>().join(" ")
    };
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", called());
    world.work("fra/mgmt01", FAILED);
    assert_eq!(kinds(&world), "failed skipped skipped skipped");
    assert_eq!(world.status(1), "failed");

    world.retry(1);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", FAILED);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world), "succeeded failed succeeded skipped");
}
