//! Stories of the core, told in the words of its users, and random events against invariants.

mod calls;
mod each;
mod gates;
mod groups;
mod outputs;
mod random;
mod recap;
mod rollouts;
mod schedules;
mod subscribers;
mod secrets;
mod windows;
mod world;

use insta::assert_snapshot;
use pipelines::outcome::{Exit, Outcome};

use pipelines::plan::OnLost;

use crate::agent::SessionId;
use crate::event::Event;
use crate::lock::Holder;
use world::{World, deploy, key, locked, patient, rescue};

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
fn a_job_for_failures_runs_after_one_and_spares_its_run_otherwise() {
    let states = |world: &World| ["1.0", "1.1", "1.2", "1.3"].map(|job| world.job(job));
    let failed = || Outcome::Failed { exit: Exit::Code(3) };
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", rescue());
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(states(&world), ["succeeded", "unneeded", "active", "unneeded"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");

    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", rescue());
    world.work("fra/mgmt01", failed());
    assert_eq!(states(&world), ["failed", "active", "waiting", "waiting"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(states(&world), ["failed", "succeeded", "succeeded", "succeeded"]);
    assert_eq!(world.status(1), "failed");

    // What looked at the failure looks again.
    world.retry(1);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(states(&world), ["succeeded", "unneeded", "active", "succeeded"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.status(1), "succeeded");
}

#[test]
fn nothing_more_starts_in_a_cancelled_run() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", rescue());
    world.start("fra/mgmt01");
    world.cancel(1);
    world.end("fra/mgmt01", Outcome::Cancelled);
    let states = ["1.0", "1.1", "1.2", "1.3"].map(|job| world.job(job));
    assert_eq!(states, ["cancelled", "cancelled", "cancelled", "cancelled"]);
    assert_eq!(world.status(1), "cancelled");
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
fn what_there_is_to_do_can_be_counted() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.join("fra/mgmt02", 1);
    world.disconnect("fra/mgmt02");
    world.trigger("delivery-1", deploy(&["fra", "muc"]));
    let counts = world.core.counts();
    assert_eq!((counts.runs, counts.waiting, counts.active), (1, 4, 1));
    assert_eq!(format!("{:?}", counts.queued), r#"{muc: 1}"#);
    let agents = &counts.agents[&world::key("fra/mgmt01").partition];
    assert_eq!((agents.connected, agents.away), (1, 1));
    for _ in 0..3 {
        world.work("fra/mgmt01", Outcome::Succeeded);
    }
    let counts = world.core.counts();
    assert_eq!((counts.runs, counts.waiting, counts.active), (1, 2, 0));
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
fn a_cancelled_order_that_may_have_arrived_ends_by_its_agents_word() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.drop_messages("fra/mgmt01");
    world.trigger("delivery-1", deploy(&["fra"]));
    world.cancel(1);
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    assert_eq!(world.status(1), "cancelling");
    world.start("fra/mgmt01");
    world.end_cancelled("fra/mgmt01");
    assert_eq!(world.status(1), "cancelled");
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
fn a_lock_is_held_from_the_first_attempt_until_all_jobs_there_have_ended() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", locked(&["fra"]));
    world.trigger("delivery-2", locked(&["fra"]));
    assert_eq!([world.job("1.0"), world.job("2.0")], ["active", "queued"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!([world.job("1.1"), world.job("2.0")], ["active", "queued"]);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!([world.job("1.2"), world.job("2.0")], ["skipped", "active"]);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_jobs_lock_keeps_others_out_while_it_pauses() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    let mut plan = patient(OnLost::Wait, 60);
    plan.jobs[0].lock = Some("fw01".parse().unwrap());
    world.trigger("delivery-1", plan.clone());
    world.trigger("delivery-2", plan);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!([world.job("1.0"), world.job("2.0")], ["paused", "queued"]);
    world.wait(2);
    assert_eq!([world.job("1.0"), world.job("2.0")], ["active", "queued"]);
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!([world.job("1.0"), world.job("2.0")], ["succeeded", "active"]);
}

#[test]
fn a_lock_under_which_something_may_still_run_stays_held_until_it_is_broken() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", locked(&["fra"]));
    world.trigger("delivery-2", locked(&["fra"]));
    world.work("fra/mgmt01", Outcome::CancelUnconfirmed { reason: "no answer".into() });
    assert_eq!([world.status(1), world.job("2.0")], ["failed", "queued"]);
    world.restart();
    world.connect("fra/mgmt01");
    assert_eq!(world.job("2.0"), "queued");
    let run = |id| Holder::Run(pipelines::id::RunId(id));
    world.break_lock("fra", "site", run(2));
    assert_eq!(world.job("2.0"), "queued");
    world.break_lock("fra", "site", run(1));
    assert_eq!(world.job("2.0"), "active");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_retry_after_a_pause_counts_from_the_whole_pause_again_after_a_restart() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", patient(OnLost::Wait, 600));
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    world.wait(9);
    assert_eq!(world.job("1.0"), "paused");
    world.restart();
    world.connect("fra/mgmt01");
    world.wait(9);
    assert_eq!(world.job("1.0"), "paused");
    world.wait(2);
    assert_eq!(world.job("1.0"), "active");
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(world.status(1), "failed");
    world.retry(1);
    world.work("fra/mgmt01", Outcome::Failed { exit: Exit::Code(1) });
    assert_eq!(world.job("1.0"), "paused");
    world.cancel(1);
    assert_eq!(world.status(1), "cancelled");
}

#[test]
fn an_agent_that_is_away_for_long_is_given_up_where_the_job_says_so() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", patient(OnLost::Retry { after_s: 3600 }, 0));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.wait(60);
    world.connect("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.wait(66);
    assert_eq!(world.job("1.0"), "active");
    world.join("fra/mgmt02", 1);
    world.wait(2);
    assert_snapshot!(world.transcript());
    world.connect("fra/mgmt01");
    world.work("fra/mgmt02", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "succeeded");
}

#[test]
fn leases_are_counted_in_full_after_a_restart() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", patient(OnLost::Fail { after_s: 3600 }, 0));
    world.start("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.wait(60);
    world.restart();
    world.wait(60);
    assert_eq!(world.job("1.0"), "active");
    world.wait(10);
    assert_eq!(world.job("1.0"), "lost");
}

#[test]
fn an_operator_can_declare_lost_what_only_an_agent_knows() {
    let mut world = World::new();
    world.join("fra/mgmt01", 4);
    world.trigger("delivery-1", locked(&["fra"]));
    world.trigger("delivery-2", locked(&["fra"]));
    world.start("fra/mgmt01");
    world.declare_lost("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.declare_lost("fra/mgmt01");
    assert_eq!([world.status(1), world.job("2.0")], ["failed", "queued"]);
    world.connect("fra/mgmt01");
    assert_eq!(world.job("2.0"), "active");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_cordoned_agent_ends_what_it_has_and_gets_nothing_new() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.join("fra/mgmt02", 1);
    world.trigger("delivery-1", deploy(&["fra"]));
    world.cordon("fra/mgmt01", true);
    world.work("fra/mgmt01", Outcome::Succeeded);
    world.work("fra/mgmt02", Outcome::Succeeded);
    world.cordon("fra/mgmt02", true);
    assert_eq!(world.job("1.2"), "active");
    world.trigger("delivery-2", deploy(&["fra"]));
    assert_eq!(world.job("2.0"), "queued");
    world.cordon("fra/mgmt01", false);
    assert_eq!(world.job("2.0"), "active");
}

#[test]
fn an_upgrade_is_asked_for_until_the_agent_says_how_it_went() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.disconnect("fra/mgmt01");
    world.upgrade("fra/mgmt01");
    world.connect("fra/mgmt01");
    // Its link goes down on the way; the program's first hello tells.
    world.disconnect("fra/mgmt01");
    world.end_upgrade("fra/mgmt01", None);
    world.connect("fra/mgmt01");
    // Another one fails, and is not tried again by itself.
    world.upgrade("fra/mgmt01");
    world.end_upgrade("fra/mgmt01", Some("no link within 2 minutes"));
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    assert_snapshot!(world.transcript());
}

#[test]
fn only_the_latest_upgrade_counts() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.drop_messages("fra/mgmt01");
    world.upgrade("fra/mgmt01");
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    world.drop_messages("fra/mgmt01");
    world.upgrade("fra/mgmt01");
    world.end_upgrade("fra/mgmt01", None);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_job_goes_only_where_its_labels_are() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    let mut plan = deploy(&["fra"]);
    plan.jobs[0].labels.insert("disk".parse().unwrap(), "ssd".into());
    world.trigger("delivery-1", plan);
    world.trigger("delivery-2", deploy(&["fra"]));
    assert_eq!([world.job("1.0"), world.job("2.0")], ["queued", "active"]);
    world.label("fra/mgmt01", "disk", "ssd");
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    world.work("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "active");
}

#[test]
fn a_second_host_with_the_same_certificate_is_refused() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.connect_again("fra/mgmt01");
    assert_snapshot!(world.transcript());
}

#[test]
fn a_hello_that_was_overtaken_by_a_newer_one_says_nothing() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.disconnect("fra/mgmt01");
    world.connect("fra/mgmt01");
    world.trigger("delivery-1", deploy(&["fra"]));
    world.start("fra/mgmt01");
    world.hear_old_hello("fra/mgmt01");
    assert_eq!(world.job("1.0"), "active");
    world.disconnect("fra/mgmt01");
    world.hear_old_hello("fra/mgmt01");
    assert_eq!(world.job("1.0"), "active");
    world.connect("fra/mgmt01");
    world.end("fra/mgmt01", Outcome::Succeeded);
    assert_eq!(world.job("1.0"), "succeeded");
}

#[test]
fn a_link_that_only_the_agent_knows_to_be_dead_gives_way_to_its_next() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.drop_messages("fra/mgmt01");
    world.trigger("delivery-1", deploy(&["fra"]));
    world.connect("fra/mgmt01");
    world.start("fra/mgmt01");
    // What the old session's end says later changes nothing.
    world.happens(&Event::AgentDisconnected { agent: key("fra/mgmt01"), session: SessionId(1) });
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
