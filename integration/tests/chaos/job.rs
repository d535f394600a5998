//! Jobs that record what they do, so that it can be checked in the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coordinator::api::types::LogFrame;
use integration::{World, ok};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const SCRIPT: &str = include_str!("job.sh");

/// The folder in which jobs record what they do.
pub(crate) struct Records(TempDir);

impl Records {
    pub(crate) fn new() -> Records {
        Records(tempfile::Builder::new().prefix("garrison-").tempdir().unwrap())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The command that prints the numbers from 1 to `lines`, a multiple of ten, in a second or more.
    pub(crate) fn print(&self, lines: u32) -> String {
        format!("sh ./job.sh {} {lines}", self.folder().display())
    }

    /// The attempts that have recorded that they started, or `ended`, in that order.
    pub(crate) fn said(&self, what: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder().join(what)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Each attempt started once at most, and no two of them held a lock at once.
    pub(crate) fn check(&self) {
        let started = self.said("started");
        let once: BTreeSet<&String> = started.iter().collect();
        assert_eq!(once.len(), started.len(), "started twice: {started:?}");
        assert_eq!(self.said("complaints"), [""; 0]);
    }
}

/// The script comes with the commit.
pub(crate) fn commit(world: &World) {
    ok(world.site.commit(&[("job.sh", SCRIPT)]));
}

/// A run's attempts, oldest first within each job.
pub(crate) fn attempts(run: &Value) -> Vec<&Value> {
    let jobs = run["jobs"].as_array().into_iter().flatten();
    jobs.flat_map(|job| job["attempts"].as_array().into_iter().flatten()).collect()
}

/// Waits until the logs of a run have all arrived.
pub(crate) fn logs_arrive(world: &World, run: u64) {
    let complete = |run: &Value| attempts(run).iter().all(|it| it["log_complete"] == true);
    world.run_when(run, "have all its logs", complete);
}

/// What an attempt printed is the numbers from 1 to `lines`, and nothing else: each byte once and in
/// order. What differs is shown with what stands around it, and the site's files are kept.
pub(crate) fn check_log(world: &World, attempt: &str, lines: u32) {
    let frames = frames(world, attempt);
    let mut offset = 0;
    for frame in &frames {
        assert_eq!(frame.offset, offset, "attempt {attempt}: frames do not follow one another");
        offset += frame.text.len() as u64;
    }
    // The runner's own words tell what was left behind.
    let own = frames.iter().filter(|frame| frame.stream != "system");
    let text: String = own.map(|frame| frame.text.as_str()).collect();
    // The script shows its only line first.
    let printed = text.strip_prefix("$ ").and_then(|text| text.split_once('\n'));
    let printed = printed.map_or(text.as_str(), |(_, printed)| printed);
    let wanted = numbers(lines);
    if Sha256::digest(printed) == Sha256::digest(&wanted) {
        return;
    }
    let same = printed.bytes().zip(wanted.bytes()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        let end = text.len().min(same + 200);
        text[same.saturating_sub(60).min(end)..end].to_owned()
    };
    panic!(
        "attempt {attempt} printed {} bytes of {}; they differ from byte {same} on:\n{:?}\n\
         instead of\n{:?}\nthe files are kept in {}",
        printed.len(),
        wanted.len(),
        around(printed),
        around(&wanted),
        world.keep().display(),
    );
}

/// The numbers from 1 to `lines`, each on a line.
pub(crate) fn numbers(lines: u32) -> String {
    (1..=lines).map(|number| format!("{number}\n")).collect()
}

/// An attempt's log as it is by now.
pub(crate) fn frames(world: &World, attempt: &str) -> Vec<LogFrame> {
    let said = world.garrison(&["logs", attempt, "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
