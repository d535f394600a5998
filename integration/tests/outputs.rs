//! Outputs: from a script to the jobs that need it, and to people; what is wrong with them fails the job.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use integration::{World, image, kill_runner, ok};
use serde_json::{Value, json};

fn deploy(jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{jobs}")
}

fn outputs(job: &Value) -> &Value {
    &job["outputs"]
}

#[test]
fn outputs_reach_the_jobs_that_need_theirs_from_processes_and_containers() {
    let image = image();
    let jobs = format!(
        "  build-image:\n    process: {{}}\n    outputs: [version, note]\n    run:\n      \
         - echo version=1 >> \"$GARRISON_OUTPUTS\"\n      \
         - printf 'version=1.2\\nnote= a \"b\" $c \\n' >> \"$GARRISON_OUTPUTS\"\n\
         \x20 contained:\n    needs: [build-image]\n    outputs: [tag]\n    \
         container: {{ image: \"{image}\", pull: never, network: none }}\n    \
         run: echo \"tag=v$OUTPUT_BUILD_IMAGE_VERSION\" > $GARRISON_OUTPUTS\n\
         \x20 last:\n    needs: [contained]\n    process: {{}}\n    \
         run: echo \"[$OUTPUT_CONTAINED_TAG] [${{OUTPUT_BUILD_IMAGE_VERSION-none}}] [${{GARRISON_OUTPUTS-none}}]\"\n"
    );
    let mut world = World::start(&["fra"], &deploy(&jobs));
    let run = world.trigger();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.logs());
    let jobs = &detail["jobs"];
    assert_eq!(*outputs(&jobs[0]), json!({"note": " a \"b\" $c ", "version": "1.2"}));
    assert_eq!(*outputs(&jobs[1]), json!({"tag": "v1.2"}));
    assert_eq!(*outputs(&jobs[2]), Value::Null);
    // Only of jobs that it needs directly, and a job without outputs has no file for them.
    assert!(world.log(run, 2).ends_with("\n[v1.2] [none] [none]\n"), "{}", world.log(run, 2));
    assert!(world.log(run, 0).contains("outputs: version, note taken\n"));

    // What is stored survives the coordinator, and people see it.
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let shown = world.garrison(&["show", &run.to_string()]).out;
    assert!(shown.contains("\n1.1 contained output tag: v1.2\n"), "{shown}");
    let page = page(&world, &format!("/runs/{run}"));
    assert!(page.contains("<code>tag=v1.2</code>"), "{page}");
    assert!(page.contains("note= a &#34;b&#34; $c "), "{page}");
}

#[test]
fn what_is_wrong_with_outputs_fails_the_job_by_name() {
    let jobs = "  missing: { process: {}, outputs: [a, b], run: 'echo a=1 > $GARRISON_OUTPUTS' }\n\
         \x20 undeclared: { process: {}, outputs: [a], run: 'printf \"a=1\\nc=1\\n\" > $GARRISON_OUTPUTS' }\n\
         \x20 long: { process: {}, outputs: [a], run: 'printf a=%05000d 1 > $GARRISON_OUTPUTS' }\n\
         \x20 link: { process: {}, outputs: [a], run: 'ln -sf /etc/hostname $GARRISON_OUTPUTS' }\n\
         \x20 after: { process: {}, needs: [missing], run: 'true' }\n\
         \x20 retried: { process: {}, outputs: [n], retry: 1, run: 'test $GARRISON_ATTEMPT = 1.5.1 || echo n=$GARRISON_ATTEMPT > $GARRISON_OUTPUTS' }\n\
         \x20 secret: { process: {}, outputs: [a], secrets: [TOKEN], run: 'printf \"a=%s\" \"$(printf %s \"$TOKEN\" | base64)\" > $GARRISON_OUTPUTS' }\n";
    let world = World::start(&["fra"], &deploy(jobs));
    let said = world.garrison_reads(&["secrets", "set", "TOKEN"], b"correct horse battery");
    assert_eq!(said.code, 0, "{said:?}");
    let run = world.trigger();
    let detail = world.finished(run);
    for (index, words) in [
        (0, "failed: the output `b` is missing"),
        (1, "failed: the output `c` is not among"),
        (2, "failed: the output `a` has 5000 bytes"),
        (3, "failed: the file $GARRISON_OUTPUTS cannot be read"),
        (4, "missing did not succeed"),
        (6, "failed: the output `a` holds a secret"),
    ] {
        let job = &detail["jobs"][index];
        assert!(job["detail"].as_str().unwrap().contains(words), "{job:#}\n{}", world.logs());
        assert_eq!(*outputs(job), Value::Null);
    }
    // What failed for its outputs is tried again like any other.
    let retried = &detail["jobs"][5];
    assert_eq!(retried["status"], "succeeded", "{retried:#}");
    assert_eq!(*outputs(retried), json!({"n": "1.5.2"}));
    assert!(world.log(run, 0).ends_with(
        "outputs: the output `b` is missing: the script wrote no such line into $GARRISON_OUTPUTS\n"
    ));
}

#[test]
fn outputs_arrive_though_agent_and_coordinator_are_killed_and_none_come_of_a_dead_runner() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let wait = format!(
        "echo x=$GARRISON_JOB > $GARRISON_OUTPUTS; until test -e {}; do sleep 0.02; done",
        go.display()
    );
    let jobs = format!(
        "  lives: {{ process: {{}}, outputs: [x], run: '{wait}' }}\n\
         \x20 dies: {{ process: {{}}, outputs: [x], run: '{wait}' }}\n\
         \x20 reads: {{ process: {{}}, needs: [lives], run: 'echo \"[$OUTPUT_LIVES_X]\"' }}\n"
    );
    let mut world = World::start(&["fra"], &deploy(&jobs));
    let run = world.trigger();
    let running = |detail: &Value| {
        (0..2).all(|job| detail["jobs"][job]["attempts"][0]["status"] == "running")
    };
    world.run_when(run, "work", running);
    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.kill_coordinator());
    kill_runner(&world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.1.1"));
    fs::write(&go, "").unwrap();
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt01"));
    let detail = world.finished(run);
    let jobs = &detail["jobs"];
    assert_eq!(*outputs(&jobs[0]), json!({"x": "lives"}), "{detail:#}");
    assert_eq!(jobs[1]["status"], "lost");
    assert_eq!(*outputs(&jobs[1]), Value::Null);
    assert!(world.log(run, 2).ends_with("\n[lives]\n"));
}

/// A page as a visitor of the coordinator's host sees it.
fn page(world: &World, path: &str) -> String {
    let config = ureq::Agent::config_builder().max_redirects(0).max_redirects_will_error(false);
    let agent: ureq::Agent = config.build().into();
    let url = ok(world.site.url());
    let link = world.garrison(&["open"]).out;
    let answer = agent.post(link.trim()).send_form(std::iter::empty::<(&str, &str)>()).unwrap();
    let cookie =
        answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let answer = agent.get(format!("{url}{path}")).header("cookie", &cookie).call();
    answer.unwrap().body_mut().read_to_string().unwrap()
}
