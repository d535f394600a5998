//! The handbook's examples work, and its table of codes is complete.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use pipelines::compile::compile;
use pipelines::diagnostic::Code;
use pipelines::inventory;
use pipelines::source::File;
use pipelines::trigger::Trigger;
use support::{blocks, page, sources};

#[test]
fn examples_of_pipelines_compile() {
    for name in ["pipelines.md", "getting-started.md", "secrets.md"] {
        let examples = blocks(&page(name), "pipeline");
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            let sources = sources(".garrison/example.yaml", example.as_bytes());
            let plan = compile(&sources, &Trigger::by_hand());
            plan.unwrap_or_else(|found| panic!("{name}: {found}"));
        }
    }
}

#[test]
fn examples_of_inventories_are_read() {
    let examples = blocks(&page("inventory.md"), "inventory");
    assert!(!examples.is_empty());
    for example in examples {
        let file = File { name: "inventory.yaml".into(), bytes: example.into_bytes() };
        inventory::read(&file, &"fra-equ01".parse().unwrap())
            .unwrap_or_else(|found| panic!("{found}"));
    }
}

#[test]
fn every_code_stands_in_the_handbook() {
    let page = page("pipelines.md");
    let rows = Code::ALL.iter().map(|code| format!("| {code} | {} |", code.summary()));
    let missing: Vec<_> = rows.filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "add to docs/pipelines.md:\n{}", missing.join("\n"));
}
