//! Another client, nats-py, reads all of it and validates it by the published schemas.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use integration::nats::Message;
use integration::{Said, World, ok, packages, program};
use serde_json::Value;

use crate::story::{Story, check, topic};

/// Approved by somebody, under a lock, to an environment; the first attempt fails.
fn pipeline(ready: &Path) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\nlock: site\njobs:\n  \
         allow: {{ gate: {{ role: admin, message: go }} }}\n  \
         deploy:\n    needs: [allow]\n    process: {{}}\n    \
         environment: {{ name: site/prod, url: \"https://fra.example.org\" }}\n    \
         run: test -e {}\n",
        ready.display()
    )
}

/// What happens to a run with all that can happen to it.
fn live(world: &mut World, ready: &Path) -> u64 {
    let run = world.trigger();
    world.run_when(run, "wait for somebody", |it| it["jobs"][0]["status"] == "open");
    let arguments = ["tokens", "create", "anna", "--role", "admin", "--partition", "fra"];
    let token = world.garrison(&arguments).out.trim().to_owned();
    let mut approve = Command::new(program());
    approve.env("GARRISON_URL", ok(world.site.url())).env("GARRISON_TOKEN", token);
    let said = Said::from(approve.args(["approve", &run.to_string()]).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(world.finished(run)["status"], "failed");
    ok(world.site.stop_agent("fra", "mgmt01"));
    std::fs::write(ready, "").unwrap();
    assert_eq!(world.garrison(&["retry", &run.to_string()]).code, 0);
    ok(world.site.start_agent("fra", "mgmt01"));
    assert_eq!(world.finished(run)["status"], "succeeded");
    run
}

#[test]
fn another_client_reads_everything_and_finds_it_as_the_schemas_say() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let mut story = Story::begin(&["fra"], &pipeline(&ready));
    let run = live(&mut story.world, &ready);
    let told = ok(garrison::site::wait("the end of the second try", || {
        let messages = story.messages();
        let is_end =
            |it: &Message| topic(it) == "run.finished" && it.event["data"]["status"] == "succeeded";
        let freed = messages.iter().any(is_end) && messages.iter().any(|it| is(it, "lock.freed"));
        freed.then_some(messages)
    }));
    check(&told);

    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/events/consumer.py"))
        .args([format!("nats://{}", story.nats.address()), ok(story.world.site.url())])
        .arg(told.len().to_string())
        .env("PYTHONPATH", packages::pypi(&["nats-py==2.16.0", "jsonschema==4.26.0"]))
        .output();
    let said = Said::from(output.expect("python3 is missing: deploy/install-test-needs"));
    assert_eq!(said.code, 0, "{}\n{}", said.err, said.out);
    let expected: Vec<String> = told.iter().map(|it| format!("{} {}", it.id, it.subject)).collect();
    assert_eq!(said.out.lines().collect::<Vec<_>>(), expected);

    let seen: BTreeSet<&str> = told.iter().map(topic).collect();
    let all = [
        "agent.connected",
        "agent.disconnected",
        "agent.enrolled",
        "environment.deployed",
        "environment.failed",
        "job.opened",
        "lock.freed",
        "lock.taken",
        "run.retried",
    ];
    assert!(all.iter().all(|topic| seen.contains(topic)), "{seen:#?}");
    agrees(&story.world, run, &told);
}

/// Checks that the last that was told is what the coordinator says.
fn agrees(world: &World, run: u64, told: &[Message]) {
    let last = |wanted: &str| &told.iter().rfind(|it| is(it, wanted)).unwrap().event["data"];
    let shown = world.finished(run);
    let gate = told.iter().find(|it| is(it, "job.finished")).unwrap();
    assert_eq!(gate.event["data"]["status"], "approved");
    assert_eq!(gate.event["data"]["approved_by"], serde_json::json!(["anna"]));
    let attempts = told.iter().filter(|it| is(it, "attempt.finished"));
    let attempts: Vec<&Value> = attempts.map(|it| &it.event["data"]["status"]).collect();
    let expected: Vec<&Value> =
        shown["jobs"][1]["attempts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
    assert_eq!(attempts, expected);
    assert_eq!(last("run.finished")["finished_us"], shown["finished_us"]);
    let client = ok(world.site.client());
    let deployed: Value = ok(client.get("/api/v1/environments"));
    let environment = last("environment.deployed");
    for key in ["environment", "partition", "url", "status", "attempt", "job", "run", "commit"] {
        assert_eq!(environment[key], deployed[0][key], "{key}");
    }
}

fn is(message: &Message, wanted: &str) -> bool {
    topic(message) == wanted
}
