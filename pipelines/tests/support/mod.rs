//! A coordinator's knowledge in small: which partitions there are, and their inventories.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod json;

use std::fs;
use std::path::{Path, PathBuf};

use pipelines::event::Message;
use pipelines::include::Include;
use pipelines::load::{Found, Need, Sources, Unavailable, load};
use pipelines::name::PartitionName;
use pipelines::schedule::{self, Missed, Schedule};
use pipelines::source::File;
use pipelines::trigger::Trigger;
use pipelines::trigger::limit::Limit;

/// Partitions with an inventory in `tests/cases/inventories`.
const BOUND: [&str; 7] =
    ["ams-pair01", "ams-vars01", "fra-equ01", "fra-equ02", "ham-one01", "ham-ssh01", "muc-lab01"];

/// The folder of a kind of cases.
pub(crate) fn cases(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind)
}

/// The YAML files of a folder with their names, sorted.
pub(crate) fn yaml_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_yaml = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().filter(is_yaml).map(|path| (stem(path), fs::read(path).unwrap())).collect()
}

/// The sources of a pipeline with this text, among the partitions of the tests.
pub(crate) fn sources(path: &str, bytes: &[u8]) -> Sources {
    let among = BOUND.iter().map(|name| name.parse().unwrap()).collect();
    load(path, among, |need| match need {
        Need::Pipeline(path) => Ok(File { name: path.clone(), bytes: bytes.to_vec() }),
        Need::Include(include) => included(include),
        Need::Tree => {
            let listing =
                "100644 blob aa\trelease.yaml\x00100644 blob bb\troles/sonic/tasks.yaml\x00";
            Ok(File { name: "tree".into(), bytes: listing.as_bytes().to_vec() })
        }
        Need::Inventory(partition) => inventory(partition),
    })
}

/// Files of this repository and of `shared` at `v1`; nothing of `private` may be included.
fn included(include: &Include) -> Found {
    let folder = match &include.pinned {
        None => cases("included"),
        Some(pinned) => match (pinned.repository.as_str(), pinned.reference.as_str()) {
            ("shared", "v1") => cases("included/shared"),
            ("shared", _) => return Err(Unavailable::Failed("there is no such tag".into())),
            ("away", _) => return Err(Unavailable::NotAtHand),
            _ => return Err(Unavailable::NotAllowed),
        },
    };
    // The handbook's examples include and start other examples.
    let example = |word, start: &str| {
        let blocks = blocks(&page("pipelines.md"), word);
        blocks.into_iter().find(|block| block.starts_with(start)).map(String::into_bytes)
    };
    let bytes = match include.file.as_str() {
        ".garrison/include/playbook.yaml" => example("included", ""),
        ".garrison/base.yaml" => example("pipeline", "# .garrison/base.yaml"),
        file => fs::read(folder.join(file)).ok(),
    };
    let bytes = bytes.ok_or(Unavailable::NotFound)?;
    Ok(File { name: include.to_string(), bytes })
}

fn inventory(partition: &PartitionName) -> Found {
    match partition.as_str() {
        "ams-other01" => Err(Unavailable::NotAllowed),
        "ams-lost01" => Err(Unavailable::NotFound),
        "ams-dark01" => Err(Unavailable::Failed("connection refused".into())),
        "ams-away01" => Err(Unavailable::NotAtHand),
        name if BOUND.contains(&name) => {
            let bytes = fs::read(cases("inventories").join(format!("{name}.yaml"))).unwrap();
            Ok(File { name: format!("inventories/{name}.yaml"), bytes })
        }
        _ => {
            let known = BOUND.iter().map(|name| name.parse().unwrap()).collect();
            Err(Unavailable::NotBound { known })
        }
    }
}

/// The first event that a pipeline wants, with what it takes of one in `fra-equ01`.
fn event(bytes: &[u8]) -> Trigger {
    let file = File { name: "a.yaml".to_owned(), bytes: bytes.to_vec() };
    let found = schedule::find(&file).unwrap().unwrap();
    let subscription = found.subscriptions.into_iter().next().unwrap();
    let partition: PartitionName = "fra-equ01".parse().unwrap();
    let message = Message {
        id: "42".to_owned(),
        source: "metal-api".to_owned(),
        kind: String::new(),
        subject: String::new(),
        topic: "machine.provisioned".to_owned(),
        partition: Some(partition.clone()),
        time_us: 1_763_712_345_678_901,
        data: serde_json::json!({ "machine": "m1", "state": "waiting", "power": { "on": true } }),
    };
    assert!(subscription.wants(&message));
    let inputs = subscription.inputs(&message).unwrap();
    Trigger::Event { subscription, inputs, limit: vec![Limit { partition, device: None }] }
}

/// The trigger that a case names in its first line, as `# trigger: push main`, with the paths that
/// changed behind it, likewise `# trigger: pull_request main`, `# trigger: schedule` (on Tuesdays),
/// `# trigger: event` (the first that it wants) or `# trigger: os=4 b=c`;
/// else by hand without inputs.
pub(crate) fn trigger(bytes: &[u8]) -> Trigger {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let with_changed = |words: &str, trigger: fn(&str) -> Trigger| {
        let mut words = words.split_whitespace().map(str::to_owned);
        let branch = words.next().unwrap();
        let changed: Vec<_> = words.collect();
        trigger(&branch).with_changed((!changed.is_empty()).then_some(changed))
    };
    if let Some(push) = first.strip_prefix("# trigger: push ") {
        return with_changed(push, Trigger::push);
    }
    if let Some(request) = first.strip_prefix("# trigger: pull_request ") {
        return with_changed(request, Trigger::pull_request);
    }
    if let Some(tag) = first.strip_prefix("# trigger: tag ") {
        return Trigger::Tag { tag: tag.to_owned() };
    }
    if first == "# trigger: event" {
        return event(bytes);
    }
    if first == "# trigger: schedule" {
        let inputs = [("check".to_owned(), "true".to_owned())].into();
        let (cron, timezone) = ("30 2 * * 2".to_owned(), "Europe/Berlin".to_owned());
        let schedule = Schedule { cron, timezone, inputs, missed: Missed::Skip };
        return Trigger::Schedule { schedule };
    }
    let inputs = first.strip_prefix("# trigger: ").unwrap_or_default().split_whitespace();
    let inputs = inputs.map(|input| input.split_once('=').unwrap());
    let inputs = inputs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Trigger::Manual { inputs: inputs.collect(), limit: Vec::new() }
}

/// A page of the handbook.
pub(crate) fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a page that open with a fence with this word behind `yaml`.
pub(crate) fn blocks(page: &str, word: &str) -> Vec<String> {
    let fence = format!("```yaml {word}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}
