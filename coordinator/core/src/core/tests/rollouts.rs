//! Stories about rollouts and redundancy groups.

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{Member, Plan, Rollout, Unit};

use super::world::{World, gated, paired, person};
use crate::actor::Role;
use crate::lock::Holder;

const FAILED: Outcome = Outcome::Failed { exit: Exit::Code(1) };

/// The states of a run's jobs: `reset` of leaf01, leaf02 and spine01, then `check` of each.
fn kinds(world: &World, run: u64) -> String {
    let jobs = world.store.jobs.values().filter(|job| job.id.run.0 == run);
    jobs.map(|job| job.state.kind()).collect::<Vec<_>>().join(" ")
}

fn world(plan: Plan) -> World {
    let mut world = World::new();
    world.join("fra/mgmt01", 8);
    world.trigger("delivery-1", plan);
    world
}

#[test]
fn a_wave_begins_when_all_jobs_of_the_one_before_have_ended() {
    let mut world = world(paired(1, None));
    assert_eq!(kinds(&world, 1), "active waiting waiting waiting waiting waiting");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded waiting waiting active waiting waiting");
    world.restart();
    world.connect("fra/mgmt01");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded active waiting succeeded waiting waiting");
    for _ in 0..4 {
        world.work("fra/mgmt01", Outcome::Succeeded);
    }
    assert_eq!(world.status(1), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn it_stops_at_the_failure_that_is_one_too_many_and_goes_on_there_when_it_is_tried_again() {
    let mut world = world(paired(1, Some(1)));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", FAILED);
    assert_eq!(kinds(&world, 1), "succeeded failed stopped succeeded skipped stopped");
    assert_eq!(world.status(1), "failed");

    world.retry(1);
    assert_eq!(kinds(&world, 1), "succeeded active waiting succeeded waiting waiting");
    for _ in 0..4 {
        world.work("fra/mgmt01", Outcome::Succeeded);
    }
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn between_waves_there_is_a_pause_that_a_restart_begins_anew() {
    let mut plan = paired(1, None);
    plan.rollouts[0].pause_s = 600;
    let mut world = world(plan);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.wait(9);
    world.restart();
    world.connect("fra/mgmt01");
    world.wait(9);
    assert_eq!(kinds(&world, 1), "succeeded waiting waiting succeeded waiting waiting");
    world.wait(2);
    assert_eq!(kinds(&world, 1), "succeeded active waiting succeeded waiting waiting");
    world.cancel(1);
    world.end_job("1.1", Outcome::Cancelled);
    assert_eq!(world.status(1), "cancelled");
}

#[test]
fn of_a_wave_so_many_at_a_time_are_worked_at_and_never_both_of_a_pair() {
    // All in one wave.
    let mut plan = paired(3, None);
    let mut world = world(plan.clone());
    assert_eq!(kinds(&world, 1), "active queued active waiting waiting waiting");

    plan.rollouts[0].max_parallel = Some(1);
    world.trigger("delivery-2", plan);
    assert_eq!(kinds(&world, 2), "queued waiting waiting waiting waiting waiting");
    // The first of the pair is done with once its check is.
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded queued active active waiting waiting");
    assert_eq!(world.job("2.0"), "queued");
    world.end_job("1.3", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded active active succeeded waiting waiting");
    assert_eq!(world.job("2.0"), "queued");
}

#[test]
fn a_device_that_failed_keeps_its_partner_from_being_touched_until_it_is_well_or_somebody_says_so()
{
    let mut world = world(paired(1, Some(1)));
    world.work("fra/mgmt01", FAILED);
    assert_eq!(world.status(1), "failed");
    // Another run may work at the one that failed, and at nothing else of the pair.
    let mut partner = paired(1, None);
    partner.rollouts.clear();
    partner.jobs.truncate(3);
    for job in &mut partner.jobs {
        job.rollouts.clear();
    }
    world.trigger("delivery-2", partner);
    assert_eq!(kinds(&world, 2), "active queued active");
    world.end_job("2.0", FAILED);
    assert_eq!(kinds(&world, 2), "failed queued active");
    world.restart();
    world.connect("fra/mgmt01");
    assert_eq!(world.job("2.1"), "queued");
    world.break_lock("fra", "group:leaf-pair", Holder::Run(pipelines::id::RunId(2)));
    assert_eq!(world.job("2.1"), "active");
    world.end_job("2.1", Outcome::Succeeded);

    world.trigger("delivery-3", paired(1, None));
    world.end_job("3.0", Outcome::Succeeded);
    assert_eq!(world.job("3.3"), "active");
    world.end_job("3.3", FAILED);
    assert_eq!(world.job("3.1"), "queued");
    // What is tried again and succeeds frees it.
    world.cancel(3);
    world.retry(3);
    world.end_job("3.3", Outcome::Succeeded);
    assert_eq!(world.job("3.1"), "active");
}

#[test]
fn a_gate_opens_when_the_wave_of_its_partition_has_come() {
    let mut plan = gated(&["fra", "muc"]);
    let unit = |(wave, name): (u32, &str)| Unit { name: name.to_owned(), wave };
    plan.rollouts = vec![Rollout {
        job: None,
        units: [(0, "fra"), (1, "muc")].map(unit).into(),
        max_parallel: None,
        stop_after: Some(1),
        pause_s: 0,
    }];
    for job in &mut plan.jobs {
        let unit = u32::from(job.partition.as_str() == "muc");
        job.rollouts = vec![Member { rollout: 0, unit }];
    }
    // In muc nothing is done before somebody lets it.
    plan.jobs.remove(3);
    plan.jobs[3].needs.clear();
    plan.jobs[4].needs = vec![3];
    let mut world = world(plan);
    world.join("muc/mgmt01", 8);
    let [ada, otto] = ["ada", "otto"].map(|name| person(name, Role::Admin, &[]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded open waiting waiting waiting");
    world.approve(&ada, "1.1");
    world.approve(&otto, "1.1");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(kinds(&world, 1), "succeeded approved succeeded open waiting");
    world.approve(&ada, "1.3");
    world.approve(&otto, "1.3");
    world.work("muc/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn a_retry_that_does_not_get_to_a_failed_device_leaves_its_partner_untouched() {
    let mut world = world(paired(1, Some(1)));
    world.work("fra/mgmt01", FAILED);
    // Its only agent takes nothing, and somebody cancels what was to be tried again.
    world.cordon("fra/mgmt01", true);
    world.retry(1);
    assert_eq!(world.job("1.0"), "queued");
    world.cancel(1);
    assert_eq!(world.status(1), "cancelled");
    world.cordon("fra/mgmt01", false);
    let mut partner = paired(1, None);
    partner.rollouts.clear();
    partner.jobs = vec![partner.jobs[1].clone()];
    partner.jobs[0].rollouts.clear();
    world.trigger("delivery-2", partner);
    assert_eq!(world.job("2.0"), "queued");
}

#[test]
fn what_may_still_run_at_a_device_is_over_once_the_same_job_has_succeeded_there() {
    let mut world = world(paired(1, Some(1)));
    world.work("fra/mgmt01", Outcome::CancelUnconfirmed { reason: "no answer".into() });
    world.trigger("delivery-2", paired(1, None));
    // Only the run that knows of it may work there.
    assert_eq!(world.job("2.0"), "queued");
    world.retry(1);
    assert_eq!([world.job("1.0"), world.job("2.0")], ["active", "queued"]);
    world.end_job("1.0", Outcome::Succeeded);
    world.end_job("1.3", Outcome::Succeeded);
    // The group is free, and the older run's next device comes first.
    assert_eq!([world.job("1.1"), world.job("2.0")], ["active", "queued"]);
}
