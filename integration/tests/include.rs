//! Pipelines of several files: of the run's own commit, and of other repositories at a tag or commit;
//! and pipelines that start others.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use integration::{World, ok};
use serde_json::Value;

const PIPELINE: &str = r#"
include:
  - .garrison/include/base.yaml
  - { repository: shared, ref: v1, file: jobs/sonic.yaml }
on: { push: { branches: [main] }, manual: {} }
partitions: [fra]
jobs:
  last: { extends: script, needs: [sonic], run: echo last of $SITE }
"#;

const BASE: &str = "templates: { script: { process: {} } }\nvariables: { SITE: first }\n";

/// A site beside which there are the repositories `shared`, which lets itself be included, and `private`.
fn site() -> World {
    let mut world = World::start(&["fra"], PIPELINE);
    let git = |arguments: &[&str]| ok(world.site.git(arguments));
    for name in ["shared", "private"] {
        let folder = world.site.dir().join(name);
        git(&["init", "--quiet", &folder.to_string_lossy()]);
        write(
            &folder,
            "jobs/sonic.yaml",
            "include: [version.yaml]\njobs: { sonic: { extends: script } }\n",
        );
        write(&folder, "version.yaml", "templates: { script: { run: echo sonic 4.3.0 } }\n");
        commit(&world, name);
        git(&["-C", &format!("../{name}"), "tag", "v1"]);
        // What the tag names stays.
        write(&folder, "version.yaml", "templates: { script: { run: echo moved on } }\n");
        commit(&world, name);
    }
    let tables = ["shared", "private"].map(|name| {
        let included_by = if name == "shared" { "included_by = [\"infra\"]\n" } else { "" };
        let url = world.site.dir().join(name);
        format!("\n[[repositories]]\nname = \"{name}\"\nurl = {url:?}\n{included_by}")
    });
    world.site.configure(&tables.concat());
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    world
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn commit(world: &World, repository: &str) -> String {
    let git = |arguments: &[&str]| {
        ok(world.site.git(&[&["-C", &format!("../{repository}")], arguments].concat()))
    };
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=Change it"]);
    git(&["rev-parse", "HEAD"])
}

/// What each job said last.
fn logs(world: &World, run: &Value) -> Vec<String> {
    assert_eq!(run["status"], "succeeded", "{run:#}\n{}", world.logs());
    let count = run["jobs"].as_array().unwrap().len();
    let log = |job| world.log(run["id"].as_u64().unwrap(), job);
    (0..count).map(|job| log(job).lines().last().unwrap().to_owned()).collect()
}

#[test]
fn a_run_is_made_of_the_files_of_its_commit_and_of_pinned_ones() {
    let world = site();
    let first = ok(world.site.push(&[(".garrison/include/base.yaml", BASE)])).commit;
    let run = world.finished(1);
    assert_eq!(logs(&world, &run), ["sonic 4.3.0", "last of first"]);
    // Its parts alone are no pipelines.
    assert_eq!(world.garrison(&["runs", "-o", "json"]).json().as_array().unwrap().len(), 1);

    ok(world.site.commit(&[(".garrison/include/base.yaml", &BASE.replace("first", "second"))]));
    let trigger = |reference: &str| {
        let said = world.garrison(&[
            "trigger",
            "--repository",
            "infra",
            "--ref",
            reference,
            "deploy",
            "-o",
            "json",
        ]);
        world.finished(said.json()["id"].as_u64().unwrap_or_else(|| panic!("{said:?}")))
    };
    assert_eq!(logs(&world, &trigger("main")), ["sonic 4.3.0", "last of second"]);
    assert_eq!(logs(&world, &trigger(&first)), ["sonic 4.3.0", "last of first"]);

    let head = ok(world.site.git(&["-C", "../shared", "rev-parse", "HEAD"]));
    let newer = PIPELINE.replace("v1", &head);
    ok(world.site.commit(&[(".garrison/deploy.yaml", &newer)]));
    assert_eq!(logs(&world, &trigger("main")), ["moved on", "last of second"]);
}

#[test]
fn what_may_not_be_included_or_is_not_there_is_told_with_its_place() {
    let world = site();
    for (wrong, words) in [
        (PIPELINE.replace("shared", "private"), "may not include files of `private`"),
        (PIPELINE.replace("shared", "nowhere"), "may not include files of `nowhere`"),
        (PIPELINE.replace("v1", "v2"), "there is no refs/tags/v2"),
        (PIPELINE.replace("v1", &"d".repeat(40)), "there is no dddd"),
        (
            PIPELINE.replace("sonic.yaml", "leaf.yaml"),
            "there is no file `shared@v1:jobs/leaf.yaml`",
        ),
        (PIPELINE.replace("jobs/sonic.yaml", "jobs"), "there is no file `shared@v1:jobs`"),
    ] {
        let files = [(".garrison/deploy.yaml", &*wrong), (".garrison/include/base.yaml", BASE)];
        let trigger = ok(world.site.push(&files)).trigger;
        let trigger: Value =
            ok(ok(world.site.client()).get(&format!("/api/v1/triggers/{trigger}")));
        let run =
            world.finished(trigger["runs"][0].as_u64().unwrap_or_else(|| panic!("{trigger:#}")));
        assert_eq!(run["status"], "invalid", "{run:#}");
        let told = run["diagnostics"].as_str().unwrap();
        assert!(told.contains(words) && told.contains(".garrison/deploy.yaml:4:"), "{told}");
    }
}

#[test]
fn a_checkout_serves_for_a_look_ahead() {
    let world = site();
    ok(world.site.commit(&[(".garrison/include/base.yaml", BASE)]));
    let file = world.site.repository().join(".garrison/deploy.yaml");
    let (file, shared) = (file.to_string_lossy(), world.site.dir().join("shared"));
    let shared = format!("shared={}", shared.display());
    let plan = world.garrison(&["plan", &file, "--include", &shared]);
    assert!(plan.out.contains("sonic") && plan.out.contains("last"), "{plan:?}");
    assert_eq!(world.garrison(&["lint", &file, "--include", &shared]).code, 0);
    let lacking = world.garrison(&["lint", &file]);
    assert!(lacking.code == 2 && lacking.out.contains("--include NAME=FOLDER"), "{lacking:?}");
    // What two files include is told once.
    let twice = world.site.repository().join(".garrison/twice.yaml");
    fs::copy(&*file, &twice).unwrap();
    write(&world.site.repository(), ".garrison/include/base.yaml", "colour: red\n");
    let told = world.garrison(&["lint", &file, &twice.to_string_lossy(), "--include", &shared]);
    assert_eq!(told.out.matches("unknown key `colour`").count(), 1, "{told:?}");
    let wrong = world.garrison(&["lint", &file, "--include", "shared"]);
    assert!(wrong.code == 2 && wrong.err.contains("write NAME=FOLDER"), "{wrong:?}");
}

const BELOW: &str = r#"
on: { manual: {} }
inputs: { os: { type: text, required: true } }
partitions: [fra]
lock: deploy
jobs:
  fetch:
    process: {}
    run: "echo digest=of-{{ inputs.os }} >> $GARRISON_OUTPUTS"
    outputs: [digest]
  install: { process: {}, needs: [fetch], run: 'echo "install $OUTPUT_FETCH_DIGEST as $GARRISON_JOB"' }
  clean: { process: {}, needs: [install], when: always(), run: echo clean }
"#;

const ABOVE: &str = r#"
on: { push: { branches: [main] } }
partitions: [fra]
lock: deploy
jobs:
  check: { process: {}, run: echo check }
  base:
    needs: [check]
    pipeline: { file: .garrison/base.yaml, inputs: { os: 4.3.0 } }
  report: { process: {}, needs: [base], run: 'echo "report $OUTPUT_BASE_FETCH_DIGEST"' }
"#;

#[test]
fn a_pipeline_that_another_starts_runs_as_part_of_it() {
    let world = World::start(&["fra"], ABOVE);
    ok(world.site.push(&[(".garrison/base.yaml", BELOW)]));
    let run = world.finished(1);
    let [_, _, install, clean, report] = &logs(&world, &run)[..] else { panic!("{run:#}") };
    assert_eq!(install, "install of-4.3.0 as install");
    assert_eq!(clean, "clean");
    assert_eq!(report, "report of-4.3.0");
    let shown = world.garrison(&["show", "1"]);
    assert!(shown.out.contains("base/install") && shown.code == 0, "{shown:?}");

    // What it waits for fails: nothing of it runs.
    ok(world.site.push(&[(".garrison/deploy.yaml", &ABOVE.replace("echo check", "exit 3"))]));
    let run = world.finished(2);
    let statuses = run["jobs"].as_array().unwrap().iter().map(|job| job["status"].as_str());
    let statuses: Vec<_> = statuses.map(Option::unwrap).collect();
    assert_eq!(statuses, ["failed", "skipped", "skipped", "skipped", "skipped"]);

    let wrong = ABOVE.replace("os: 4.3.0", "so: 4.3.0");
    ok(world.site.push(&[(".garrison/deploy.yaml", &wrong)]));
    let run = world.finished(3);
    let told = run["diagnostics"].as_str().unwrap_or_else(|| panic!("{run:#}"));
    assert!(told.contains("has no input `so`") && told.contains("`os`"), "{told}");
}
