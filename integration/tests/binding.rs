//! Which repositories may deploy to a partition, and whose inventory counts there: the coordinator's
//! configuration says it, and no repository can.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use garrison::site::OPEN_POLICY;
use integration::{Said, World, ok};

/// An inventory with one device, and a variable that says which inventory it is.
fn inventory(partition: &str, device: &str, which: &str) -> String {
    format!(
        "partition: {partition}\nvariables: {{ WHICH: {which} }}\ndevices:\n  {device}: {{ address: 127.0.0.1, \
         user: root, host_key: ssh-ed25519 \
         AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB }}\n"
    )
}

/// A job that says which inventory it has, and fails.
fn pipeline(partition: &str) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [{partition}]\njobs: {{ a: {{ process: {{}}, run: 'echo \"which $WHICH\"; exit 3' }} }}\n"
    )
}

fn trigger(world: &World, repository: &str, reference: &str) -> Said {
    let arguments = ["trigger", "deploy", "--repository", repository, "--ref", reference];
    world.garrison(&[&arguments[..], &["-o", "json"]].concat())
}

fn diagnostics(said: &Said) -> String {
    assert_eq!(said.code, 1, "{said:?}");
    said.json()["diagnostics"].as_str().unwrap().to_owned()
}

/// Waits for the end of the run that was started, and gives its job's log.
fn log(world: &World, said: &Said) -> String {
    assert_eq!(said.code, 0, "{said:?}");
    let run = said.json()["id"].as_u64().unwrap();
    world.finished(run);
    world.log(run, 0)
}

/// A repository beside the site's own, with these files in `main`.
fn repository(path: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Test", "-c", "user.email=test@example.org"]);
        assert!(git.args(arguments).current_dir(path).status().unwrap().success());
    };
    if !path.join(".git").exists() {
        git(&["init", "--quiet", "--initial-branch=main"]);
    }
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "x"]);
}

/// A coordinator that knows a second repository `app`, which some may deploy to `muc` from; the
/// inventory of `muc` lies in the first one.
fn restart_with_app(world: &mut World, who: &str) {
    ok(world.site.stop_coordinator());
    let app = world.dir.path().join("app");
    world.site.configure(&format!(
        "\n[[repositories]]\nname = \"app\"\nurl = {app:?}\n\n[[partitions]]\nname = \"muc\"\n\
         repositories = [\"{who}\"]\ninventory = {{ repository = \"infra\", file = \"partitions/muc.yaml\" }}\n"
    ));
    ok(world.site.start_coordinator());
}

#[test]
fn the_inventory_of_the_bound_branch_counts_whatever_branch_is_deployed() {
    let mut world = World::without_agents(&["fra"], &pipeline("fra"));
    ok(world.site.add_agent("fra", "mgmt01", 1, OPEN_POLICY));
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory("fra", "leaf01", "bound"))]));
    ok(world.site.git(&["checkout", "--quiet", "-b", "feature"]));
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory("fra", "leaf02", "copied"))]));
    let log = log(&world, &trigger(&world, "infra", "feature"));
    assert!(log.contains("which bound\n"), "{log}");

    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs: { a: { ssh: { device: leaf02 }, run: date } }\n";
    ok(world.site.commit(&[(".garrison/deploy.yaml", pipeline)]));
    let told = diagnostics(&trigger(&world, "infra", "feature"));
    assert!(told.contains("P057") && told.contains("no device `leaf02`"), "{told}");
}

#[test]
fn a_repository_deploys_only_where_it_is_listed_and_with_the_bound_inventory() {
    let mut world = World::without_agents(&["fra"], &pipeline("fra"));
    let files = [
        ("partitions/fra.yaml", &*inventory("fra", "leaf01", "bound")),
        ("partitions/muc.yaml", &inventory("muc", "leaf01", "bound")),
    ];
    ok(world.site.commit(&files));
    let app = world.dir.path().join("app");
    // Its own copies of the inventories are of no use to it.
    let files = [
        (".garrison/deploy.yaml", &*pipeline("fra")),
        ("partitions/fra.yaml", &inventory("fra", "leaf01", "copied")),
        ("partitions/muc.yaml", &inventory("muc", "leaf01", "copied")),
    ];
    repository(&app, &files);
    restart_with_app(&mut world, "app");
    ok(world.site.add_agent("muc", "mgmt01", 1, OPEN_POLICY));

    let told = diagnostics(&trigger(&world, "app", "main"));
    assert!(told.contains("P022") && told.contains("may not deploy to `fra`"), "{told}");
    repository(&app, &[(".garrison/deploy.yaml", &pipeline("ber"))]);
    let told = diagnostics(&trigger(&world, "app", "main"));
    // Of what it may not deploy to it does not hear.
    assert!(told.contains("P021") && told.contains("`muc`") && !told.contains("`fra`"), "{told}");

    repository(&app, &[(".garrison/deploy.yaml", &pipeline("muc"))]);
    let said = trigger(&world, "app", "main");
    let log = log(&world, &said);
    assert!(log.contains("which bound\n"), "{log}");
    let run = said.json()["id"].to_string();

    // The partition's list is changed while the run is there.
    restart_with_app(&mut world, "infra");
    let refused = world.garrison(&["retry", &run]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("may no longer deploy to 'muc'"), "{refused:?}");
    let told = diagnostics(&trigger(&world, "app", "main"));
    assert!(told.contains("P022"), "{told}");
    restart_with_app(&mut world, "app");
    let retried = world.garrison(&["retry", &run]);
    assert_eq!(retried.code, 0, "{retried:?}");
}
