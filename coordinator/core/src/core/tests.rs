//! Stories of the core, told in the words of its users, and random events against invariants.

mod random;
mod world;

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};

use world::{World, deploy};

#[test]
fn a_trigger_becomes_a_run_and_its_jobs_follow_their_needs() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_snapshot!(world.transcript());
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn a_failed_job_skips_all_that_needs_it_and_fails_the_run() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(3) });
    assert_snapshot!(world.transcript());
    assert_eq!(world.status(1), "failed");
}

#[test]
fn the_same_delivery_acts_once() {
    let mut world = World::new();
    world.trigger("delivery-1", deploy(&["fra"]));
    world.trigger("delivery-1", deploy(&["fra"]));
    assert_snapshot!(world.transcript());
}

#[test]
fn each_partition_works_on_its_own_jobs() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.join("muc/mgmt01", 4);
    world.trigger("delivery-1", deploy(&["fra", "muc"]));
    world.work("muc/mgmt01", Outcome::Succeeded);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_partition_without_an_agent_waits_for_one() {
    let mut world = World::new();
    world.trigger("delivery-1", deploy(&["fra"]));
    assert_eq!(world.job("1.0"), "queued");
    world.join("fra/mgmt01", 1);
    assert_eq!(world.job("1.0"), "active");
}

#[test]
fn an_order_that_never_arrived_is_sent_again_under_the_same_number() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.drop_messages("fra/mgmt01");
    world.trigger("delivery-1", deploy(&["fra"]));
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_job_outlives_its_agents_link() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.end("fra/mgmt01", Outcome::Succeeded);
    world.connect("fra/mgmt01");
    assert_eq!(world.job("1.0"), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn an_agent_that_was_installed_anew_has_lost_its_attempts() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.reinstall("fra/mgmt01");
    world.connect("fra/mgmt01");
    assert_eq!(world.job("1.0"), "lost");
    assert_eq!(world.job("1.1"), "skipped");
}

#[test]
fn an_order_that_another_instance_may_have_had_is_lost_and_not_sent_again() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.drop_messages("fra/mgmt01");
    world.trigger("delivery-1", deploy(&["fra"]));
    world.disconnect("fra/mgmt01");
    world.reinstall("fra/mgmt01");
    world.connect("fra/mgmt01");
    assert_eq!(world.job("1.0"), "lost");
}

#[test]
fn a_report_by_a_session_that_is_over_counts_for_nothing() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.report_late("fra/mgmt01", "1.0.1", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "active");
}

#[test]
fn an_agent_has_no_say_about_anothers_attempt() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.join("muc/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.report_late("muc/mgmt01", "1.0.1", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "active");
}

#[test]
fn a_cancel_reaches_a_running_job_even_when_its_agent_was_away() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.cancel(1);
    assert_eq!(world.status(1), "cancelling");
    world.connect("fra/mgmt01");
    world.end_cancelled("fra/mgmt01");
    assert_eq!(world.status(1), "cancelled");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_retry_runs_only_what_did_not_succeed() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::TimedOut);
    assert_eq!(world.status(1), "failed");
    world.retry(1);
    assert_eq!(world.job("1.0"), "succeeded");
    assert_eq!(world.job("1.1"), "active");
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn a_second_host_with_the_same_certificate_is_refused() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.connect_again("fra/mgmt01");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_restart_resolves_pending_triggers_again_and_keeps_running_jobs() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.ask_trigger("delivery-2");
    world.restart();
    world.connect("fra/mgmt01");
    world.end("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "succeeded");
    assert_snapshot!(world.transcript());
}

#[test]
fn somebody_without_the_right_is_told_which_one_is_missing() {
    let mut world = World::new();
    world.trigger("delivery-1", deploy(&["fra"]));
    assert_snapshot!(world.refusals());
}
