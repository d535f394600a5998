//! Runs that are held to some partitions and devices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use pipelines::compile::explain;
use pipelines::input::Inputs;
use pipelines::trigger::Trigger;

use support::{cases, sources};

/// What is in the plan of a case that is held to `limit`, or what is wrong.
fn planned(case: &str, limit: &[&str]) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(cases("valid").join(format!("{case}.yaml"))).unwrap();
    let sources = sources(&format!(".garrison/{case}.yaml"), &bytes);
    let limit = limit.iter().map(|text| text.parse().unwrap()).collect();
    let explained = explain(&sources, &Trigger::Manual { inputs: Inputs::new(), limit });
    let title = |job: &pipelines::plan::Job| format!("{} in {}", job.title(), job.partition);
    explained.map(|it| it.plan.jobs.iter().map(title).collect()).map_err(|found| found.render())
}

#[test]
fn a_run_that_is_held_to_a_device_touches_no_other() {
    let jobs = planned("devices", &["ams-pair01/leaf03"]).unwrap();
    let wanted = ["fetch", "reset for leaf03", "check for leaf03", "report"];
    assert_eq!(jobs, wanted.map(|job| format!("{job} in ams-pair01")));
}

#[test]
fn a_run_that_is_held_to_a_partition_goes_to_all_of_it() {
    let jobs = planned("partitions-rollout", &["ams-pair01", "muc-lab01"]).unwrap();
    let count = |partition: &str| jobs.iter().filter(|job| job.ends_with(partition)).count();
    assert_eq!((count("ams-pair01"), count("muc-lab01"), jobs.len()), (3, 2, 5), "{jobs:?}");
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    let told = planned("devices", &["ams-pair02", "ams-pair01/leaf09"]).unwrap_err();
    assert!(told.contains("`ams-pair02`, where this pipeline does not run"), "{told}");
    assert!(told.contains("did you mean `ams-pair01`?"), "{told}");
    assert!(told.contains("`ams-pair01/leaf09`, and there is no such device"), "{told}");
}
