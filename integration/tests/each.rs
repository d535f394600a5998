//! Jobs that run once on each agent: where they run, and what is said while one of the agents is away.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::process::Command;

use garrison::site::OPEN_POLICY;
use integration::{World, ok, program};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
on: { manual: {} }
partitions: [fra]
jobs:
  check: { agent: each, process: {}, run: 'echo "{{ agent.name }} in $PWD"' }
  report: { needs: [check], process: {}, run: echo reported }
  first: { agent: each, when: 'agent.name == "mgmt01"', process: {}, run: echo first }
"#;

const INVENTORY: &str =
    "partition: fra\nagents: { mgmt02: {}, mgmt01: { labels: { rack: r1 } } }\ndevices: {}\n";

/// A site with these of the two agents that its inventory lists.
fn world(agents: &[&str]) -> World {
    let mut world = World::without_agents(&["fra"], PIPELINE);
    ok(world.site.commit(&[("partitions/fra.yaml", INVENTORY)]));
    for agent in agents {
        ok(world.site.add_agent("fra", agent, 4, OPEN_POLICY));
    }
    world
}

/// Waits until the first agent's job has ended, and this is said of the second's.
fn told(world: &World, run: u64, words: &str) {
    world.run_when(run, &format!("say that it {words}"), |run| {
        let (first, second) = (&run["jobs"][0], &run["jobs"][1]);
        first["status"] == "succeeded" && second["status"] == "queued" && second["detail"] == words
    });
    let shown = world.garrison(&["show", &run.to_string()]).out;
    assert!(shown.contains(&format!("{run}.1 check on mgmt02: {words}\n")), "{shown}");
}

/// A run that has ended: each instance had one attempt, with its own agent.
fn ran_on_each(world: &World, run: u64) {
    let run = world.finished(run);
    assert_eq!(run["status"], "succeeded", "{run:#}");
    for (index, agent) in ["mgmt01", "mgmt02"].into_iter().enumerate() {
        let job = &run["jobs"][index];
        assert_eq!((&job["name"], &job["agent"]), (&json!("check"), &json!(agent)));
        let attempts = job["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), &attempts[0]["agent"]), (1, &json!(agent)), "{job:#}");
        let log = world.log(run["id"].as_u64().unwrap(), index);
        let place = world.site.agent_dir("fra", agent);
        assert!(log.contains(&format!("{agent} in {}/", place.display())), "{log}");
    }
    assert_eq!(run["jobs"][2]["needs"], json!([run["jobs"][0]["id"], run["jobs"][1]["id"]]));
}

#[test]
fn a_job_runs_once_on_each_agent_that_the_inventory_lists() {
    let mut world = world(&["mgmt01", "mgmt02"]);
    // One that the inventory does not list, and that has more room than both.
    ok(world.site.add_agent("fra", "spare", 64, OPEN_POLICY));
    let run = world.trigger();
    ran_on_each(&world, run);
    let shown = world.garrison(&["show", &run.to_string()]).out;
    assert!(shown.contains("check on mgmt01") && shown.contains("check on mgmt02"), "{shown}");
}

#[test]
fn while_an_agent_is_away_its_instance_waits_and_says_for_whom() {
    let mut world = world(&["mgmt01"]);
    let first = world.trigger();
    told(&world, first, "waits for agent mgmt02, which has not joined");
    ok(world.site.add_agent("fra", "mgmt02", 4, OPEN_POLICY));
    ran_on_each(&world, first);

    ok(world.site.stop_agent("fra", "mgmt02"));
    let second = world.trigger();
    told(&world, second, "waits for agent mgmt02, whose link is down");
    assert_eq!(world.garrison(&["agents", "cordon", "fra/mgmt02"]).code, 0);
    told(&world, second, "waits for agent mgmt02, which is cordoned and whose link is down");
    // What waits outlives the coordinator, and waits for the same agent.
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt02"));
    told(&world, second, "waits for agent mgmt02, which is cordoned");
    assert_eq!(world.garrison(&["agents", "uncordon", "fra/mgmt02"]).code, 0);
    ran_on_each(&world, second);
}

#[test]
fn a_plan_names_the_agents() {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [(".garrison/site.yaml", PIPELINE), ("partitions/fra.yaml", INVENTORY)] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let plan = |arguments: &[&str]| {
        let mut command = Command::new(program());
        command.current_dir(dir.path()).args(["plan", ".garrison/site.yaml"]).args(arguments);
        let said = command.output().unwrap();
        String::from_utf8(if said.status.success() { said.stdout } else { said.stderr }).unwrap()
    };
    let inventory = ["--inventory", "partitions"];
    insta::assert_snapshot!(plan(&inventory));
    insta::assert_snapshot!(plan(&[&inventory[..], &["--as", "mermaid"]].concat()));
    let json: Value =
        serde_json::from_str(&plan(&[&inventory[..], &["-o", "json"]].concat())).unwrap();
    assert_eq!(json["plan"]["jobs"][1]["agent"], "mgmt02");
    // Without the inventory nobody knows of any.
    let said = plan(&[]);
    assert!(said.contains("P098") && said.contains("agents: { mgmt01: {} }"), "{said}");
}
