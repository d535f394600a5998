//! The schemas fit what the parser takes, and what it must refuse by its form alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use pipelines::schema;
use pipelines::source::File;
use pipelines::yaml::{self, Node, Value};
use serde_json::json;
use support::{blocks, cases, page, yaml_files};

/// A file as JSON, as an editor sees it.
fn as_json(name: &str, bytes: &[u8]) -> serde_json::Value {
    let file = File { name: name.to_owned(), bytes: bytes.to_vec() };
    json_of(&yaml::read(&file, &mut Default::default()).unwrap().root)
}

fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => json!(null),
        Value::Bool(written) => json!(written.value),
        Value::Int(written) => json!(written.value),
        Value::Float(written) => json!(written.value),
        Value::Str(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|it| (it.key.text.clone(), json_of(&it.value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

fn check(schema: &serde_json::Value, name: &str, bytes: &[u8]) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let value = as_json(name, bytes);
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

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
