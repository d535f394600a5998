//! The schemas fit what the parser takes, and what it must refuse by its form alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use pipelines::schema;
use support::json::{as_json, check};
use support::{blocks, cases, page, yaml_files};

#[test]
fn what_the_parser_takes_fits_the_schemas() {
    let (pipeline, inventory) = (schema::of_pipelines(), schema::of_inventories());
    for (name, bytes) in yaml_files(&cases("valid")) {
        check(&pipeline, &name, &bytes);
    }
    for name in ["base.yaml", "nested.yaml", "shared/sonic.yaml"] {
        let bytes = std::fs::read(cases("included").join(name)).unwrap();
        check(&schema::of_included(), name, &bytes);
    }
    for (name, bytes) in
        ["inventories", "inventory-valid"].map(|it| yaml_files(&cases(it))).concat()
    {
        check(&inventory, &name, &bytes);
    }
}

#[test]
fn the_handbooks_examples_fit_the_schemas() {
    let (pipeline, inventory) = (schema::of_pipelines(), schema::of_inventories());
    for name in ["pipelines.md", "getting-started.md", "secrets.md", "inventory.md"] {
        let page = page(name);
        let included = schema::of_included();
        blocks(&page, "included").iter().for_each(|it| check(&included, name, it.as_bytes()));
        blocks(&page, "pipeline").iter().for_each(|it| check(&pipeline, name, it.as_bytes()));
        blocks(&page, "inventory").iter().for_each(|it| check(&inventory, name, it.as_bytes()));
    }
}

#[test]
fn mistakes_of_form_do_not_fit() {
    let validator = jsonschema::validator_for(&schema::of_pipelines()).unwrap();
    let cases_of_form = [
        "unknown-key",
        "on-is-list",
        "on-is-text",
        "jobs-list",
        "partitions-empty",
        "run-not-text",
        "matrix-list",
        "templates-list",
        "environment",
        "gate-keys",
        "foreign-gitlab",
        "tag-forms",
    ];
    for name in cases_of_form {
        let bytes = std::fs::read(cases("invalid").join(format!("{name}.yaml"))).unwrap();
        assert!(!validator.is_valid(&as_json(name, &bytes)), "{name}");
    }
}
