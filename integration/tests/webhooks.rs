//! Webhooks of the coordinator's own: a receiver over TLS that checks each signature with the library
//! `standardwebhooks`, is away, fails and refuses; the coordinator is killed meanwhile.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration::receiver::{Heard, Receiver};
use integration::{World, ok};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    \
                        run: 'true'\n";

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A site that tells a receiver of these topics.
fn begin(topics: &str) -> (World, Receiver) {
    let mut world = World::start(&["fra"], PIPELINE);
    let receiver = Receiver::start(&world.dir.path().join("receiver"), Some(KEY));
    let key = world.dir.path().join("webhook-key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let webhook = format!(
        "\n[[webhooks]]\nname = 'chat'\nurl = '{}/hooks/hunter2'\nsecret_file = {key:?}\n\
         topics = {topics}\npartitions = ['fra']\nca_file = {:?}\n",
        receiver.url(),
        receiver.ca_file(),
    );
    world.site.configure(&webhook);
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    (world, receiver)
}

fn runs(world: &World, count: usize) -> Vec<u64> {
    let runs: Vec<u64> = (0..count).map(|_| world.trigger()).collect();
    for run in &runs {
        assert_eq!(world.finished(*run)["status"], "succeeded");
    }
    runs
}

/// Of each run what was taken, without what came twice.
fn taken(heard: &[Heard]) -> BTreeMap<u64, Vec<String>> {
    let mut ids = Vec::new();
    let mut runs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for it in heard.iter().filter(|it| it.answer == 201) {
        let id = it.headers["webhook-id"].as_str().unwrap();
        assert_eq!(it.body["id"].as_str().unwrap().replace('.', "-"), id);
        if !ids.contains(&id) {
            ids.push(id);
            let kind = it.body["type"].as_str().unwrap();
            let kind = kind.trim_start_matches("garrison.").trim_end_matches(".v1");
            runs.entry(it.body["data"]["run"].as_u64().unwrap()).or_default().push(kind.to_owned());
        }
    }
    runs
}

/// Places in the journal, which ids begin with.
fn places(heard: &[Heard]) -> Vec<(u64, u64)> {
    let taken = heard.iter().filter(|it| it.answer == 201);
    let place = |it: &Heard| {
        let mut parts = it.body["id"].as_str().unwrap().split('.').map(|it| it.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    };
    let mut places: Vec<_> = taken.map(place).collect();
    places.dedup();
    places
}

#[test]
fn every_event_comes_signed_and_in_order_whoever_is_killed() {
    let (mut world, mut receiver) = begin("['run.*', 'job.finished']");
    let story = ["run.created", "job.finished", "run.finished"];
    let first = runs(&world, 3);
    receiver.kill();
    let second = runs(&world, 3);
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    receiver.start_again();
    let third = runs(&world, 3);
    let all = [first, second, third].concat();
    let heard = receiver.heard(|heard| {
        let taken = taken(heard);
        all.iter().all(|run| taken.get(run).is_some_and(|it| it.len() == story.len()))
    });
    assert!(heard.iter().all(|it| it.is_verified && it.path == "/hooks/hunter2"), "{heard:#?}");
    assert!(taken(&heard).values().all(|it| *it == story), "{:#?}", taken(&heard));
    let places = places(&heard);
    assert!(places.is_sorted(), "{places:?}");
    let kind = &heard[0].headers["content-type"];
    assert_eq!(kind, "application/cloudevents+json; charset=utf-8");

    let logs = world.logs();
    assert!(logs.contains("events wait"), "{logs}");
    for secret in [KEY, "hunter2", "MfKQ9r8G"] {
        assert!(!logs.contains(secret), "{logs}");
    }
}

#[test]
fn failures_are_tried_again_and_refusals_given_up() {
    let (world, receiver) = begin("['run.finished']");
    receiver.will_say(&[500, 429, 302, 400]);
    runs(&world, 3);
    let heard = receiver.heard(|heard| !taken(heard).is_empty());
    let answers: Vec<u64> = heard.iter().map(|it| it.answer).collect();
    assert_eq!(answers, [500, 429, 302, 400, 201]);
    // The first three were tries of one event; which run ends first is not said.
    let mut told: Vec<&str> = heard.iter().map(|it| it.body["id"].as_str().unwrap()).collect();
    told.dedup();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(world.logs().contains("refuses the event: given up"));
}

#[test]
fn how_far_it_was_told_is_a_metric() {
    let (world, mut receiver) = begin("['>']");
    runs(&world, 1);
    let lag = || {
        let text = world.metrics();
        let name = "garrison_feed_lag_batches{feed=\"webhook:chat\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}")).parse::<u64>().unwrap()
    };
    ok(garrison::site::wait("all to be told", || (lag() == 0).then_some(())));
    receiver.kill();
    runs(&world, 1);
    assert!(lag() > 0);
    receiver.start_again();
    ok(garrison::site::wait("all to be told", || (lag() == 0).then_some(())));
}

#[test]
fn a_key_that_is_none_keeps_the_coordinator_from_starting() {
    let (mut world, _receiver) = begin("['>']");
    ok(world.site.stop_coordinator());
    fs::write(world.dir.path().join("webhook-key"), "hunter3").unwrap();
    let config = world.dir.path().join("coordinator.toml");
    let said = world.garrison(&["coordinator", "--config", &config.to_string_lossy()]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("webhook 'chat'") && said.err.contains("openssl rand"), "{said:?}");
    assert!(!said.err.contains("hunter"), "{said:?}");
}
