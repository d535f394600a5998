//! Many seeds against the rules, and every mutant against the same.

use std::ops::Range;

use sim::act::{Class, What};
use sim::ledger::Rule;
use sim::mutant::Mutant;
use sim::story::Story;
use sim::{STEPS, explain, try_seeds};

/// Within so many seeds a mutant must be caught. Without one they are green, as the tests below see.
const CAUGHT: u64 = 2000;

/// Seeds of one test; four of them make 2,000 seeds and more than 160,000 faults.
const PART: u64 = 500;

fn no_rule_is_broken(seeds: Range<u64>) {
    let summary = try_seeds(seeds, STEPS, None);
    if let Some((seed, story)) = &summary.broken {
        panic!("{}", explain(*seed, story, None));
    }
    let faults = summary.total(Class::Fault);
    assert!(faults >= 40_000, "only {faults} faults");
    for what in What::ALL {
        assert!(summary.counts.contains_key(what), "never: {}", what.words());
    }
}

#[test]
fn forty_thousand_faults_break_no_rule() {
    no_rule_is_broken(0..PART);
}

#[test]
fn forty_thousand_more_break_none() {
    no_rule_is_broken(PART..2 * PART);
}

#[test]
fn the_third_forty_thousand_break_none() {
    no_rule_is_broken(2 * PART..3 * PART);
}

#[test]
fn the_fourth_forty_thousand_break_none() {
    no_rule_is_broken(3 * PART..4 * PART);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let first = Story::draw(7, STEPS, None);
    let lines = |acts| Story::again(acts, None, true).lines;
    assert_eq!(first.acts, Story::draw(7, STEPS, None).acts);
    assert_eq!(lines(&first.acts), lines(&first.acts));
}

fn caught(mutant: Mutant) -> Rule {
    let summary = try_seeds(0..CAUGHT, STEPS, Some(mutant));
    let broken = summary.broken.and_then(|(_, story)| story.finding);
    broken.unwrap_or_else(|| panic!("{mutant} is not caught")).rule
}

#[test]
fn starting_before_the_order_is_stored_is_caught() {
    let rule = caught(Mutant::StartBeforeStoring);
    assert!(matches!(rule, Rule::StartsOnce | Rule::Verdicts), "{rule:?}");
}

#[test]
fn dropping_the_fence_is_caught() {
    let rule = caught(Mutant::DropFence);
    assert!(matches!(rule, Rule::Verdicts | Rule::Overlap | Rule::Liveness), "{rule:?}");
}

#[test]
fn giving_a_job_away_on_a_timeout_is_caught() {
    let rule = caught(Mutant::ReassignOnTimeout);
    assert!(matches!(rule, Rule::Verdicts | Rule::Overlap), "{rule:?}");
}

#[test]
fn forgetting_the_instance_is_caught() {
    let rule = caught(Mutant::ForgetInstance);
    assert!(matches!(rule, Rule::StartsOnce), "{rule:?}");
}

#[test]
fn acting_before_the_commit_is_caught() {
    let rule = caught(Mutant::ActBeforeCommit);
    assert!(matches!(rule, Rule::Triggers | Rule::Durable), "{rule:?}");
}

#[test]
fn acknowledging_a_verdict_too_early_is_caught() {
    let rule = caught(Mutant::AcknowledgeEarly);
    assert!(matches!(rule, Rule::Verdicts), "{rule:?}");
}

#[test]
fn calling_a_log_whole_that_is_not_synced_is_caught() {
    let rule = caught(Mutant::AcknowledgeUnsyncedLogs);
    assert!(matches!(rule, Rule::Logs), "{rule:?}");
}

#[test]
fn forgetting_the_last_sync_is_caught() {
    let rule = caught(Mutant::ForgetSync);
    assert!(matches!(rule, Rule::Durable), "{rule:?}");
}

#[test]
fn forgetting_locks_is_caught() {
    let rule = caught(Mutant::ForgetLocks);
    assert!(matches!(rule, Rule::Locks), "{rule:?}");
}

#[test]
fn forgetting_who_is_under_way_in_a_group_is_caught() {
    let rule = caught(Mutant::ForgetGroups);
    assert!(matches!(rule, Rule::Groups), "{rule:?}");
}

#[test]
fn taking_one_person_for_several_is_caught() {
    let rule = caught(Mutant::MixUpPeople);
    assert!(matches!(rule, Rule::Gates), "{rule:?}");
}

#[test]
fn trusting_that_a_dead_runner_left_nothing_on_a_device_is_caught() {
    let rule = caught(Mutant::TrustTheDead);
    assert!(matches!(rule, Rule::Overlap | Rule::Locks), "{rule:?}");
}

#[test]
fn leaving_leases_to_an_agent_that_may_be_dead_is_caught() {
    let rule = caught(Mutant::LeaveLeaseToAgent);
    assert!(matches!(rule, Rule::Leases | Rule::StartsOnce), "{rule:?}");
}

#[test]
fn counting_leases_by_a_clock_that_jumps_is_caught() {
    let rule = caught(Mutant::TickByWallClock);
    // A clock that was set back has a lease never end.
    let found = matches!(rule, Rule::Leases | Rule::StartsOnce | Rule::Overlap | Rule::Liveness);
    assert!(found, "{rule:?}");
}

#[test]
fn a_broken_story_is_told_shortly_and_in_words() {
    let mutant = Some(Mutant::ActBeforeCommit);
    let (seed, story) = try_seeds(0..CAUGHT, STEPS, mutant).broken.expect("it is caught");
    let text = explain(seed, &story, mutant);
    assert!(text.starts_with(&format!("seed {seed} breaks a rule")), "{text}");
    assert!(text.contains("the coordinator starts: epoch 1"), "{text}");
    assert!(text.contains("==> Durable") && text.lines().count() < 40, "{text}");
}
