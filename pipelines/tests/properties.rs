//! What holds for every input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::fmt::Write;

use pipelines::compile::{compile, lint, lint_source};
use pipelines::files::Files;
use pipelines::glob::Glob;
use pipelines::inventory;
use pipelines::plan::Plan;
use pipelines::source::File;
use pipelines::trigger::{Trigger, answer};
use proptest::prelude::*;
use support::{cases, sources, yaml_files};

/// Compiles in every way there is, twice, and renders what comes out.
fn exercise(bytes: &[u8]) {
    let trigger = Trigger::push("main");
    let sources = sources(".garrison/a.yaml", bytes);
    let once = compile(&sources, &trigger);
    assert_eq!(once, compile(&sources, &trigger));
    if let Ok(plan) = &once {
        assert_ordered(plan);
        assert_eq!(serde_json::from_slice::<Plan>(&plan.to_json()).unwrap(), *plan);
        assert_eq!(plan.sha256().len(), 64);
        assert!(lint(&sources).is_empty());
    }
    let beside = lint_source(&sources, &Files::default());
    for found in once.err().iter().chain([&beside]).flat_map(|found| found.iter()) {
        assert!(!found.message.is_empty() && found.help.is_some(), "{found}");
        let is_own = found.file == ".garrison/a.yaml";
        assert!(found.span.start.line >= 1);
        assert!(!is_own || found.span.start.byte as usize <= bytes.len());
        assert!(!found.to_string().contains(['\u{1b}', '\0', '\u{202e}']), "{found:?}");
    }
    let file = File { name: "a.yaml".into(), bytes: bytes.to_vec() };
    let _ = answer(&file, &trigger);
    let _ = inventory::read(&file, &"fra-equ01".parse().unwrap());
}

/// Each job stands behind what it needs, which is in its own partition; no instance stands there twice.
fn assert_ordered(plan: &Plan) {
    for (place, job) in plan.jobs.iter().enumerate() {
        assert!(job.needs.is_sorted());
        for &need in &job.needs {
            assert!((need as usize) < place);
            assert_eq!(plan.jobs[need as usize].partition, job.partition);
        }
        let is_same = |other: &&pipelines::plan::Job| {
            (other.title(), &other.partition) == (job.title(), &job.partition)
        };
        assert_eq!(plan.jobs.iter().filter(is_same).count(), 1);
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let kinds =
        ["valid", "invalid", "source", "inventories", "inventory-valid", "inventory-invalid"];
    let files = kinds.map(|kind| yaml_files(&cases(kind)));
    files.into_iter().flatten().map(|(_, bytes)| bytes).collect()
}

/// Pieces that mean something in YAML or in the language.
const PIECES: &[&str] = &[
    "\n",
    "  ",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "&a ",
    "*a",
    "!t ",
    "|\n",
    ">",
    "<<: ",
    "#",
    "---\n",
    "\t",
    "\r\n",
    "~",
    "on",
    "jobs",
    "needs: [a]",
    "matrix: { a: [1, 2] }",
    "when: always()",
    "when: 'inputs.a == 1 ? (",
    "{{ inputs.a }}",
    "{% for a in partition %}",
    "{% endfor %}",
    "extends: a",
    "templates",
    "variables: { A: 1 }",
    "services: { a: { image: b } }",
    "cache: { key: a, paths: [b] }",
    "select",
    "schedule: [{ cron: '* * * * *' }]",
    "concurrency: { mode: queue }",
    "run: date",
    "process: {}",
    "ü",
    "\u{feff}",
    "\u{202e}",
    "\0",
    "\\x1b",
    "%",
    "@",
    ",",
    "? ",
    "1e9",
    "0x1F",
    ".nan",
];

/// What scripts are made of.
const WORDS: &[&str] = &[
    " ",
    "\n",
    "'",
    "\"",
    "\\",
    "$(",
    ")",
    "(",
    "`",
    "${",
    "}",
    "{{",
    "}}",
    "<<E",
    "\nE\n",
    ">",
    "<",
    "|",
    ";",
    "&",
    "#",
    "=",
    "@",
    "-",
    "é",
    "a",
    "./",
    "../",
    "cd ",
    "sh -c ",
    "sh ",
    "sudo -u ",
    "docker run ",
    "-it ",
    "-w ",
    "-v $(pwd):/w ",
    "ansible-playbook ",
    "-e @",
    "-i",
    "--tags",
    ".yaml",
    "export KUBECONFIG=/",
    "timeout ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn odd_scripts_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let script = serde_json::to_string(&words.concat()).unwrap();
        let text = format!(
            "on: {{ manual: {{}} }}\npartitions: [fra-equ01]\njobs:\n  a: {{ container: x, run: {script} }}\n"
        );
        let sources = sources(".garrison/a.yaml", text.as_bytes());
        lint_source(&sources, &Files::default());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    #[test]
    fn random_pieces_never_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        exercise(pieces.concat().as_bytes());
    }

    #[test]
    fn mutated_files_never_panic(
        bytes in prop::sample::select(corpus()),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..8_usize, prop::sample::select(PIECES)), 1..6)
    ) {
        let mut bytes = bytes;
        for (at, cut, piece) in edits {
            let from = at.index(bytes.len() + 1);
            let to = (from + cut).min(bytes.len());
            bytes.splice(from..to, piece.bytes());
        }
        exercise(&bytes);
    }

    #[test]
    fn needs_are_respected(edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..40)) {
        let mut text = String::from("on: { push: {} }\npartitions: [fra-equ02, fra-equ01]\njobs:\n");
        for job in 0..12 {
            // Only from larger to smaller numbers, so that there is no circle; in any order.
            let needs: std::collections::BTreeSet<_> = edges.iter()
                .filter(|(from, to)| *from == (job * 5) % 12 && to < from)
                .map(|(_, to)| format!("j{to}"))
                .collect();
            let needs = needs.into_iter().collect::<Vec<_>>().join(", ");
            let number = (job * 5) % 12;
            writeln!(text, "  j{number}: {{ process: {{}}, run: date, needs: [{needs}] }}").unwrap();
        }
        let trigger = Trigger::push("main");
        let plan = compile(&sources("a.yaml", text.as_bytes()), &trigger).unwrap();
        prop_assert_eq!(plan.jobs.len(), 24);
        assert_ordered(&plan);
    }

    #[test]
    fn globs_without_stars_match_themselves_only(
        text in "[a-c]{1,3}(/[a-c]{1,3}){0,2}", other in "[a-c]{1,3}(/[a-c]{1,3}){0,2}"
    ) {
        let glob: Glob = text.parse().unwrap();
        prop_assert!(glob.matches(&text));
        prop_assert_eq!(glob.matches(&other), text == other);
        prop_assert!("**".parse::<Glob>().unwrap().matches(&other));
    }
}
