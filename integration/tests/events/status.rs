//! What anybody can ask about events: their schemas, and who is behind.

use std::process::Command;

use integration::{Said, World, ok, program};
use serde_json::{Value, json};

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
