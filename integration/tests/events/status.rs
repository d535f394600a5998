//! What anybody can ask about events: their schemas, and who is behind.

use std::future::Future;
use std::process::Command;

use integration::{Said, World, ok, program};
use serde_json::{Value, json};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context};

use crate::story::{Story, short, status_when};

/// Gives the status and the body of what needs no token.
fn get(world: &World, path: &str) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let mut answer = agent.get(format!("{}{path}", ok(world.site.url()))).call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap())
}

#[test]
fn schemas_are_there_for_everybody_and_the_same_everywhere() {
    let world = World::without_agents(&["fra"], &short("fra"));
    let promised = include_str!("../../../docs/schemas/events-v1.json");
    let promised: Value = serde_json::from_str(promised).unwrap();
    assert_eq!(get(&world, "/schemas/events/v1"), (200, promised.clone()));
    assert_eq!(world.garrison(&["events", "schema"]).json(), promised);
    let (status, schema) = get(&world, "/schemas/events/v1/job.finished");
    assert_eq!((status, &schema["$id"]), (200, &json!("urn:garrison:events:v1:job.finished")));
    assert_eq!(world.garrison(&["events", "schema", "job.finished"]).json(), schema);
    let (status, words) = get(&world, "/schemas/events/v1/job.done");
    assert_eq!((status, &words["error"]), (404, &json!("there is no topic 'job.done'")));
    let said = world.garrison(&["events", "schema", "job.done"]);
    assert!(
        said.code == 2 && said.err.contains("no topic 'job.done'; there are run.created"),
        "{said:?}"
    );
}

#[test]
fn it_is_told_who_is_behind_since_when_and_why_to_who_may_see_it() {
    let mut story = Story::prepare(&["fra", "muc"], &short("fra"));
    assert_eq!(story.world.garrison(&["status", "-o", "json"]).json()["events"], Value::Null);
    story.nats.start();
    story.nats.kill();
    story.configure("");
    ok(story.world.site.stop_agent("muc", "mgmt01"));
    let run = story.runs(1);
    let away = status_when(&story.world, "what is wrong", |it| !it["trouble"].is_null());
    assert!(away["behind"].as_u64().unwrap() > 0, "{away}");
    let reason = away["trouble"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("NATS cannot be reached: "), "{reason}");
    let since = away["trouble"]["since_us"].as_u64().unwrap();
    let text = story.world.garrison(&["status"]).out;
    assert!(text.contains("runs         0 active, 0 waiting\nevents       "), "{text}");
    assert!(text.contains("behind for ") && text.contains(": NATS cannot be reached: "), "{text}");
    // It counts from when NATS was first missed.
    let again =
        status_when(&story.world, "another look", |it| it["waited_us"] != away["waited_us"]);
    assert_eq!(again["trouble"]["since_us"], since);

    let arguments = ["tokens", "create", "muc", "--role", "view", "--partition", "muc"];
    let token = story.world.garrison(&arguments).out.trim().to_owned();
    let mut command = Command::new(program());
    command.env("GARRISON_URL", ok(story.world.site.url())).env("GARRISON_TOKEN", token);
    let seen = Said::from(command.args(["status", "-o", "json"]).output().unwrap()).json();
    let muc = json!([{ "partition": "muc", "connected": 0, "away": 1, "queued": 0, "gates": 0 }]);
    assert_eq!(seen, json!({ "version": seen["version"], "partitions": muc }));

    story.nats.start();
    story.told(&run);
    let all_told = |it: &Value| it["trouble"].is_null() && it["behind"] == 0;
    status_when(&story.world, "its end", all_told);
    assert!(story.world.garrison(&["status"]).out.contains("events       all told\n"));
}

/// Asks NATS for something.
fn ask<T, F: Future<Output = T>>(story: &Story, ask: impl FnOnce(Context) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(story.nats.address()).await.unwrap();
        ask(jetstream::new(client)).await
    })
}

#[test]
fn a_full_stream_is_told_once_and_since_when_it_was_full() {
    let mut story =
        Story::with(&["fra"], &short("fra"), "debug: true", async_nats::ConnectOptions::new());
    story.nats.start();
    let full = Config {
        name: "GARRISON".to_owned(),
        subjects: vec!["garrison.>".to_owned()],
        max_messages: 1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    ask(&story, async |context| context.create_stream(full.clone()).await.map(drop)).unwrap();
    story.configure("");
    let run = story.runs(1);
    let first = status_when(&story.world, "what is wrong", |it| !it["trouble"].is_null());
    let reason = first["trouble"]["reason"].as_str().unwrap();
    assert!(reason.contains("maximum messages exceeded"), "{reason}");
    let nats = story.world.dir.path().join("nats/log");
    let tries = || std::fs::read_to_string(&nats).unwrap().matches("garrison coordinator").count();
    let before = tries();
    let found = garrison::site::wait("three more tries", || (tries() >= before + 3).then_some(()));
    found
        .unwrap_or_else(|failure| panic!("{failure}\n{}", std::fs::read_to_string(&nats).unwrap()));
    let again = status_when(&story.world, "what is wrong still", |it| !it["trouble"].is_null());
    assert_eq!(again["trouble"], first["trouble"]);
    let log = story.log();
    assert_eq!(log.matches("events wait").count(), 1, "{log}");
    assert!(log.matches("events are published").count() <= 1, "{log}");

    let wide = Config { max_messages: -1, ..full };
    ask(&story, async |context| context.update_stream(wide).await.map(drop)).unwrap();
    story.told(&run);
    status_when(&story.world, "its end", |it| it["trouble"].is_null() && it["behind"] == 0);
}
