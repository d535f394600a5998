//! The same with a current release of NATS.

use std::collections::BTreeSet;

use integration::nats::Release;

use crate::story::{Story, assert_whole, short, topic};

#[test]
fn a_current_server_that_is_killed_wiped_and_restarted_gets_everything() {
    let mut story = Story::of(Release::Current, &["fra"], &short("fra"));
    let mut runs = story.runs(2);
    story.told(&runs);
    story.nats.kill();
    runs.extend(story.runs(1));
    story.nats.start();
    assert_whole(&story.told(&runs), &runs);
    story.nats.wipe();
    story.nats.start();
    runs.extend(story.runs(1));
    assert_whole(&story.told(&runs), &runs);
    story.restart();
    runs.extend(story.runs(1));
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
    let topics: BTreeSet<&str> = messages.iter().map(topic).collect();
    assert!(topics.contains("agent.connected") && topics.contains("agent.disconnected"));
}

/// As the handbook recommends: each event rests on the disk before it counts.
#[test]
fn a_server_that_always_syncs_takes_everything_and_has_it_after_a_crash() {
    let mut story = Story::of(Release::Current, &["fra"], &short("fra"));
    story.nats.kill();
    let store = story.nats.store();
    story.nats.configure(&format!("jetstream: {{ store_dir: {store:?}, sync_interval: always }}"));
    story.nats.start();
    let mut runs = story.runs(2);
    story.told(&runs);
    story.nats.kill();
    story.nats.start();
    runs.extend(story.runs(1));
    assert_whole(&story.told(&runs), &runs);
    let log = story.log();
    assert!(!log.contains("NATS lost") && !log.contains("was emptied"), "{log}");
}
