//! Events in a real NATS: complete and in order, whatever is killed meanwhile, and nothing waits for
//! them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;
mod damaged;
mod logins;
mod releases;
mod status;
mod storm;
mod story;

use std::collections::BTreeSet;
use std::fs;

use integration::nats::Message;
use integration::ok;

use crate::story::{Story, assert_whole, lives, may_be_left_out, short, topic};

/// A job, and one that needs it.
const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    \
                        variables: { PASSWORD: hunter2 }\n    run: echo hello\n  two:\n    needs: [one]\n    \
                        process: {}\n    run: 'true'\n";

#[test]
fn a_runs_events_arrive_in_order_and_complete() {
    let story = Story::begin(&["fra"], PIPELINE);
    let run = story.runs(1)[0];
    let messages = story.told(&[run]);
    let of_run: Vec<String> = messages
        .iter()
        .filter(|it| it.event["data"]["run"] == run && !may_be_left_out(it))
        .map(|it| format!("{} {}", topic(it), it.event["subject"].as_str().unwrap()))
        .collect();
    let attempt = |job: u32| {
        ["assigned", "finished"].map(|state| format!("attempt.{state} attempt/{run}.{job}.1"))
    };
    let job = |state: &str, job: u32| format!("job.{state} job/{run}.{job}");
    let mut expected = vec![
        format!("run.created run/{run}"),
        job("waiting", 0),
        job("waiting", 1),
        job("queued", 0),
        job("started", 0),
    ];
    expected.extend(attempt(0));
    expected.extend([job("finished", 0), job("queued", 1), job("started", 1)]);
    expected.extend(attempt(1));
    expected.extend([job("finished", 1), format!("run.finished run/{run}")]);
    assert_eq!(of_run, expected);

    let connected = messages.iter().find(|it| topic(it) == "agent.connected").unwrap();
    assert_eq!(connected.event["data"]["agent"], "mgmt01");
    for message in &messages {
        let Message { subject, id, event } = message;
        assert!(subject.starts_with("garrison.fra."), "{subject}");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], id.as_str());
        assert_eq!(event["source"], "garrison://garrison");
        assert_eq!(event["type"], format!("garrison.{}.v1", topic(message)));
        let time: u64 = id.rsplit('.').next().unwrap().parse().unwrap();
        assert!(event["time"].as_str().unwrap().ends_with('Z') && time > 1 << 50, "{event:#}");
        let text = event.to_string();
        assert!(!text.contains("hunter2") && !text.contains("garrison_"), "{text}");
    }
    let finished = &messages.iter().rfind(|it| topic(it) == "run.finished").unwrap().event["data"];
    assert_eq!(finished["status"], "succeeded");
    assert_eq!(finished["partitions"], serde_json::json!(["fra"]));
    assert_eq!(finished["pipeline"], "deploy");
}

#[test]
fn what_is_in_several_partitions_has_a_subject_of_its_own() {
    let story = Story::begin(&["fra", "muc"], &short("fra, muc"));
    let run = story.runs(1)[0];
    let subjects: BTreeSet<String> = story
        .told(&[run])
        .into_iter()
        .filter(|it| ["job.finished", "run.finished"].contains(&topic(it)))
        .map(|it| it.subject)
        .collect();
    let expected =
        ["garrison._.run.finished", "garrison.fra.job.finished", "garrison.muc.job.finished"];
    assert_eq!(subjects, expected.map(str::to_owned).into());
}

#[test]
fn a_run_that_comes_in_waves_and_out_of_its_window_is_created_once() {
    let pipeline = "on: { manual: {} }\npartitions: { names: [fra, muc], rollout: { waves: [1, 1] } }\n\
                    jobs:\n  one: { process: {}, run: 'true' }\n";
    let story = Story::begin(&["fra", "muc"], pipeline);
    let runs = story.runs(1);
    let told = story.told(&runs);
    let of_run: Vec<&str> = told.iter().map(topic).filter(|it| it.starts_with("run.")).collect();
    assert_eq!(of_run, ["run.created", "run.finished"]);
    assert_eq!(told.iter().filter(|it| topic(it) == "job.finished").count(), 2);
}

#[test]
fn a_retry_tells_only_what_happens_anew() {
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    run: \
                    'true'\n  two:\n    needs: [one]\n    process: {}\n    run: 'false'\n";
    let story = Story::begin(&["fra"], pipeline);
    let run = story.world.trigger();
    assert_eq!(story.world.finished(run)["status"], "failed");
    let told = story.told(&[run]).len();
    assert_eq!(story.world.garrison(&["retry", &run.to_string()]).code, 0);
    let again = garrison::site::wait("the retry's events", || {
        let messages = story.messages().split_off(told);
        (messages.last().map(topic) == Some("run.finished")).then_some(messages)
    });
    let again = ok(again);
    let of = |it: &Message| format!("{} {}", topic(it), it.event["subject"].as_str().unwrap());
    let again: Vec<String> = again.iter().map(of).collect();
    assert_eq!(again[..2], [format!("run.retried run/{run}"), format!("job.waiting job/{run}.1")]);
    assert!(!again.iter().any(|it| it.ends_with(&format!("job/{run}.0"))), "{again:#?}");
}

#[test]
fn a_server_that_is_killed_again_and_again_gets_everything() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(story.world.trigger());
        runs.push(story.world.trigger());
        story.nats.kill();
        runs.extend(story.runs(2));
        story.nats.start();
        runs.push(story.world.trigger());
    }
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
    let log = story.log();
    assert!(!log.contains("NATS lost") && !log.contains("was emptied"), "{log}");
}

#[test]
fn a_coordinator_that_is_killed_again_and_again_tells_everything_once() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(story.world.trigger());
        runs.push(story.world.trigger());
        story.restart();
    }
    for run in &runs {
        story.world.finished(*run);
    }
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
    // As if the file had been lost, or its last writes.
    ok(story.world.site.kill_coordinator());
    fs::remove_file(story.world.site.data().join("events.cursor")).unwrap();
    ok(story.world.site.start_coordinator());
    runs.extend(story.runs(1));
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
}

#[test]
fn nothing_waits_for_a_server_that_is_not_there() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    // To know the address at which it will be.
    story.nats.start();
    story.nats.kill();
    story.configure("");
    let runs = story.runs(2);
    let log = story.log();
    assert_eq!(log.matches("NATS cannot be reached").count(), 1, "{log}");
    ok(story.world.site.stop_coordinator());
    ok(story.world.site.start_coordinator());
    story.nats.start();
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
}

#[test]
fn a_stream_that_was_emptied_is_filled_again() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let before = story.runs(2);
    story.told(&before);
    story.nats.kill();
    fs::remove_dir_all(story.nats.store()).unwrap();
    story.nats.start();
    let after = story.runs(1);
    let all = [before, after].concat();
    let messages = story.told(&all);
    assert_whole(&messages, &all);
    assert!(story.log().contains("the stream is another, or was emptied"), "{}", story.log());
}

#[test]
fn events_that_the_server_lost_are_published_again() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let kept = story.runs(1);
    let first = story.told(&kept);
    story.nats.kill();
    let (store, copy) = (story.nats.store(), story.world.dir.path().join("copy"));
    copy_all(&store, &copy);
    story.nats.start();
    let lost = story.runs(2);
    story.told(&lost);
    // The server wakes up with what its disk had before.
    story.nats.kill();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&copy, &store).unwrap();
    story.nats.start();
    assert_eq!(story.messages().len(), first.len());
    let after = story.runs(1);
    let all = [kept, lost, after].concat();
    let messages = story.told(&all);
    assert_whole(&messages, &all);
    let log = story.log();
    assert!(log.contains("NATS lost events that it had stored"), "{log}");
    assert!(!log.contains("was emptied"), "{log}");
}

#[test]
fn a_new_stream_gets_what_is_young_enough() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    let old = story.runs(1);
    story.nats.start();
    story.configure("retention = \"0s\"");
    let new = story.runs(1);
    let messages = story.told(&new);
    assert_whole(&messages, &new);
    assert!(!lives(&messages).contains_key(&old[0]));
}

#[test]
fn a_stream_that_does_not_fit_is_left_alone_and_told() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    story.nats.start();
    let address = story.nats.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(address).await.unwrap();
        let config = async_nats::jetstream::stream::Config {
            name: "GARRISON".to_owned(),
            subjects: vec!["other.>".to_owned()],
            ..Default::default()
        };
        async_nats::jetstream::new(client).create_stream(config).await.unwrap();
    });
    story.configure("");
    story.runs(1);
    let words = "it takes other.>, not garrison.>; change it with 'nats stream edit'";
    ok(garrison::site::wait("the words", || story.log().contains(words).then_some(())));
    assert!(story.messages().is_empty());
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
