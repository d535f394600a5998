//! What waits for an agent is picked up soon after its link is back, however the link broke.

use std::thread::sleep;
use std::time::{Duration, Instant};

use garrison::site::wait;
use integration::chance::Chance;
use integration::ok;

use crate::job::Records;
use crate::lossy::Story;

/// How soon after the link's return what waited must run.
const PICKUP: Duration = Duration::from_secs(5);

/// Cuts in seconds, from and to: TCP still tries, it has given up, and both sides have for long.
const CUTS: [(u64, u64); 3] = [(2, 8), (9, 13), (24, 30)];

/// A job that does nothing but record that it starts.
fn at_once(records: &Records) -> String {
    let started = records.folder().join("started");
    format!("  only: {{ process: {{}}, run: 'echo $GARRISON_ATTEMPT >> {}' }}\n", started.display())
}

#[test]
fn what_waits_runs_within_five_seconds_of_the_links_return_though_its_packets_vanished() {
    let mut chance = Chance::new();
    let story = Story::begin(at_once);
    for (round, (from, to)) in CUTS.into_iter().enumerate() {
        let cut = Duration::from_secs(from) + chance.pause((to - from) * 1000);
        let before = chance.pause(2000);
        story.namespace.vanish();
        let begun = Instant::now();
        sleep(before);
        let run = story.world.trigger();
        // Passing time is the point.
        sleep(cut.saturating_sub(begun.elapsed()));
        assert_eq!(story.records.said("started").len(), round);
        story.namespace.mend();
        let back = Instant::now();
        let started = || (story.records.said("started").len() == round + 1).then_some(());
        ok(wait("the run to start", started));
        let logs = || story.world.logs();
        assert!(back.elapsed() < PICKUP, "{:?} after {cut:?}\n{}", back.elapsed(), logs());
        assert_eq!(story.world.finished(run)["status"], "succeeded");
    }
    story.records.check();
}
