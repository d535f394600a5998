//! `garrison plan` and `garrison lint`: what would run and what is wrong, told without a coordinator.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use integration::program;
use serde_json::Value;

const PIPELINE: &str = r#"
on: { push: { branches: [main] }, tag: ["v*"], manual: {} }
inputs: { check: { type: bool, default: false } }
partitions: { select: 'labels.env == "prod"', changed: "partitions/{partition}/**" }
lock: deploy
jobs:
  build: { matrix: { os: [4.2.1, 4.3.0] }, container: "sonic:{{ matrix.os }}", run: make }
  save: { ssh: { device: leaf01 }, run: save, when: '!inputs.check' }
  deploy: { needs: [build, save], process: {}, run: deploy }
  undo: { needs: [deploy], process: {}, run: undo, when: failure() }
  tell: { needs: [deploy], process: {}, run: tell, when: 'always() && event != "tag"' }
"#;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".garrison")).unwrap();
    fs::create_dir_all(dir.path().join("partitions")).unwrap();
    fs::write(dir.path().join(".garrison/deploy.yaml"), PIPELINE).unwrap();
    for (partition, env) in [("fra", "prod"), ("muc", "prod"), ("lab", "test")] {
        let device = format!("{{ address: 10.0.0.1, user: admin, host_key: '{KEY}' }}");
        let inventory = format!(
            "partition: {partition}\nlabels: {{ env: {env} }}\ndevices: {{ leaf01: {device} }}\n"
        );
        fs::write(dir.path().join(format!("partitions/{partition}.yaml")), inventory).unwrap();
    }
    dir
}

fn garrison(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(program()).current_dir(dir).args(arguments).output().unwrap()
}

fn plan(dir: &Path, arguments: &[&str]) -> Output {
    garrison(dir, &[&["plan", ".garrison/deploy.yaml"], arguments].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_plan_tells_what_runs_where_and_why_not() {
    let dir = site();
    let push = ["--inventory", "partitions", "--push", "main", "--changed", "partitions/fra/x"];
    let said = plan(dir.path(), &push);
    assert!(said.status.success(), "{}", text(&said.stderr));
    insta::assert_snapshot!(text(&said.stdout));
    let mermaid = plan(dir.path(), &[&push[..], &["--as", "mermaid"]].concat());
    insta::assert_snapshot!(text(&mermaid.stdout));
    let json = plan(dir.path(), &[&push[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["plan"]["jobs"].as_array().unwrap().len(), 6);
    assert_eq!(json["left_out"][0]["reason"]["kind"], "not_selected");
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_plan_shows_gates_as_such() {
    let dir = site();
    let pipeline = "on: { manual: {} }\npartitions: [fra]\nlock: deploy\njobs:\n  \
                    first: { gate: { count: 2, message: \"{{ plan.summary }}\" } }\n  \
                    save: { needs: [first], ssh: { device: leaf01 }, run: save }\n  \
                    console: { needs: [save], gate: { role: admin, acknowledge: loaded on fw01 } }\n  \
                    deploy: { needs: [console], process: {}, run: deploy, environment: fra/fw01 }\n";
    fs::write(dir.path().join(".garrison/deploy.yaml"), pipeline).unwrap();
    let said = plan(dir.path(), &["--inventory", "partitions"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    insta::assert_snapshot!(text(&said.stdout));
    let mermaid = plan(dir.path(), &["--inventory", "partitions", "--as", "mermaid"]);
    insta::assert_snapshot!(text(&mermaid.stdout));
    let json = plan(dir.path(), &["--inventory", "partitions", "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["plan"]["jobs"][2]["task"]["asks"]["text"], "loaded on fw01");
}

#[test]
fn a_plan_shows_what_comes_in_which_wave() {
    let dir = site();
    let pipeline = "on: { manual: {} }\npartitions: { names: [fra, muc], rollout: { canary: [muc] } }\njobs:\n  \
                    reset: { devices: { role: leaf }, rollout: { serial: halves }, ssh: {}, run: reset }\n";
    fs::write(dir.path().join(".garrison/deploy.yaml"), pipeline).unwrap();
    for partition in ["fra", "muc"] {
        let device =
            format!("{{ address: 10.0.0.1, user: a, role: leaf, group: pair, host_key: '{KEY}' }}");
        let inventory =
            format!("partition: {partition}\ndevices: {{ leaf01: {device}, leaf02: {device} }}\n");
        fs::write(dir.path().join(format!("partitions/{partition}.yaml")), inventory).unwrap();
    }
    let said = plan(dir.path(), &["--inventory", "partitions"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    insta::assert_snapshot!(text(&said.stdout));
}

#[test]
fn a_plan_shows_the_locks_of_jobs() {
    let dir = site();
    let pipeline = "on: { manual: {} }\ninputs: { machine: { type: text, default: m1 } }\npartitions: [fra]\njobs:\n  \
                    power: { process: {}, run: power, lock: \"bmc-{{ inputs.machine }}\" }\n";
    fs::write(dir.path().join(".garrison/deploy.yaml"), pipeline).unwrap();
    let said = plan(dir.path(), &["--inventory", "partitions", "--input", "machine=m2"]);
    let told = text(&said.stdout) + &text(&said.stderr);
    assert!(told.contains("fra        power  as a process, with the lock bmc-m2\n"), "{told}");
}

#[test]
fn a_plan_takes_tags_and_inputs() {
    let dir = site();
    let jobs = |arguments: &[&str]| {
        let said =
            plan(dir.path(), &[arguments, &["--inventory", "partitions", "-o", "json"]].concat());
        let json: Value = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|_| panic!("{}", text(&said.stderr)));
        let jobs = json["plan"]["jobs"].as_array().unwrap().clone();
        let name = |job: &Value| format!("{}/{}", job["partition"], job["name"]).replace('"', "");
        jobs.iter().map(name).collect::<Vec<_>>()
    };
    // Without `save`, nothing that needs it.
    assert_eq!(
        jobs(&["--input", "check=true"]),
        ["fra/build", "fra/build", "muc/build", "muc/build"]
    );
    let tag = jobs(&["--tag", "v1"]);
    assert!(
        tag.contains(&"muc/undo".to_owned()) && !tag.contains(&"muc/tell".to_owned()),
        "{tag:?}"
    );
}

#[test]
fn what_cannot_be_planned_is_told() {
    let dir = site();
    for (arguments, words) in [
        (&["--push", "other"][..], "starts on pushes to `main`"),
        (&["--changed", "x"][..], "--push"),
        (&["--input", "chek=true", "--inventory", "partitions"][..], "did you mean `check`?"),
        (&["--inventory", "nowhere"][..], "cannot list nowhere"),
        (&[][..], "may deploy to no partition"),
    ] {
        let said = plan(dir.path(), arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}");
        assert!(text(&said.stderr).contains(words), "{arguments:?}: {}", text(&said.stderr));
    }
}

#[test]
fn pipelines_are_named_by_their_files_or_their_repository() {
    let dir = site();
    let folder = dir.path().join(".garrison");
    fs::write(folder.join("wrong.yaml"), "on: { manual: {} }\npartitions: [fra]\n").unwrap();
    fs::create_dir(folder.join("include")).unwrap();
    let inventory = ["--inventory", "partitions"];
    for named in
        [&[][..], &["."], &[".garrison"], &[".garrison/deploy.yaml", ".garrison/wrong.yaml"]]
    {
        let said = garrison(dir.path(), &[&["lint"], named, &inventory].concat());
        let told = text(&said.stdout);
        assert_eq!(said.status.code(), Some(2), "{named:?}: {told}");
        assert!(
            told.contains("--> .garrison/wrong.yaml\n") && told.contains("5 files, 1 complaint"),
            "{told}"
        );
    }
    for (arguments, words) in [
        (["lint", "partitions/none.yaml"], "there is no such file"),
        (["lint", ".garrison/include"], "no pipeline in .garrison/include"),
        (["plan", ".garrison"], "name a file, and one that you may read"),
        (
            ["lint", "partitions/fra.yaml/x"],
            "`partitions/fra.yaml/x` cannot be read: Not a directory",
        ),
    ] {
        let said = garrison(dir.path(), &arguments);
        let told = text(&said.stdout) + &text(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    let inventory = dir.path().join("partitions/fra.yaml");
    fs::remove_file(&inventory).unwrap();
    fs::create_dir(&inventory).unwrap();
    let told = text(&plan(dir.path(), &["--inventory", "partitions"]).stderr);
    assert!(told.contains("the inventory of `fra` cannot be read: Is a directory"), "{told}");
}
