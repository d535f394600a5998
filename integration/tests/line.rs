//! The line from trigger to verdict, with the real binary and process jobs.

use std::fs;

use garrison::site::wait;
use integration::{World, ok};

fn deploy(partitions: &str, jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [{partitions}]\njobs:\n{jobs}")
}

#[test]
fn trigger_with_follow_shows_progress_and_exits_with_the_outcome() {
    let jobs = "  first:\n    process: {}\n    run: echo out; echo err >&2\n\
                \x20 second:\n    process: {}\n    needs: [first]\n    run: echo done\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "--follow"]);
    assert_eq!(said.code, 0, "{said:?}\n{}", world.logs());
    assert!(said.out.contains("run 1 of deploy"), "{said:?}");
    assert!(said.out.contains("run 1 succeeded"), "{said:?}");
    let log = world.garrison(&["logs", "1.0"]);
    assert!(log.out.contains("out\n") && log.out.contains("err\n"), "{log:?}");
    let frames = world.garrison(&["logs", "1.0", "-o", "json"]);
    let streams: Vec<serde_json::Value> =
        frames.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(streams.iter().any(|it| it["stream"] == "stderr" && it["text"] == "err\n"));
    let runs = world.garrison(&["runs", "-o", "json"]).json();
    assert_eq!(runs[0]["status"], "succeeded");
    assert_eq!(runs[0]["actor"], "local admin");
}

#[test]
fn a_failed_job_fails_the_run_skips_its_dependents_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("mended");
    let jobs = format!(
        "  before:\n    process: {{}}\n    run: echo once >> {0}/before\n\
         \x20 breaks:\n    process: {{}}\n    needs: [before]\n    run: test -e {1}\n\
         \x20 after:\n    process: {{}}\n    needs: [breaks]\n    run: echo after\n",
        dir.path().display(),
        flag.display(),
    );
    let world = World::start(&["fra"], &deploy("fra", &jobs));
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "--follow"]);
    assert_eq!(said.code, 1, "{said:?}");
    let shown = world.garrison(&["show", "1", "-o", "json"]).json();
    let status = |index: usize| shown["jobs"][index]["status"].clone();
    assert_eq!([status(0), status(1), status(2)], ["succeeded", "failed", "skipped"]);
    assert_eq!(shown["jobs"][1]["detail"], "failed: exit status 1");

    fs::write(&flag, "").unwrap();
    let said = world.garrison(&["retry", "1", "--follow"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read_to_string(dir.path().join("before")).unwrap(), "once\n");
}

#[test]
fn what_is_chosen_at_the_start_reaches_the_jobs() {
    let inputs = "inputs:\n  os: { type: choice, options: [a, b], required: true }\n  \
                  note: { type: text, default: none }\n";
    let jobs = "  say: { process: {}, run: 'echo \"$INPUT_OS/$INPUT_NOTE\"' }\n";
    let world = World::start(&["fra"], &format!("{inputs}{}", deploy("fra", jobs)));
    let trigger = ["trigger", "deploy", "--repository", "infra", "--follow"];
    let said =
        world.garrison(&[&trigger[..], &["--input", "os=b", "-i", "note=$(id) 'x"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(world.log(1, 0).ends_with("\nb/$(id) 'x\n"));
    let shown = world.garrison(&["show", "1"]).out;
    assert!(shown.contains("input os: b\n"), "{shown}");
    // What does not fit gives no run that starts, but says where and what.
    for (wrong, words) in [("os=c", "none of the options"), ("so=a", "did you mean `os`?")] {
        let said = world.garrison(&[&trigger[..], &["--input", wrong]].concat());
        assert!(said.code == 1 && said.out.contains(words), "{said:?}");
    }
    let said = world.garrison(&[&trigger[..], &["--input", "os"]].concat());
    assert!(said.code == 2 && said.err.contains("NAME=VALUE"), "{said:?}");
}

#[test]
fn a_cancelled_run_ends_its_processes_and_exits_with_3() {
    let jobs = "  long:\n    process: {}\n    run: echo started; sleep 600\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    let run = world.trigger();
    world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
    let said = world.garrison(&["cancel", "1", "--follow"]);
    assert_eq!(said.code, 3, "{said:?}\n{}", world.logs());
    let shown = world.garrison(&["show", "1", "-o", "json"]).json();
    assert_eq!(shown["jobs"][0]["status"], "cancelled");
    assert_eq!(shown["cancelled_by"], "local admin");
}

#[test]
fn a_job_over_its_time_limit_is_ended() {
    let jobs = "  long:\n    process: {}\n    timeout: 1s\n    run: sleep 600\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    let detail = world.finished(world.trigger());
    assert_eq!(detail["jobs"][0]["status"], "timed_out");
}

#[test]
fn what_the_agents_policy_forbids_ends_with_the_rule() {
    let jobs = "  forbidden:\n    process: {}\n    run: echo never\n";
    let mut world = World::without_agents(&["fra"], &deploy("fra", jobs));
    ok(world.site.add_agent("fra", "mgmt01", 1, ""));
    let detail = world.finished(world.trigger());
    assert_eq!(detail["jobs"][0]["status"], "refused");
    let words = detail["jobs"][0]["detail"].as_str().unwrap();
    assert!(words.contains("process.allow"), "{words}");
}

#[test]
fn what_the_site_wants_masked_never_leaves_the_host() {
    let jobs = "  leaky:\n    process: {}\n    run: cat $SECRET_FILE | while read l; do echo \"[$l]\"; done\n    variables: { SECRET_FILE: /tmp/none }\n";
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "correct horse battery\n").unwrap();
    let jobs = jobs.replace("/tmp/none", &secret.to_string_lossy());
    let mut world = World::without_agents(&["fra"], &deploy("fra", &jobs));
    let policy =
        format!("[process]\nallow = true\nrepositories = [\"*\"]\n[mask]\nfiles = [{secret:?}]\n");
    ok(world.site.add_agent("fra", "mgmt01", 1, &policy));
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "--follow"]);
    assert_eq!(said.code, 0, "{said:?}\n{}", world.logs());
    let log = world.garrison(&["logs", "1"]);
    assert!(log.out.contains("[[masked]]"), "{log:?}");
    let found = ok(grep(world.dir.path(), b"correct horse"));
    assert_eq!(found, Vec::<std::path::PathBuf>::new());
}

/// The files under a folder that hold some bytes.
fn grep(folder: &std::path::Path, bytes: &[u8]) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            found.extend(grep(&path, bytes)?);
        } else if kind.is_file() && fs::read(&path)?.windows(bytes.len()).any(|it| it == bytes) {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn a_log_can_be_followed_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let jobs = format!(
        "  slow:\n    process: {{}}\n    run: echo first; until test -e {}; do sleep 0.01; done; echo last\n",
        go.display()
    );
    let world = World::start(&["fra"], &deploy("fra", &jobs));
    let run = world.trigger();
    world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
    let mut follower = world.spawn(&["logs", "1.0", "--follow"]);
    let mut out = follower.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("first\n") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut out, &mut byte).unwrap();
        seen.push(char::from(byte[0]));
    }
    fs::write(&go, "").unwrap();
    std::io::Read::read_to_string(&mut out, &mut seen).unwrap();
    assert!(seen.ends_with("last\n"), "{seen}");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn partitions_work_apart_and_a_missing_agent_holds_up_only_its_own() {
    let jobs = "  only:\n    process: {}\n    run: echo $GARRISON_PARTITION\n";
    let mut world = World::without_agents(&["fra", "muc"], &deploy("fra, muc", jobs));
    ok(world.site.add_agent("fra", "mgmt01", 1, garrison::site::OPEN_POLICY));
    let run = world.trigger();
    let detail = world.run_when(run, "finish in fra", |it| it["jobs"][0]["status"] == "succeeded");
    assert_eq!(detail["jobs"][1]["status"], "queued");
    ok(world.site.add_agent("muc", "mgmt01", 1, garrison::site::OPEN_POLICY));
    assert_eq!(world.finished(run)["status"], "succeeded");
}

#[test]
fn a_thousand_jobs_on_one_agent_finish() {
    let jobs: String =
        (0..1000).map(|n| format!("  j{n}: {{ process: {{}}, run: 'true' }}\n")).collect();
    let world = World::start(&["fra"], &deploy("fra", &jobs));
    let run = world.trigger();
    let all = |it: &serde_json::Value| !it["finished_us"].is_null();
    let detail = ok(wait_long(|| {
        let detail: serde_json::Value =
            world.site.client().ok()?.get(&format!("/api/v1/runs/{run}")).ok()?;
        all(&detail).then_some(detail)
    }));
    assert_eq!(detail["status"], "succeeded");
    assert_eq!(detail["jobs"].as_array().unwrap().len(), 1000);
}

#[test]
fn two_hundred_jobs_in_ten_partitions_finish() {
    let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let jobs: String =
        (0..20).map(|n| format!("  j{n}: {{ process: {{}}, run: 'true' }}\n")).collect();
    let world = World::start(&names, &deploy(&names.join(", "), &jobs));
    let detail = world.finished(world.trigger());
    assert_eq!(detail["status"], "succeeded");
    assert_eq!(detail["jobs"].as_array().unwrap().len(), 200);
}

/// A thousand runners take their time in a debug build.
fn wait_long<T>(mut ready: impl FnMut() -> Option<T>) -> Result<T, garrison::exit::Failure> {
    let mut last = wait("a thousand jobs", &mut ready);
    for _ in 0..5 {
        if last.is_ok() {
            break;
        }
        last = wait("a thousand jobs", &mut ready);
    }
    last
}
