//! What older versions wrote is read, and older and newer ones work together: with a `garrison` that
//! was built from an older commit.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use garrison::site::{OPEN_POLICY, wait};
use integration::{World, ok, program};
use serde_json::Value;

/// `quick` ends at once and leaves artifacts; `long`, under a lock, when its file `go` is there.
const PIPELINE: &str = "\
on: { manual: {} }
partitions: [fra]
lock: site
jobs:
  quick:
    process: {}
    run: |
      seq 100
      echo kept > kept
    artifacts: { paths: [kept] }
  long:
    needs: [quick]
    process: {}
    timeout: 5m
    run: |
      echo start >> \"$DIR/starts\"
      seq 1000
      until [ -e \"$DIR/go\" ]; do sleep 0.05; done
      cat kept
      seq 1001 2000
";

/// A site of the older version.
struct Older {
    world: World,
    dir: tempfile::TempDir,
}

/// The older program; none where the history does not reach back to it.
#[allow(clippy::print_stderr, reason = "a test that is left out says so")]
fn older() -> Option<PathBuf> {
    let path = program().parent()?.parent()?.join("older/garrison");
    if !path.is_file() {
        eprintln!("SKIPPED: no older garrison in target/older: deploy/older-garrison builds it");
        return None;
    }
    Some(path)
}

impl Older {
    fn start() -> Option<Older> {
        let older = older()?;
        let dir = tempfile::tempdir().unwrap();
        let pipeline = PIPELINE.replace("$DIR", dir.path().to_str().unwrap());
        let mut world = World::running(&older, &["fra"], &pipeline);
        ok(world.site.add_agent("fra", "mgmt01", 4, OPEN_POLICY));
        Some(Older { world, dir })
    }

    fn go(&self, go: bool) {
        let file = self.dir.path().join("go");
        drop(if go { fs::write(file, "") } else { fs::remove_file(file) });
    }

    /// Triggers a run and waits until its second job runs.
    fn running(&self) -> u64 {
        let starts = self.starts();
        let run = self.world.trigger();
        ok(wait("the job to run", || (self.starts() > starts).then_some(())));
        run
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.dir.path().join("starts")).unwrap_or_default().lines().count()
    }

    fn check(&self, run: u64) {
        let detail = self.world.finished(run);
        assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", self.world.logs());
        let numbers = |range: std::ops::RangeInclusive<u32>| -> String {
            range.map(|number| format!("{number}\n")).collect()
        };
        let expected = format!("{}kept\n{}", numbers(1..=1000), numbers(1001..=2000));
        let log = self.world.log(run, 1);
        assert!(log.ends_with(&expected), "{} bytes: {log:.200}", log.len());
    }

    /// What the API answers, without what newer versions add to it.
    fn get(&self, path: &str) -> Value {
        ok(ok(self.world.site.client()).get(path))
    }

    fn become_newer(&mut self) {
        self.world.site.set_program(&program());
    }
}

/// Whether all that `before` says stands in `after` too.
fn still_says(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let said = |(key, value): (&String, &Value)| {
                after.get(key).is_some_and(|after| still_says(value, after))
            };
            before.iter().all(said)
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| still_says(before, after))
        }
        _ => before == after,
    }
}

#[test]
fn what_an_older_site_wrote_is_read_and_its_job_goes_on() {
    let Some(mut older) = Older::start() else { return };
    older.go(true);
    let first = older.running();
    older.check(first);
    let log = older.world.log(first, 0);
    let name = ["tokens", "create", "ci", "--role", "view", "--ttl", "1d"];
    let token = older.world.garrison(&name).out;
    older.go(false);
    let second = older.running();
    let paths = [format!("/api/v1/runs/{first}"), "/api/v1/tokens".into(), "/api/v1/locks".into()];
    let before: Vec<Value> = paths.iter().map(|path| older.get(path)).collect();
    assert_eq!(before[2][0]["name"], "site", "{before:#?}");

    // Both at once, one of them as a power failure would.
    ok(older.world.site.stop_agent("fra", "mgmt01"));
    ok(older.world.site.kill_coordinator());
    older.become_newer();
    ok(older.world.site.start_coordinator());
    ok(older.world.site.start_agent("fra", "mgmt01"));
    for (path, before) in paths.iter().zip(&before) {
        let after = older.get(path);
        assert!(still_says(before, &after), "{path} was {before:#}\nand is {after:#}");
    }
    assert_eq!(older.world.log(first, 0), log);
    assert_eq!(older.get(&format!("/api/v1/runs/{second}"))["status"], "active");
    older.go(true);
    older.check(second);
    assert_eq!(older.starts(), 2);
    let url = ok(older.world.site.url());
    let client = garrison::client::Client::new(&url, token.trim());
    assert!(client.get::<Value>("/api/v1/runs").is_ok());

    // The view that it can make anew from the older journal says the same.
    ok(older.world.site.stop_coordinator());
    let config = older.world.site.dir().join("coordinator.toml");
    let rebuilt =
        older.world.garrison(&["coordinator", "rebuild", "--config", config.to_str().unwrap()]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    ok(older.world.site.start_coordinator());
    assert!(still_says(&before[0], &older.get(&paths[0])));
}

#[test]
fn a_newer_coordinator_has_older_agents() {
    let Some(mut older) = Older::start() else { return };
    let run = older.running();
    ok(older.world.site.stop_coordinator());
    older.become_newer();
    ok(older.world.site.start_coordinator());
    // What they do not know does not disturb them.
    let said = older.world.garrison(&["agents", "upgrade", "fra/mgmt01", "--detach"]);
    assert_eq!(said.code, 0, "{said:?}");
    older.go(true);
    older.check(run);
    let run = older.world.trigger();
    older.check(run);
    let listed = older.world.garrison(&["agents", "list"]).out;
    assert!(listed.contains("upgrade asked"), "{listed}");
}

#[test]
fn a_newer_agent_works_for_an_older_coordinator() {
    let Some(mut older) = Older::start() else { return };
    let run = older.running();
    ok(older.world.site.kill_agent("fra", "mgmt01"));
    older.become_newer();
    ok(older.world.site.start_agent("fra", "mgmt01"));
    older.go(true);
    older.check(run);
    let run = older.world.trigger();
    older.check(run);
}

#[test]
fn the_doctor_of_a_newer_agent_bears_an_older_coordinator() {
    let Some(older) = Older::start() else { return };
    let config = older.world.site.agent_dir("fra", "mgmt01").join("agent.toml");
    let said = older.world.garrison(&[
        "agent",
        "doctor",
        "--output",
        "json",
        "--config",
        config.to_str().unwrap(),
    ]);
    let findings = said.json()["findings"].clone();
    let found = findings.as_array().unwrap().iter().find(|it| it["check"] == "coordinator");
    assert_eq!(found.unwrap()["status"], "warn", "{said:?}");
}
