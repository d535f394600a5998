//! What is deployed where: told of each environment, kept through a crash and a rebuild, shown to who may
//! see the partition, and deployed once more as an ordinary run.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::{Said, World, ok, program};
use serde_json::{Value, json};

/// Deploys the file `version` of its commit where somebody has approved it; version 3 cannot be.
fn pipeline(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra, muc]\n\
         inputs: {{ os: {{ type: choice, options: [\"4.2\", \"4.3\"], default: \"4.3\" }} }}\njobs:\n  \
         approve: {{ gate: {{ role: admin, message: go }} }}\n  \
         check: {{ needs: [approve], process: {{}}, run: 'true' }}\n  \
         deploy:\n    needs: [check]\n    process: {{}}\n    \
         environment: {{ name: site/prod, url: \"https://{{{{ partition }}}}.example.org\" }}\n    \
         run: test $(cat version) != 3; echo $GARRISON_PARTITION $INPUT_OS $(cat version) >> {dir}/deployed\n"
    )
}

/// A token's name and text.
fn token(world: &World, name: &str, role: &str, partition: &str) -> String {
    let arguments = ["tokens", "create", name, "--role", role, "--partition", partition];
    let said = world.garrison(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    said.out.trim().to_owned()
}

/// What the command line says to whoever has the token.
fn by(world: &World, token: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(program());
    command.env("GARRISON_URL", ok(world.site.url())).env("GARRISON_TOKEN", token);
    Said::from(command.args(arguments).output().unwrap())
}

fn commit(world: &World, dir: &Path, version: &str) -> String {
    ok(world.site.commit(&[(".garrison/deploy.yaml", &pipeline(dir)), ("version", version)]))
}

/// Lets a run through its gates, and waits for its end.
fn approved(world: &World, anna: &str, run: u64) -> String {
    let open = |it: &Value| it["jobs"][0]["status"] == "open" && it["jobs"][1]["status"] == "open";
    world.run_when(run, "wait for people", open);
    let said = by(world, anna, &["approve", &run.to_string()]);
    assert_eq!(said.code, 0, "{said:?}");
    world.finished(run)["status"].as_str().unwrap().to_owned()
}

fn deploy(world: &World, anna: &str, inputs: &[&str]) -> String {
    let arguments = [&["trigger", "deploy", "-r", "infra", "-o", "json"][..], inputs].concat();
    let said = world.garrison(&arguments);
    assert_eq!(said.code, 0, "{said:?}");
    approved(world, anna, said.json()["id"].as_u64().unwrap())
}

fn history(world: &World) -> Value {
    let said = world.garrison(&["environments", "history", "fra/site/prod", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

/// Run and status of each deployment, the latest first.
fn runs(history: &Value) -> Vec<(u64, &str)> {
    let all = history["deployments"].as_array().unwrap().iter();
    all.map(|it| (it["run"].as_u64().unwrap(), it["status"].as_str().unwrap())).collect()
}

#[test]
fn what_is_deployed_is_known_through_a_crash_and_a_rebuild_and_can_be_deployed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(&["fra", "muc"], &pipeline(dir.path()));
    let said = world.garrison(&["tokens", "create", "anna", "--role", "admin"]);
    let anna = said.out.trim().to_owned();
    assert_eq!(
        world.garrison(&["environments"]).out,
        "nothing was deployed to an environment yet\n"
    );
    let nothing = world.garrison(&["environments", "history", "fra/site/prod"]);
    assert!(nothing.code == 4 && nothing.err.contains("nothing was deployed to fra/site/prod"));

    let first = commit(&world, dir.path(), "1");
    assert_eq!(deploy(&world, &anna, &["--input", "os=4.2"]), "succeeded");
    let alone = world.garrison(&["environments", "redeploy", "fra/site/prod"]);
    assert!(alone.code == 4 && alone.err.contains("no deployment before"), "{alone:?}");
    let second = commit(&world, dir.path(), "2");
    assert_eq!(deploy(&world, &anna, &[]), "succeeded");
    commit(&world, dir.path(), "3");
    assert_eq!(deploy(&world, &anna, &[]), "failed");

    // What failed is told, and is not what is deployed.
    let told = history(&world);
    assert_eq!(runs(&told), [(3, "failed"), (2, "succeeded"), (1, "succeeded")]);
    assert_eq!((&told["deployed"], &told["previous"]), (&json!(2), &json!(1)));
    let listed = world.garrison(&["environments", "--partition", "muc", "-o", "json"]).json();
    let mut there = listed[0].clone();
    assert!(there.as_object_mut().unwrap().remove("at_us").unwrap().as_u64().unwrap() > 0);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let expected = json!({
        "partition": "muc", "environment": "site/prod", "url": "https://muc.example.org",
        "status": "succeeded", "run": 2, "job": "2.5", "title": "deploy", "attempt": "2.5.1",
        "repository": "infra", "pipeline": "deploy", "reference": "refs/heads/main",
        "commit": second, "actor": "local admin", "approved_by": ["anna"],
    });
    assert_eq!(there, expected);
    let older = ["environments", "history", "fra/site/prod", "--before", "2.4.1", "-o", "json"];
    assert_eq!(runs(&world.garrison(&older).json()), [(1, "succeeded")]);

    let diff = world.garrison(&["environments", "diff", "fra/site/prod", "-o", "json"]).json();
    assert_eq!(
        (&diff["older"]["commit"], &diff["newer"]["commit"]),
        (&json!(first), &json!(second))
    );
    assert_eq!((&diff["added"][0]["commit"], &diff["removed"]), (&json!(second), &json!([])));
    assert_eq!((diff["added"].as_array().unwrap().len(), &diff["files"]), (1, &json!(["version"])));
    let back = world.garrison(&["environments", "diff", "fra/site/prod", "2", "1"]).out;
    let lost = back.lines().nth(1).unwrap_or_default();
    assert!(lost.starts_with(&format!("- {} ", &second[..10])), "{back}");
    let never = world.garrison(&["environments", "diff", "fra/site/prod", "1", "3"]);
    assert!(never.code == 4 && never.err.contains("run 3 deployed nothing"), "{never:?}");

    // Who may not see the partition hears nothing of it.
    let nbg = token(&world, "nbg", "edit", "nbg");
    assert_eq!(by(&world, &nbg, &["environments", "-o", "json"]).json(), json!([]));
    for action in ["history", "diff", "redeploy"] {
        let said = by(&world, &nbg, &["environments", action, "fra/site/prod"]);
        assert_eq!((said.code, said.out.as_str()), (4, ""), "{said:?}");
        assert!(said.err.contains("nothing was deployed to fra/site/prod"), "{said:?}");
    }
    let muc = token(&world, "muc", "view", "muc");
    let seen = by(&world, &muc, &["environments", "-o", "json"]).json();
    assert_eq!(seen, listed);
    let viewer = by(&world, &muc, &["environments", "redeploy", "muc/site/prod"]);
    assert!(viewer.code == 4 && viewer.err.contains("may only view"), "{viewer:?}");

    // The one before the present one once more, as it was.
    let missing = world.garrison(&["environments", "redeploy", "fra/site/prod", "--run", "3"]);
    assert!(missing.code == 4 && missing.err.contains("run 3 deployed nothing"), "{missing:?}");
    let said = world.garrison(&["environments", "redeploy", "fra/site/prod", "-o", "json"]);
    assert_eq!((said.code, &said.json()["id"]), (0, &json!(4)), "{said:?}");
    assert_eq!(approved(&world, &anna, 4), "succeeded");
    let told = history(&world);
    assert_eq!(told["deployments"][0]["commit"], first);
    assert_eq!((&told["deployed"], &told["previous"]), (&json!(4), &json!(2)));
    let deployed = fs::read_to_string(dir.path().join("deployed")).unwrap();
    let fra: Vec<&str> = deployed.lines().filter(|line| line.starts_with("fra")).collect();
    assert_eq!(fra, ["fra 4.2 1", "fra 4.3 2", "fra 4.2 1"]);
    assert_eq!(deployed.lines().count(), 6, "{deployed}");

    let list = world.garrison(&["environments", "-o", "json"]).json();
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    assert_eq!(
        (history(&world), world.garrison(&["environments", "-o", "json"]).json()),
        (told.clone(), list.clone())
    );
    ok(world.site.stop_coordinator());
    let config = world.site.data().parent().unwrap().join("coordinator.toml");
    for action in ["rebuild", "replay"] {
        let said = world.garrison(&["coordinator", action, "--config", config.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    ok(world.site.start_coordinator());
    assert_eq!(
        (history(&world), world.garrison(&["environments", "-o", "json"]).json()),
        (told, list)
    );
}
