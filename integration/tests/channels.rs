//! Channels over a real NATS: shared, limited, tried again, given up, and there again after whatever
//! becomes of the server.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use async_nats::jetstream;
use events::{Channel, Connection, Consumer, Error, Login, Name, Replay, Start, channel, dead};
use integration::ok;
use integration::stream::{Filled, next, take};
use serde_json::json;

/// How long something is given that must not happen.
const NEVER: Duration = Duration::from_millis(700);

/// Most that a server takes as a message, headers included, and a stream as headers.
const LARGEST: usize = 1 << 20;
const LARGEST_HEADERS: usize = 65_535;

/// A dead letter.
struct Letter {
    subject: String,
    payload: String,
    headers: async_nats::HeaderMap,
}

async fn letters(filled: &Filled) -> Vec<Letter> {
    let client = async_nats::connect(filled.nats.address()).await.unwrap();
    let stream = jetstream::new(client).get_stream(dead::STREAM).await.unwrap();
    let mut letters = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        letters.push(Letter {
            subject: message.subject.to_string(),
            payload: String::from_utf8(message.payload.to_vec()).unwrap(),
            headers: message.headers,
        });
    }
    letters
}

/// Takes messages until this one came.
async fn until(member: &mut Consumer, last: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    while ids.last().is_none_or(|id| id != last) {
        ids.extend(take(member, 1).await);
    }
    ids
}

fn header<'a>(letter: &'a Letter, name: &str) -> &'a str {
    letter.headers.get(name).unwrap().as_str()
}

#[tokio::test]
async fn members_share_a_channel_and_each_channel_gets_all() {
    let filled = Filled::start().await;
    let channel = Channel { max_in_flight: 10, ..filled.channel("notify") };
    let mut one = filled.member(channel.clone()).await;
    let mut other = filled.member(channel).await;
    let mut all = filled.member(filled.channel("archive")).await;
    let ids = ["1", "2", "3", "4", "5", "6"];
    filled.publish(&ids).await;
    filled.publish_as("garrison.fra.run.finished", "7", &json!({})).await;
    let (left, right) = tokio::join!(take(&mut one, 3), take(&mut other, 3));
    let mut shared = [left, right].concat();
    shared.sort();
    assert_eq!(shared, ids);
    assert_eq!(take(&mut all, 6).await, ids);
    let message = tokio::time::timeout(NEVER, all.next()).await;
    assert!(message.is_err(), "another topic came");
}

#[tokio::test]
async fn a_message_tells_what_it_is() {
    let filled = Filled::start().await;
    let mut member = filled.member(filled.channel("notify")).await;
    filled.publish(&["one"]).await;
    let message = next(&mut member).await;
    let event = &message.event;
    assert_eq!((event.partition(), event.topic()), (Some("fra"), Some("job.finished")));
    assert_eq!((event.id.as_str(), event.sequence, message.attempts), ("one", 1, 1));
    assert!(event.age() < Duration::from_secs(60), "{:?}", event.age());
    assert_eq!(event.payload, br#"{"id":"one","specversion":"1.0"}"#);
}

#[tokio::test]
async fn no_more_are_out_than_the_channel_allows() {
    let filled = Filled::start().await;
    let channel = Channel { max_in_flight: 2, ..filled.channel("notify") };
    let mut one = filled.member(channel.clone()).await;
    let mut other = filled.member(channel).await;
    filled.publish(&["1", "2", "3"]).await;
    let first = next(&mut one).await;
    let _second = next(&mut other).await;
    let third = tokio::time::timeout(NEVER, other.next()).await;
    assert!(third.is_err(), "a third one is out");
    let standing = &ok(filled.connection().await.channels("GARRISON").await)[0];
    assert_eq!((standing.in_flight, standing.pending), (2, 1));
    ok(first.ack().await);
    assert_eq!(next(&mut other).await.event.id, "3");
}

#[tokio::test]
async fn what_is_attempted_too_often_becomes_a_dead_letter_once() {
    let filled = Filled::start().await;
    let second = Duration::from_secs(1);
    let channel = Channel { timeout: second, max_attempts: 2, ..filled.channel("notify") };
    let mut member = filled.member(channel).await;
    filled.publish(&["bad"]).await;
    // Nobody says anything of it: as with a member that died.
    for attempts in [1, 2] {
        let message = next(&mut member).await;
        assert_eq!((message.event.id.as_str(), message.attempts), ("bad", attempts));
    }
    filled.publish(&["good"]).await;
    assert_eq!(take(&mut member, 1).await, ["good"]);
    let letters = letters(&filled).await;
    let [letter] = letters.as_slice() else { panic!("{} letters", letters.len()) };
    assert_eq!(letter.subject, "garrison-dead.notify.garrison.fra.job.finished");
    assert_eq!(letter.payload, r#"{"id":"bad","specversion":"1.0"}"#);
    assert_eq!(header(letter, "Garrison-Reason"), "attempted 2 times");
    assert_eq!(header(letter, "Garrison-Attempts"), "2");
    assert_eq!(header(letter, "Garrison-Channel"), "notify");
    assert_eq!(header(letter, "Garrison-Id"), "bad");
    assert_eq!(header(letter, "Garrison-Sequence"), "1");
    assert!(header(letter, "content-type").contains("cloudevents"));
    let standing = &ok(filled.connection().await.channels("GARRISON").await)[0];
    assert_eq!((standing.in_flight, standing.pending, standing.dead), (0, 0, 1));
}

#[tokio::test]
async fn what_was_attempted_too_often_in_a_stream_that_is_gone_stops_nobody() {
    let filled = Filled::start().await;
    let second = Duration::from_secs(1);
    let channel = Channel { timeout: second, max_attempts: 1, ..filled.channel("notify") };
    let mut member = filled.member(channel).await;
    let client = async_nats::connect(filled.nats.address()).await.unwrap();
    let context = jetstream::new(client);
    let mut config = context.get_stream(dead::STREAM).await.unwrap().cached_info().config.clone();
    // It takes nothing meanwhile.
    config.max_message_size = 1;
    context.update_stream(config.clone()).await.unwrap();
    filled.publish(&["bad"]).await;
    assert_eq!(next(&mut member).await.attempts, 1);
    let replaced = async {
        let name = "GARRISON";
        let is_tried = || async {
            let stream = context.get_stream(name).await.unwrap();
            let info = stream.consumer_info("notify").await.unwrap();
            (info.num_redelivered > 0).then_some(())
        };
        while is_tried().await.is_none() {}
        context.delete_stream(name).await.unwrap();
        config.max_message_size = -1;
        context.update_stream(config).await.unwrap();
        filled.publish(&["good"]).await;
    };
    let (message, ()) = tokio::join!(next(&mut member), replaced);
    assert_eq!(message.event.id, "good");
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter_at_once_and_of_no_other_channel() {
    let filled = Filled::start().await;
    let mut member = filled.member(filled.channel("notify")).await;
    let everything = channel::subject(None, None);
    let name = Name::Durable("archive".to_owned());
    let mut all = filled.member(Channel::new("GARRISON", &everything, name)).await;
    filled.publish(&["bad", "good"]).await;
    let message = next(&mut member).await;
    ok(message.reject("no such\r\npipeline").await);
    // Told twice, as when the process died in between.
    ok(message.reject("no such pipeline").await);
    assert_eq!(take(&mut member, 1).await, ["good"]);
    assert_eq!(take(&mut all, 2).await, ["bad", "good"]);
    let letters = letters(&filled).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(header(&letters[0], "Garrison-Reason"), "no such  pipeline");
    assert_eq!(header(&letters[0], "Garrison-Attempts"), "1");
    // The publisher's stream has nothing but events, so that their order can be checked.
    filled.publish(&["next"]).await;
    assert_eq!(next(&mut all).await.event.sequence, 3);
}

#[tokio::test]
async fn what_is_too_long_for_a_dead_letter_leaves_out_what_does_not_fit() {
    let filled = Filled::start().await;
    let mut member = filled.member(filled.channel("notify")).await;
    // As long as the server takes, which a letter's headers make longer.
    let padding = "x".repeat(LARGEST - 250);
    filled.publish_as("garrison.fra.job.finished", "long", &json!({ "data": padding })).await;
    let context = jetstream::new(async_nats::connect(filled.nats.address()).await.unwrap());
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Trace", "x".repeat(LARGEST_HEADERS - 100));
    let subject = "garrison.fra.job.finished";
    let sent = context.publish_with_headers(subject, headers, "on".into()).await;
    sent.unwrap().await.unwrap();
    for reason in ["no such pipeline", "it is no JSON"] {
        ok(next(&mut member).await.reject(reason).await);
    }
    filled.publish(&["good"]).await;
    assert_eq!(take(&mut member, 1).await, ["good"]);

    let kept = letters(&filled).await;
    assert_eq!(kept.len(), 2);
    let length: usize = header(&kept[0], "Garrison-Left-Out").parse().unwrap();
    assert!(kept[0].payload.is_empty() && length > LARGEST - 250, "{length}");
    assert_eq!(header(&kept[0], "Garrison-Reason"), "no such pipeline");
    assert_eq!(kept[1].payload, "on");
    assert!(kept[1].headers.get("Trace").is_none());
    assert!(kept[1].headers.get("Garrison-Left-Out").is_none());
}

#[tokio::test]
async fn what_is_requeued_comes_again_but_not_too_early() {
    let filled = Filled::start().await;
    let mut member = filled.member(filled.channel("notify")).await;
    filled.publish(&["one"]).await;
    let delay = Duration::from_secs(2);
    let begin = Instant::now();
    ok(next(&mut member).await.requeue(delay).await);
    let again = next(&mut member).await;
    assert_eq!(again.attempts, 2);
    assert!(begin.elapsed() >= delay, "{:?}", begin.elapsed());
    ok(again.requeue(Duration::ZERO).await);
    assert_eq!(next(&mut member).await.attempts, 3);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_is_touched_stays_where_it_is() {
    let filled = Filled::start().await;
    let second = Duration::from_secs(1);
    let channel = Channel { timeout: second, max_in_flight: 2, ..filled.channel("notify") };
    let mut one = filled.member(channel.clone()).await;
    let mut other = filled.member(channel).await;
    filled.publish(&["long"]).await;
    let long = next(&mut one).await;
    let work = async {
        let mut touches = tokio::time::interval(second / 4);
        for _ in 0..12 {
            touches.tick().await;
            ok(long.touch().await);
        }
        ok(long.ack().await);
        filled.publish(&["short"]).await;
    };
    let (message, ()) = tokio::join!(next(&mut other), work);
    assert_eq!((message.event.id.as_str(), message.attempts), ("short", 1));
}

#[tokio::test]
async fn an_ephemeral_channel_is_shared_and_one_of_ones_own_is_gone_with_its_member() {
    let filled = Filled::start().await;
    filled.publish(&["before"]).await;
    let name: Name = "notify#ephemeral".parse().unwrap();
    let shared = Channel::new("GARRISON", "garrison.*.job.finished", name);
    let mut one = filled.member(shared.clone()).await;
    let mut other = filled.member(shared).await;
    let own = Channel::new("GARRISON", "garrison.*.job.finished", Name::Own);
    let mut alone = filled.member(own).await;
    filled.publish(&["1", "2"]).await;
    let (left, right) = tokio::join!(take(&mut one, 1), take(&mut other, 1));
    assert_eq!(left.len() + right.len(), 2);
    assert_eq!(take(&mut alone, 2).await, ["1", "2"]);
    let connection = filled.connection().await;
    let channels = ok(connection.channels("GARRISON").await);
    assert_eq!(channels.len(), 2);
    assert!(channels.iter().all(|it| !it.durable), "{channels:?}");
    alone.close().await;
    let channels = ok(connection.channels("GARRISON").await);
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].channel, "notify");
}

#[tokio::test]
async fn what_is_too_old_is_dropped_and_counted() {
    let filled = Filled::start().await;
    let hour = Some(Duration::from_secs(3600));
    let mut member = filled.member(Channel { max_age: hour, ..filled.channel("notify") }).await;
    let old = json!({ "time": "2020-01-01T00:00:00Z" });
    filled.publish_as("garrison.fra.job.finished", "old", &old).await;
    // One cannot make itself younger.
    let future = json!({ "time": "2200-01-01T00:00:00Z" });
    filled.publish_as("garrison.fra.job.finished", "new", &future).await;
    let message = next(&mut member).await;
    assert_eq!((message.event.id.as_str(), member.dropped()), ("new", 1));
    assert!(message.event.age() < Duration::from_secs(60));
    ok(message.ack().await);
    assert!(letters(&filled).await.is_empty());
    let standing = &ok(filled.connection().await.channels("GARRISON").await)[0];
    assert_eq!((standing.in_flight, standing.pending), (0, 0));
}

#[tokio::test]
async fn a_channel_that_is_another_is_refused_in_words() {
    let filled = Filled::start().await;
    filled.member(filled.channel("notify")).await;
    let other = Channel { max_in_flight: 10, ..filled.channel("notify") };
    let mut other = ok(Consumer::new(filled.server(), other));
    let error = other.attach().await.unwrap_err();
    assert!(matches!(error, Error::Channel { .. }) && !error.is_passing());
    let words = "channel notify: its number in flight is 1, not 10; ask for what it is";
    assert!(error.to_string().starts_with(words), "{error}");
    let none = Channel::new("ORDERS", "orders.>", Name::Own);
    let mut none = ok(Consumer::new(filled.server(), none));
    let error = none.attach().await.unwrap_err().to_string();
    assert_eq!(error, "there is no stream ORDERS: whoever fills it makes it");
    let client = async_nats::connect(filled.nats.address()).await.unwrap();
    jetstream::new(client).delete_stream("GARRISON").await.unwrap();
    let error = filled.connection().await.channels("GARRISON").await.unwrap_err().to_string();
    let words = "there is no stream GARRISON: the coordinator makes it once it reaches NATS";
    assert_eq!(error, words);
}

#[tokio::test]
async fn a_member_that_dies_gives_its_message_to_the_next() {
    let filled = Filled::start().await;
    let channel = Channel { timeout: Duration::from_secs(1), ..filled.channel("notify") };
    let mut one = filled.member(channel.clone()).await;
    filled.publish(&["1", "2"]).await;
    assert_eq!(next(&mut one).await.event.id, "1");
    drop(one);
    let mut other = filled.member(channel).await;
    let again = next(&mut other).await;
    assert_eq!((again.event.id.as_str(), again.attempts), ("1", 2));
    ok(again.ack().await);
    assert_eq!(take(&mut other, 1).await, ["2"]);
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let mut filled = Filled::start().await;
    let channel = Channel { max_in_flight: 2, ..filled.channel("notify") };
    let mut member = filled.member(channel).await;
    filled.publish(&["1", "2"]).await;
    let held = next(&mut member).await;
    filled.nats.kill();
    filled.nats.start();
    // Nobody asks for messages meanwhile: the connection comes back by itself.
    ok(held.ack().await);
    let mut ids = until(&mut member, "2").await;
    filled.nats.kill();
    let back = async {
        filled.nats.start();
        filled.publish(&["3"]).await;
    };
    let (more, ()) = tokio::join!(until(&mut member, "3"), back);
    ids.extend(more);
    // The server may have forgotten what it was told just before.
    assert!(ids.iter().all(|id| ["1", "2", "3"].contains(&id.as_str())), "{ids:?}");
}

#[tokio::test]
async fn a_wiped_server_gives_all_that_is_published_again() {
    let mut filled = Filled::start().await;
    let channel = Channel { max_in_flight: 2, ..filled.channel("notify") };
    let mut one = filled.member(channel.clone()).await;
    let mut other = filled.member(channel).await;
    filled.publish(&["1", "2"]).await;
    assert_eq!(take(&mut one, 1).await, ["1"]);
    let held = next(&mut one).await;
    filled.wipe();
    filled.publish(&["1", "2", "3"]).await;
    assert_eq!(take(&mut other, 1).await, ["1"]);
    let second = next(&mut other).await;
    // What was held has the number of a message that somebody else has now.
    let error = held.ack().await.unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error}");
    let standing = &ok(filled.connection().await.channels("GARRISON").await)[0];
    assert_eq!(standing.in_flight, 1);
    ok(second.ack().await);
    assert_eq!(take(&mut one, 1).await, ["3"]);
}

#[tokio::test]
async fn a_channel_that_was_deleted_goes_on_where_it_was() {
    let filled = Filled::start().await;
    let mut member = filled.member(filled.channel("notify")).await;
    filled.publish(&["1", "2"]).await;
    assert_eq!(take(&mut member, 1).await, ["1"]);
    let client = async_nats::connect(filled.nats.address()).await.unwrap();
    let stream = jetstream::new(client).get_stream("GARRISON").await.unwrap();
    let deleted = async {
        // The second one was not acknowledged.
        let _held = next(&mut member).await;
        stream.delete_consumer("notify").await.unwrap();
    };
    deleted.await;
    filled.publish(&["3"]).await;
    let ids = take(&mut member, 2).await;
    // Where it was is known to within seconds; nothing is missed.
    assert!(ids == ["2", "3"] || ids == ["1", "2"], "{ids:?}");
}

#[tokio::test]
async fn a_channel_is_made_anew_from_a_moment_on() {
    let filled = Filled::start().await;
    let channel = Channel { max_in_flight: 3, ..filled.channel("notify") };
    let mut member = filled.member(channel.clone()).await;
    filled.publish(&["1", "2"]).await;
    assert_eq!(take(&mut member, 2).await, ["1", "2"]);
    let connection = filled.connection().await;
    let extent = ok(connection.extent("GARRISON", "notify", 0).await);
    assert_eq!(extent, ("garrison.*.job.finished".to_owned(), 2));
    // While a member waits.
    let (ids, rebuilt) =
        tokio::join!(take(&mut member, 2), connection.rebuild("GARRISON", "notify", 0));
    ok(rebuilt);
    assert_eq!(ids, ["1", "2"]);
    // It is as it was otherwise.
    ok(filled.member(channel).await.attach().await);
    let error = connection.rebuild("GARRISON", "other", 0).await.unwrap_err();
    assert!(error.to_string().contains("no channel other"), "{error}");
}

#[tokio::test]
async fn a_channel_may_begin_with_what_is_there() {
    let filled = Filled::start().await;
    filled.publish(&["1", "2"]).await;
    let all = Channel { start: Start::Oldest, ..filled.channel("all") };
    assert_eq!(take(&mut filled.member(all).await, 2).await, ["1", "2"]);
    let from = Channel { start: Start::At(2), ..filled.channel("from") };
    assert_eq!(take(&mut filled.member(from).await, 1).await, ["2"]);
    let since = Channel { start: Start::Since(1), ..filled.channel("since") };
    assert_eq!(take(&mut filled.member(since).await, 2).await, ["1", "2"]);
}

/// All that a replay gives, from where it is.
async fn rest(replay: &mut Replay) -> Vec<String> {
    let mut ids = Vec::new();
    let read = async {
        while let Some(event) = ok(replay.next().await) {
            ids.push(event.id);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("it ends");
    ids
}

#[tokio::test]
async fn a_replay_waits_for_a_slow_reader() {
    let filled = Filled::start().await;
    // More than are on their way at a time.
    filled.publish_many(600).await;
    let connection = filled.connection().await;
    let mut replay = ok(Replay::open(&connection, "GARRISON", "garrison.>", 0).await);
    assert_eq!(ok(replay.next().await).unwrap().id, "1");
    // Where nothing else is said NATS keeps a consumer that asks for nothing for 5 s.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(rest(&mut replay).await.len(), 599);
    // And leaves nothing behind.
    assert!(ok(connection.channels("GARRISON").await).is_empty());
}

#[tokio::test]
async fn a_replay_ends_though_events_leave_the_stream_meanwhile() {
    let filled = Filled::start().await;
    filled.publish(&["1", "2", "3"]).await;
    let connection = filled.connection().await;
    let open = || Replay::open(&connection, "GARRISON", "garrison.>", 0);
    let (mut some, mut none, mut later) = (ok(open().await), ok(open().await), ok(open().await));
    let client = async_nats::connect(filled.nats.address()).await.unwrap();
    let stream = jetstream::new(client).get_stream("GARRISON").await.unwrap();
    stream.purge().sequence(3).await.unwrap();
    assert_eq!(rest(&mut some).await, ["3"]);
    stream.purge().await.unwrap();
    assert!(rest(&mut none).await.is_empty());
    filled.publish(&["4", "5", "6"]).await;
    assert!(rest(&mut later).await.is_empty());
    assert_eq!(rest(&mut ok(open().await)).await, ["4", "5", "6"]);
}

#[tokio::test]
async fn a_member_needs_no_more_rights_than_the_handbook_says() {
    let server = "authorization: { users: [{ user: boss, password: hunter2 },
        { user: ada, password: hunter3, permissions: { subscribe: '_INBOX.>', publish: [
            '$JS.API.STREAM.INFO.GARRISON', '$JS.API.CONSUMER.*.GARRISON',
            '$JS.API.CONSUMER.*.GARRISON.>', '$JS.API.CONSUMER.MSG.NEXT.GARRISON.>',
            '$JS.ACK.GARRISON.>', '$JS.API.STREAM.INFO.GARRISON_DEAD',
            '$JS.API.STREAM.CREATE.GARRISON_DEAD', 'garrison-dead.>'] } }] }";
    let login = |user: &str, password: &str| Login::User(user.to_owned(), password.to_owned());
    let filled = Filled::with(server, login("boss", "hunter2")).await;
    let ada = filled.server_as(login("ada", "hunter3"));
    let mut member = ok(Consumer::new(ada.clone(), filled.channel("notify")));
    ok(member.attach().await);
    filled.publish(&["1", "2", "3"]).await;
    assert_eq!(take(&mut member, 1).await, ["1"]);
    ok(next(&mut member).await.reject("no such pipeline").await);
    ok(next(&mut member).await.requeue(Duration::ZERO).await);
    assert_eq!(take(&mut member, 1).await, ["3"]);
    let connection = ok(Connection::open(&ada).await);
    assert_eq!(ok(connection.channels("GARRISON").await)[0].dead, 1);
    ok(connection.rebuild("GARRISON", "notify", 0).await);
    let mut replay = ok(Replay::open(&connection, "GARRISON", "garrison.>", 0).await);
    assert_eq!(ok(replay.next().await).unwrap().id, "1");
    let wrong = filled.server_as(login("ada", "hunter4"));
    let error = Connection::open(&wrong).await.err().unwrap().to_string();
    assert!(error.contains("authorization violation") && !error.contains("hunter"), "{error}");
}
