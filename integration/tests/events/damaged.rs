//! What was there before and is not as it should be.

use std::fs;

use async_nats::HeaderMap;
use async_nats::jetstream;
use integration::ok;

use crate::story::{Story, assert_whole, short, status_when};

#[test]
fn a_stream_of_another_coordinator_is_left_alone_and_told() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = story.runs(1);
    let mut event = story.told(&runs).pop().unwrap();
    ok(story.world.site.kill_coordinator());
    event.event["source"] = "garrison://elsewhere".into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = story.nats.address();
    let jetstream = || async { jetstream::new(async_nats::connect(&address).await.unwrap()) };
    runtime.block_on(async {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "1.1.1");
        let payload = event.event.to_string().into();
        let context = jetstream().await;
        let sent = context.publish_with_headers(event.subject, headers, payload).await.unwrap();
        sent.await.unwrap();
    });
    let before = story.messages().len();
    ok(story.world.site.start_coordinator());
    let status = status_when(&story.world, "what is wrong", |it| !it["trouble"].is_null());
    let reason = status["trouble"]["reason"].as_str().unwrap();
    let words =
        "it holds events of garrison://elsewhere, and those here are of garrison://garrison";
    assert!(reason.contains(words), "{reason}");
    runs.extend(story.runs(1));
    assert_eq!(story.messages().len(), before);
    // Once somebody did as it says, it goes on by itself.
    runtime.block_on(async { jetstream().await.delete_stream("GARRISON").await.unwrap() });
    assert_whole(&story.told(&runs), &runs);
    status_when(&story.world, "the end of its trouble", |it| {
        it["trouble"].is_null() && it["behind"] == 0
    });
}

#[test]
fn a_damaged_cursor_keeps_nobody_from_starting() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = story.runs(1);
    story.told(&runs);
    ok(story.world.site.kill_coordinator());
    fs::write(story.world.site.data().join("events.cursor"), b"{\"version\":1,\"se").unwrap();
    ok(story.world.site.start_coordinator());
    runs.extend(story.runs(1));
    assert_whole(&story.told(&runs), &runs);
    assert!(story.log().contains("the cursor of events is damaged"), "{}", story.log());
}
