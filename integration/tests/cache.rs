//! The cache: found again on the same agent, by the same repository alone, and never in the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use integration::{World, image, ok};

fn deploy(jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{jobs}")
}

/// Runs the pipeline to its end and gives the log of a job, which has succeeded.
fn log(world: &World, job: usize) -> String {
    let run = world.trigger();
    let detail = world.finished(run);
    let log = world.log(run, job);
    assert_eq!(detail["jobs"][job]["status"], "succeeded", "{log}\n{}", world.logs());
    log
}

/// The entries of the agent's cache.
fn entries(world: &World) -> Vec<PathBuf> {
    let folder = world.site.agent_dir("fra", "mgmt01").join("state/cache");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| !path.ends_with("lock")).collect()
}

#[test]
fn a_cache_is_stored_once_and_found_again_also_after_a_restart_and_by_containers() {
    let image = image();
    let fetch = "if test -e roles/base/tasks; then cat roles/base/tasks; else mkdir -p roles/base; \
                 echo from $GARRISON_ATTEMPT > roles/base/tasks; fi; cat file";
    let jobs = format!(
        "  here: {{ process: {{}}, cache: {{ key: roles-v1, paths: [roles/] }}, run: '{fetch}' }}\n\
         \x20 contained:\n    needs: [here]\n    cache: {{ key: roles-v1, paths: [roles/] }}\n    \
         container: {{ image: \"{image}\", pull: never, network: none }}\n    run: '{fetch}'\n\
         \x20 other: {{ process: {{}}, cache: {{ key: roles-v2, paths: [roles/] }}, run: 'test ! -e roles' }}\n\
         \x20 fails: {{ process: {{}}, cache: {{ key: roles-v3, paths: [file] }}, run: 'false' }}\n"
    );
    let mut world = World::start(&["fra"], &deploy(&jobs));
    ok(world.site.commit(&[("file", "the source\n")]));
    let run = world.trigger();
    world.finished(run);
    let first = world.log(run, 0);
    assert!(first.contains("cache: miss, there is nothing of `roles-v1`\n"), "{first}");
    assert!(first.ends_with(" bytes of `roles-v1`\n"), "{first}");
    assert!(first.contains("cache: stored, 1 files, "), "{first}");
    let second = world.log(run, 1);
    assert!(second.starts_with("cache: hit, 1 files, "), "{second}");
    assert!(second.contains("\nfrom 1.0.1\n") && !second.contains("stored"), "{second}");
    assert!(second.ends_with("the source\n"), "{second}");
    let other = world.log(run, 2);
    assert!(
        other.ends_with("cache: nothing stored of `roles-v2`, no file matches roles/\n"),
        "{other}"
    );
    assert!(!world.log(run, 3).contains("stored"));
    assert_eq!(entries(&world).len(), 1);

    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.start_agent("fra", "mgmt01"));
    assert!(log(&world, 0).contains("\nfrom 1.0.1\n"));

    // What a disk has spoilt is removed, and made anew.
    let entry = entries(&world).remove(0);
    let mut bytes = fs::read(&entry).unwrap();
    bytes[700] ^= 1;
    fs::write(&entry, bytes).unwrap();
    let mended = log(&world, 0);
    assert!(mended.contains("cache: miss, what there was of `roles-v1` was damaged"), "{mended}");
    assert!(mended.contains("cache: stored, 1 files"), "{mended}");
    assert!(log(&world, 1).contains("\nfrom 3.0.1\n"));
}

#[test]
fn no_repository_finds_what_another_has_stored() {
    let say = "if test -e kept; then cat kept; else echo $GARRISON_REPOSITORY > kept; fi";
    let jobs = format!(
        "  job: {{ process: {{}}, cache: {{ key: same, paths: [kept] }}, run: '{say}' }}\n"
    );
    let mut world = World::without_agents(&["fra"], &deploy(&jobs));
    ok(world.site.stop_coordinator());
    world.site.name_repository("other");
    ok(world.site.start_coordinator());
    ok(world.site.add_agent("fra", "mgmt01", 4, garrison::site::OPEN_POLICY));
    assert!(log(&world, 0).contains("cache: stored"));
    let said = world.garrison(&["trigger", "deploy", "--repository", "other", "--follow"]);
    assert_eq!(said.code, 0, "{said:?}");
    let log = world.log(2, 0);
    assert!(log.starts_with("cache: miss, there is nothing of `same`\n"), "{log}");
    assert!(log.contains("cache: stored"), "{log}");
    assert_eq!(entries(&world).len(), 2);
}

#[test]
fn a_cache_that_cannot_be_used_never_fails_its_job() {
    let jobs = "  job: { process: {}, cache: { key: same, paths: [kept, pipe] }, run: 'echo x > kept; mkfifo pipe' }\n";
    let world = World::start(&["fra"], &deploy(jobs));
    let refused = log(&world, 0);
    assert!(
        refused.contains("cache: nothing stored of `same`: pipe: it is neither a file"),
        "{refused}"
    );
    let folder = world.site.agent_dir("fra", "mgmt01").join("state/cache");
    let _ = fs::remove_dir_all(&folder);
    fs::write(&folder, "in the way").unwrap();
    let unreadable = log(&world, 0);
    assert!(unreadable.contains("cache: miss, `same` is not all in its place"), "{unreadable}");
    let left = world.site.agent_dir("fra", "mgmt01").join("state/attempts");
    let gone = || fs::read_dir(&left).unwrap().next().is_none().then_some(());
    ok(garrison::site::wait("attempts to be removed", gone));
}

#[test]
fn a_key_that_holds_a_hash_changes_with_the_files() {
    let key = "\"{{ hash('release.yaml') }}-{{ hash('roles/**') }}\"";
    let jobs = format!(
        "  a: {{ process: {{}}, cache: {{ key: {key}, paths: [kept] }}, run: touch kept }}\n"
    );
    let world = World::start(&["fra"], &deploy(&jobs));
    let commit = |files: &[(&str, &str)]| drop(ok(world.site.commit(files)));
    let found = |what: &str| {
        let log = log(&world, 0);
        assert!(log.contains(&format!("cache: {what}, ")), "{log}");
    };
    commit(&[("release.yaml", "1"), ("roles/a", "1"), ("README", "1")]);
    found("miss");
    commit(&[("README", "2")]);
    found("hit");
    commit(&[("roles/b", "1")]);
    found("miss");
    commit(&[("release.yaml", "2")]);
    found("miss");

    let file = world.site.repository().join(".garrison/deploy.yaml");
    let inventory = world.site.repository().join("partitions");
    let (file, inventory) = (file.to_string_lossy(), inventory.to_string_lossy());
    let plan = world.garrison(&["plan", &file, "--inventory", &inventory, "-o", "json"]).json();
    let key = plan["plan"]["jobs"][0]["cache"]["key"].as_str().unwrap();
    let log = world.log(4, 0);
    assert!(log.contains(key), "{plan:#} {log}");
}
