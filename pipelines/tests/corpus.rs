//! One feature or one mistake a file: what comes of it is kept as a snapshot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use insta::assert_snapshot;
use pipelines::compile::{compile, lint, lint_source};
use pipelines::files::Files;
use pipelines::inventory;
use pipelines::source::File;
use support::{cases, sources, trigger, yaml_files};

#[test]
fn valid_pipelines_give_plans() {
    for (name, bytes) in yaml_files(&cases("valid")) {
        let path = format!(".garrison/{name}.yaml");
        let plan = compile(&sources(&path, &bytes), &trigger(&bytes))
            .unwrap_or_else(|found| panic!("{name}:\n{found}"));
        let json = serde_json::to_string_pretty(&plan).unwrap();
        insta::with_settings!({ snapshot_path => "cases/valid", prepend_module_to_snapshot => false }, {
            assert_snapshot!(name, json);
        });
    }
}

#[test]
fn invalid_pipelines_give_advice() {
    for (name, bytes) in yaml_files(&cases("invalid")) {
        let path = format!(".garrison/{name}.yaml");
        let found = compile(&sources(&path, &bytes), &trigger(&bytes))
            .expect_err(&format!("{name} should not compile"));
        insta::with_settings!({ snapshot_path => "cases/invalid", prepend_module_to_snapshot => false }, {
            assert_snapshot!(name, found.render());
        });
    }
}

#[test]
fn jobs_are_compared_with_the_files_of_their_repository() {
    for (name, bytes) in yaml_files(&cases("source")) {
        let listing = cases("source").join(format!("{name}.txt"));
        let listing = std::fs::read_to_string(listing).unwrap();
        let file = |line: &str| {
            let (mode, path) = line.split_once(' ').unwrap();
            (path.to_owned(), mode == "100755")
        };
        let sources = sources(&format!(".garrison/{name}.yaml"), &bytes);
        assert_eq!(lint(&sources).render(), "", "{name} has other mistakes");
        let found = lint_source(&sources, &Files::new(listing.lines().map(file)));
        insta::with_settings!({ snapshot_path => "cases/source", prepend_module_to_snapshot => false }, {
            assert_snapshot!(name, found.render());
        });
    }
}

#[test]
fn valid_inventories_are_read() {
    for (name, bytes) in yaml_files(&cases("inventory-valid")) {
        let file = File { name: format!("{name}.yaml"), bytes };
        let inventory = inventory::read(&file, &"fra-equ01".parse().unwrap())
            .unwrap_or_else(|found| panic!("{name}:\n{found}"));
        let json = serde_json::to_string_pretty(&inventory).unwrap();
        let again: inventory::Inventory = serde_json::from_str(&json).unwrap();
        assert_eq!(again, inventory, "{name}");
        insta::with_settings!({ snapshot_path => "cases/inventory-valid", prepend_module_to_snapshot => false }, {
            assert_snapshot!(name, json);
        });
    }
}

#[test]
fn invalid_inventories_give_advice() {
    for (name, bytes) in yaml_files(&cases("inventory-invalid")) {
        let file = File { name: format!("{name}.yaml"), bytes };
        let found = inventory::read(&file, &"fra-equ01".parse().unwrap())
            .expect_err(&format!("{name} should not be read"));
        insta::with_settings!({ snapshot_path => "cases/inventory-invalid", prepend_module_to_snapshot => false }, {
            assert_snapshot!(name, found.render());
        });
    }
}
