//! The library of pipelines fits the language, its own examples of inventories, and its README.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pipelines::compile::{compile, lint};
use pipelines::inventory;
use pipelines::load::{Found, Need, Sources, Unavailable, load};
use pipelines::plan::Plan;
use pipelines::schema;
use pipelines::source::File;
use pipelines::trigger::Trigger;
use support::json::check;
use support::yaml_files;

fn library(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("library").join(folder)
}

fn read(path: &str) -> Found {
    let bytes = fs::read(library(path)).map_err(|_| Unavailable::NotFound)?;
    Ok(File { name: path.to_owned(), bytes })
}

/// A pipeline of the library, among the library's examples of partitions.
fn sources(name: &str) -> Sources {
    let among = yaml_files(&library("partitions")).into_iter().map(|it| it.0.parse().unwrap());
    load(format!(".garrison/{name}.yaml"), among.collect(), |need| match need {
        Need::Pipeline(path) => read(path),
        Need::Include(include) => read(&include.file),
        Need::Tree => Err(Unavailable::NotAtHand),
        Need::Inventory(partition) => read(&format!("partitions/{partition}.yaml")),
    })
}

fn names() -> Vec<String> {
    yaml_files(&library(".garrison")).into_iter().map(|it| it.0).collect()
}

fn planned(name: &str, trigger: &Trigger) -> Plan {
    compile(&sources(name), trigger).unwrap_or_else(|found| panic!("{name}: {found}"))
}

/// The names of a plan's jobs, each once.
fn jobs(plan: &Plan) -> Vec<String> {
    let mut names: Vec<_> = plan.jobs.iter().map(|job| job.name.to_string()).collect();
    names.dedup();
    names
}

#[test]
fn every_pipeline_is_planned_without_a_complaint() {
    let names = names();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let found = lint(&sources(&name));
        assert!(found.is_empty(), "{name}: {found}");
        let plan = planned(&name, &Trigger::by_hand());
        assert!(!plan.jobs.is_empty(), "{name}");
        let text = fs::read_to_string(library(".garrison").join(format!("{name}.yaml"))).unwrap();
        assert!(text.starts_with("# "), "{name} does not say what it is for");
    }
}

#[test]
fn every_file_fits_its_schema() {
    let folders = [
        (".garrison", schema::of_pipelines()),
        (".garrison/include", schema::of_included()),
        ("partitions", schema::of_inventories()),
    ];
    for (folder, schema) in folders {
        let files = yaml_files(&library(folder));
        assert!(!files.is_empty(), "{folder}");
        files.iter().for_each(|(name, bytes)| check(&schema, name, bytes));
    }
}

#[test]
fn examples_of_partitions_are_read() {
    for (name, bytes) in yaml_files(&library("partitions")) {
        let file = File { name: name.clone(), bytes };
        inventory::read(&file, &name.parse().unwrap()).unwrap_or_else(|found| panic!("{found}"));
    }
}

#[test]
fn the_control_plane_is_checked_on_every_branch_and_deployed_from_main() {
    let checked = ["requirements", "check", "changes"];
    let deployed = [&checked[..], &["approve", "deploy", "healthy"]].concat();
    assert_eq!(jobs(&planned("control-plane", &Trigger::push("release-1"))), checked);
    assert_eq!(jobs(&planned("control-plane", &Trigger::push("main"))), deployed);
    assert_eq!(jobs(&planned("control-plane", &Trigger::by_hand())), deployed);
    let inputs = [("check".to_owned(), "true".to_owned())].into();
    let by_hand = Trigger::Manual { inputs, limit: Vec::new() };
    assert_eq!(jobs(&planned("control-plane", &by_hand)), checked);
}

#[test]
fn what_only_looks_neither_asks_nor_changes() {
    let plan = planned("drift-check", &Trigger::by_hand());
    for job in &plan.jobs {
        assert!(job.run.iter().all(|line| line.ends_with(" --check --diff")), "{:?}", job.run);
    }
    assert_eq!(plan.jobs.len(), 3);
}

#[test]
fn the_steps_of_gardener_follow_each_other() {
    let plan = planned("gardener", &Trigger::by_hand());
    assert_eq!(plan.jobs.len(), 10, "what is looked at, a gate, and eight steps");
    for (place, job) in plan.jobs.iter().enumerate().skip(1) {
        assert_eq!(job.needs, [place as u32 - 1], "{}", job.name);
    }
}

#[test]
fn the_readme_names_every_pipeline_and_every_secret() {
    let readme = fs::read_to_string(library("README.md")).unwrap();
    let mut secrets = BTreeSet::new();
    for name in names() {
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        let jobs = planned(&name, &Trigger::by_hand()).jobs;
        secrets.extend(jobs.iter().flat_map(|job| &job.secrets).map(|it| it.name.to_string()));
    }
    let missing: Vec<_> =
        secrets.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty() && secrets.len() >= 10, "{missing:?} of {secrets:?}");
}

#[test]
fn commands_to_one_machine_wait_for_each_other() {
    let lock = |machine: &str| {
        let inputs = [("machine".to_owned(), machine.to_owned())].into();
        let plan = planned("metal-bmc", &Trigger::Manual { inputs, limit: Vec::new() });
        plan.jobs[0].lock.as_ref().unwrap().to_string()
    };
    let machine = "e0ab02d2-27cd-5a5e-8efc-080ba80cf258";
    assert_eq!(lock(machine), format!("bmc-{machine}"));
    assert_eq!(lock(&machine.to_uppercase()), lock(machine));
    assert_eq!(lock(""), "bmc-none");
}
