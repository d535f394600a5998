//! Two agents share the work of a partition, and one of them dies.

use std::collections::BTreeSet;
use std::fs;

use garrison::site::{OPEN_POLICY, wait};
use integration::{World, ok};
use serde_json::Value;

use crate::job::{self, Records};

/// What agents have which of a run's attempts in work.
fn at_work(run: &Value) -> Vec<String> {
    let running = |it: &&Value| it["status"] == "running";
    let agent = |it: &Value| it["agent"].as_str().unwrap().to_owned();
    job::attempts(run).into_iter().filter(running).map(agent).collect()
}

#[test]
fn the_other_agent_of_a_pair_works_on_and_the_jobs_of_the_dead_one_too() {
    let records = Records::new();
    let folder = records.folder().display();
    let jobs: String = (0..4)
        .map(|number| {
            format!(
                "  j{number}:\n    process: {{}}\n    run: |\n      \
                 echo $GARRISON_ATTEMPT >> {folder}/started\n      \
                 until test -e {folder}/go; do sleep 0.05; done\n      \
                 echo $GARRISON_ATTEMPT >> {folder}/ended\n"
            )
        })
        .collect();
    let text = format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{jobs}");
    let mut world = World::without_agents(&["fra"], &text);
    for agent in ["mgmt01", "mgmt02"] {
        ok(world.site.add_agent("fra", agent, 4, OPEN_POLICY));
    }
    let run = world.trigger();
    let shown = world.run_when(run, "be at work", |run| at_work(run).len() == 4);
    let mut agents = at_work(&shown);
    agents.sort();
    assert_eq!(agents, ["mgmt01", "mgmt01", "mgmt02", "mgmt02"], "they share");

    ok(world.site.kill_agent("fra", "mgmt01"));
    let unknown = |it: &&&Value| it["status"] == "unknown";
    world.run_when(run, "be half unknown", |run| {
        job::attempts(run).iter().filter(unknown).count() == 2
    });
    let second = world.trigger();
    let shown = world.run_when(second, "run beside", |run| at_work(run).len() == 2);
    let agents: BTreeSet<String> = at_work(&shown).into_iter().collect();
    assert_eq!(agents, BTreeSet::from(["mgmt02".to_owned()]), "it has room for two more");

    fs::write(records.folder().join("go"), "").unwrap();
    let shown = world.finished(second);
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    assert!(job::attempts(&shown).iter().all(|it| it["agent"] == "mgmt02"));
    ok(wait("all jobs to end", || (records.said("ended").len() == 8).then_some(())));
    assert!(world.run_when(run, "be there", |_| true)["finished_us"].is_null());

    ok(world.site.start_agent("fra", "mgmt01"));
    let shown = world.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    assert_eq!(job::attempts(&shown).len(), 4);
    records.check();
}
