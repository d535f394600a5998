//! Any bytes as a pipeline, and as an inventory: nothing panics, and the same input gives the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipelines::compile::{explain, lint, lint_source};
use pipelines::files::Files;
use pipelines::inventory;
use pipelines::load::{Need, load};
use pipelines::schedule;
use pipelines::source::File;
use pipelines::trigger::{Trigger, answer};

const INVENTORY: &str = "partition: fra\nlabels: { env: prod }\nagents: { mgmt01: { device: mgmt01 }, mgmt02: {} }\n\
windows: { maintenance: [{ days: [tue], from: \"02:00\", to: \"05:00\" }] }\ndevices:\n  \
leaf01: { address: 10.0.0.1, user: admin, role: leaf, group: rack1, host_key: \"KEY\" }\n  \
leaf02: { address: 10.0.0.2, user: admin, role: leaf, group: rack1, jump: mgmt01, host_key: \"KEY\" }\n  \
mgmt01: { address: 10.0.0.3, user: admin, kind: cli, host_key: \"KEY\" }\n";

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

fuzz_target!(|bytes: &[u8]| {
    let fra: pipelines::name::PartitionName = "fra".parse().unwrap();
    let file = |name: &str, bytes: &[u8]| File { name: name.to_owned(), bytes: bytes.to_vec() };
    let sources = load("a.yaml", vec![fra.clone()], |need| {
        Ok(match need {
            Need::Pipeline(path) => file(path, bytes),
            Need::Include(_) => file("include.yaml", bytes),
            Need::Tree => file("tree", b"100644 blob aa\tmain.yaml\0"),
            Need::Inventory(_) => file("fra.yaml", INVENTORY.replace("KEY", KEY).as_bytes()),
        })
    });
    let _ = lint_source(&sources, &Files::new([("main.yaml".to_owned(), false)]));
    let changed = Some(vec!["roles/a".to_owned()]);
    for trigger in [Trigger::by_hand(), Trigger::push("main").with_changed(changed)] {
        let once = explain(&sources, &trigger);
        assert!(once == explain(&sources, &trigger));
        if let Ok(explained) = &once {
            assert!(!lint(&sources).has_errors());
            assert_eq!(explained.plan.sha256().len(), 64);
        }
        let _ = answer(&file("a.yaml", bytes), &trigger);
    }
    let _ = inventory::read(&file("fra.yaml", bytes), &fra);
    let _ = schedule::find(&file("a.yaml", bytes));
});
