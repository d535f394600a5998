//! Source and artifacts: from a commit to a job, and from job to job, by hash.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agent::config::Config;
use agent::identity::Identity;
use garrison::site::{OPEN_POLICY, wait};
use integration::{World, ok};
use proto::v1::link_client::LinkClient;
use proto::v1::{FetchRequest, StoreChunk, StoreHeader};
use tonic::Code;
use tonic::transport::Channel;

fn deploy(partitions: &str, jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [{partitions}]\njobs:\n{jobs}")
}

/// The one content that the coordinator has, which is the source of the only run.
fn source(world: &World) -> (String, PathBuf) {
    let mut files = files(&world.site.data().join("content/store"));
    let file = files.pop().expect("there is content");
    assert!(files.is_empty());
    (file.file_name().unwrap().to_string_lossy().into_owned(), file)
}

/// The content that is kept in a folder.
fn files(store: &Path) -> Vec<PathBuf> {
    let folders = ok(fs::read_dir(store)).flatten();
    let folders = folders.filter(|folder| folder.file_name().len() == 2);
    let files = folders.flat_map(|folder| ok(fs::read_dir(folder.path())).flatten());
    files.map(|file| file.path()).collect()
}

#[test]
fn a_commits_files_arrive_with_their_exec_bits_and_symlinks() {
    let jobs = "  look:\n    process: {}\n    run:\n      - ./bin/tool && ./link && cat data/text\n      \
                - test -L link && test ! -x data/text && test ! -e .git\n      \
                - test \"$(readlink link)\" = bin/tool\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    let repository = world.site.repository();
    fs::create_dir_all(repository.join("bin")).unwrap();
    fs::write(repository.join("bin/tool"), "#!/bin/sh\necho the tool ran\n").unwrap();
    fs::set_permissions(repository.join("bin/tool"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("bin/tool", repository.join("link")).unwrap();
    ok(world.site.commit(&[
        ("data/text", "some text\n"),
        // Would change files in what `git archive` gives.
        (".gitattributes", "*.ignored export-ignore\ndata/* eol=crlf\n"),
    ]));
    let detail = world.finished(world.trigger());
    let log = world.log(1, 0);
    assert_eq!(detail["status"], "succeeded", "{log}\n{}", world.logs());
    assert_eq!(log.matches("the tool ran\n").count(), 2);
    assert!(log.contains("\nsome text\n"), "{log}");
}

#[test]
fn what_a_bundle_cannot_carry_is_named_before_anything_runs() {
    let jobs = "  never:\n    process: {}\n    run: echo never\n";
    let world = World::without_agents(&["fra"], &deploy("fra", jobs));
    let diagnostics = || {
        let said = world.garrison(&["trigger", "deploy", "-r", "infra", "-o", "json"]).json();
        assert_eq!(said["status"], "invalid");
        said["diagnostics"].as_str().unwrap().to_owned()
    };
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    ok(world.site.commit(&[("image.bin", pointer)]));
    let words = diagnostics();
    assert!(words.contains("image.bin is kept in Git LFS"), "{words}");

    fs::remove_file(world.site.repository().join("image.bin")).unwrap();
    let commit = ok(world.site.commit(&[]));
    let module = format!("160000,{commit},roles/common");
    ok(world.site.git(&["update-index", "--add", "--cacheinfo", &module]));
    ok(world.site.git(&["commit", "--quiet", "--message=A submodule"]));
    let words = diagnostics();
    assert!(words.contains("roles/common is a submodule"), "{words}");

    ok(world.site.git(&["reset", "--quiet", "--hard", &commit]));
    symlink("/etc/passwd", world.site.repository().join("out")).unwrap();
    ok(world.site.commit(&[]));
    let words = diagnostics();
    assert!(words.contains("out: a symlink to /etc/passwd"), "{words}");
}

#[test]
fn what_a_job_leaves_lies_over_the_source_of_the_jobs_that_need_it() {
    let jobs = "  make:\n    process: {}\n    run:\n      - mkdir -p out/deep && echo made > out/deep/file\n      \
                - echo changed > text && echo not wanted > other\n    artifacts: { paths: [out/, text] }\n\
                \x20 none:\n    process: {}\n    run: 'true'\n    artifacts: { paths: ['*.log'] }\n\
                \x20 use:\n    process: {}\n    needs: [make, none]\n    run: cat out/deep/file text; test ! -e other\n\
                \x20 apart:\n    process: {}\n    run: cat text; test ! -e out\n\
                \x20 without:\n    process: {}\n    needs: [{ job: make, artifacts: false }]\n    run: cat text; test ! -e out\n";
    let world = World::start(&["fra"], &deploy("fra", jobs));
    ok(world.site.commit(&[("text", "as committed\n")]));
    let detail = world.finished(world.trigger());
    let log = |job: usize| world.log(1, job);
    assert_eq!(detail["status"], "succeeded", "{}\n{}", log(2), world.logs());
    assert!(log(0).contains("artifacts: 2 files, "), "{}", log(0));
    assert!(log(1).contains("artifacts: no file matches *.log\n"), "{}", log(1));
    assert!(log(2).contains("\nmade\nchanged\n"), "{}", log(2));
    assert!(log(3).contains("\nas committed\n"), "{}", log(3));
    assert!(log(4).contains("\nas committed\n"), "{}", log(4));
}

#[test]
fn artifacts_outlive_the_death_of_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let jobs = format!(
        "  make:\n    process: {{}}\n    run: until test -e {}; do sleep 0.01; done; echo made > out\n    \
         artifacts: {{ paths: [out] }}\n\
         \x20 use:\n    process: {{}}\n    needs: [make]\n    run: cat out\n",
        go.display()
    );
    let mut world = World::start(&["fra"], &deploy("fra", &jobs));
    let run = world.trigger();
    world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
    ok(world.site.kill_coordinator());
    fs::write(&go, "").unwrap();
    let attempt = world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.0.1");
    let ended =
        || fs::read(attempt.join("state")).ok()?.windows(8).find(|it| it == b"finished").map(drop);
    ok(wait("the verdict", ended));
    assert!(attempt.join("artifacts.tar").exists());
    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.launch_agent("fra", "mgmt01"));
    ok(world.site.start_coordinator());
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.logs());
    assert_eq!(detail["jobs"][0]["attempts"].as_array().unwrap().len(), 1);
    let log = world.log(run, 1);
    assert!(log.contains("\nmade\n"), "{log}\n{detail:#}\n{}", world.logs());
    ok(wait("the directory to go", || (!attempt.exists()).then_some(())));
}

#[test]
fn an_attempt_waits_for_its_source_and_has_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let jobs = format!("  one:\n    process: {{}}\n    run: echo >> {}\n", started.display());
    let mut world = World::without_agents(&["fra"], &deploy("fra", &jobs));
    let (cancelled, run) = (world.trigger(), world.trigger());
    // What can be opened but not read is a disk that fails for the time being.
    let (_, path) = source(&world);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
    for run in [cancelled, run] {
        world.run_when(run, "wait", |it| it["jobs"][0]["attempts"][0]["status"] == "accepted");
    }
    let log = || fs::read_to_string(world.dir.path().join("agent-fra-mgmt01.log")).ok();
    ok(wait("a try", || log()?.contains("again_in_ms").then_some(())));
    let said = world.garrison(&["cancel", &cancelled.to_string(), "--follow"]);
    assert_eq!(said.code, 3, "{said:?}\n{}", world.logs());
    assert!(!started.exists());
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(world.finished(run)["status"], "succeeded", "{}", world.logs());
    assert_eq!(fs::read_to_string(&started).unwrap(), "\n");
}

#[test]
fn an_attempt_whose_source_is_refused_ends_with_the_reason() {
    let jobs = "  one:\n    process: {}\n    run: echo never\n";
    let mut world = World::without_agents(&["fra"], &deploy("fra", jobs));
    let run = world.trigger();
    let (hash, path) = source(&world);
    fs::remove_file(path).unwrap();
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
    let detail = world.finished(run);
    assert_eq!(detail["jobs"][0]["status"], "infra_error");
    let words = detail["jobs"][0]["detail"].as_str().unwrap();
    assert!(words.contains(&hash) && words.contains("no longer has"), "{words}");
}

/// A call's client with the certificate of an agent.
async fn link(world: &World, partition: &str) -> LinkClient<Channel> {
    let dir = world.site.agent_dir(partition, "mgmt01");
    let config = ok(Config::load(&dir.join("agent.toml")));
    let identity = ok(Identity::load(&dir.join("state")));
    LinkClient::new(ok(identity.channel(&config).await))
}

async fn fetch(world: &World, partition: &str, attempt: &str, sha256: &str) -> Result<usize, Code> {
    let request =
        FetchRequest { sha256: sha256.to_owned(), attempt: attempt.to_owned(), upgrade: 0 };
    let fetched = link(world, partition).await.fetch(request).await;
    let mut chunks = fetched.map_err(|status| status.code())?.into_inner();
    let mut size = 0;
    while let Some(chunk) = chunks.message().await.map_err(|status| status.code())? {
        size += chunk.data.len();
    }
    Ok(size)
}

async fn store(world: &World, partition: &str, header: StoreHeader, data: &'static [u8]) -> Code {
    let chunk = StoreChunk { header: Some(header), data: data.into() };
    match link(world, partition).await.store(tokio_stream::once(chunk)).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_and_leaves_only_what_its_own_open_attempts_name() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let wait_for_go = format!("until test -e {}; do sleep 0.01; done", go.display());
    let jobs = format!(
        "  one:\n    process: {{}}\n    run: {wait_for_go}\n    partitions: [fra]\n\
         \x20 two:\n    process: {{}}\n    run: {wait_for_go}\n    partitions: [muc]\n"
    );
    let world = World::start(&["fra", "muc"], &deploy("fra, muc", &jobs));
    let run = world.trigger();
    world.run_when(run, "run", |it| {
        (0..2).all(|job| it["jobs"][job]["attempts"][0]["status"] == "running")
    });
    let (hash, path) = source(&world);
    let size = fs::metadata(path).unwrap().len() as usize;
    assert_eq!(fetch(&world, "fra", "1.0.1", &hash).await, Ok(size));
    assert_eq!(fetch(&world, "muc", "1.0.1", &hash).await, Err(Code::PermissionDenied));
    let other = "0".repeat(64);
    assert_eq!(fetch(&world, "muc", "1.1.1", &other).await, Err(Code::PermissionDenied));
    assert_eq!(fetch(&world, "fra", "9.9.9", &hash).await, Err(Code::PermissionDenied));
    assert_eq!(fetch(&world, "fra", "1.0.1", "../../x").await, Err(Code::InvalidArgument));

    let header = |attempt: &str, sha256: &str, size| StoreHeader {
        attempt: attempt.to_owned(),
        sha256: sha256.to_owned(),
        size,
    };
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(store(&world, "muc", header("1.0.1", abc, 3), b"abc").await, Code::PermissionDenied);
    assert_eq!(store(&world, "fra", header("1.0.1", abc, 3), b"abd").await, Code::InvalidArgument);
    assert_eq!(store(&world, "fra", header("1.0.1", abc, 2), b"abc").await, Code::InvalidArgument);
    assert_eq!(
        store(&world, "fra", header("1.0.1", abc, 1 << 40), b"abc").await,
        Code::InvalidArgument
    );
    assert_eq!(store(&world, "fra", header("1.0.1", abc, 3), b"abc").await, Code::Ok);
    // There now, yet named by nobody's order.
    assert_eq!(fetch(&world, "muc", "1.1.1", abc).await, Err(Code::PermissionDenied));
    assert_eq!(fetch(&world, "fra", "1.0.1", abc).await, Err(Code::PermissionDenied));
    fs::write(&go, "").unwrap();
    assert_eq!(world.finished(run)["status"], "succeeded");
    assert_eq!(fetch(&world, "fra", "1.0.1", &hash).await, Err(Code::PermissionDenied));
}

#[test]
fn artifacts_that_have_expired_are_gone_and_who_needs_them_says_so() {
    let jobs = "  make:\n    process: {}\n    run: echo made > file\n    \
                artifacts: { paths: [file], expire: 1s }\n  \
                use: { process: {}, needs: [make], run: cat file && false }\n";
    let mut world = World::start(&["fra"], &deploy("fra", jobs));
    let run = world.trigger();
    assert_eq!(world.finished(run)["status"], "failed");
    assert!(world.log(run, 1).contains("made\n"));
    let store = world.site.data().join("content/store");
    // It looks when it starts, and every hour.
    while files(&store).len() > 1 {
        ok(world.site.stop_coordinator());
        ok(world.site.start_coordinator());
    }
    ok(world.site.stop_agent("fra", "mgmt01"));
    ok(fs::remove_dir_all(world.site.agent_dir("fra", "mgmt01").join("state/content")));
    ok(world.site.start_agent("fra", "mgmt01"));
    assert_eq!(world.garrison(&["retry", &run.to_string()]).code, 0);
    let again = world.run_when(run, "end", |run| run["status"] == "failed");
    let (make, used) = (&again["jobs"][0], &again["jobs"][1]);
    assert_eq!((&make["status"], &used["status"]), (&"succeeded".into(), &"infra_error".into()));
    let told = used["detail"].as_str().unwrap();
    assert!(told.contains("artifacts that have expired are made again"), "{told}");
    // A new run makes them again.
    let new = world.trigger();
    assert_eq!(world.finished(new)["status"], "failed");
    assert!(world.log(new, 1).contains("made\n"));
}

#[test]
fn an_agent_forgets_content_that_it_has_no_room_for() {
    let jobs = "  make:\n    process: {}\n    run: cat text > made\n    artifacts: { paths: [made] }\n  \
                use: { process: {}, needs: [make], run: cat text made }\n";
    let mut world = World::start(&["fra"], &deploy("fra", jobs));
    ok(world.site.stop_agent("fra", "mgmt01"));
    let config = world.site.agent_dir("fra", "mgmt01").join("agent.toml");
    let text = ok(fs::read_to_string(&config));
    ok(fs::write(&config, format!("content_bytes = 1\n{text}")));
    ok(world.site.start_agent("fra", "mgmt01"));
    for text in ["one\n", "two\n", "one\n"] {
        ok(world.site.commit(&[("text", text)]));
        let run = world.trigger();
        assert_eq!(world.finished(run)["status"], "succeeded", "{}", world.logs());
        assert!(world.log(run, 1).ends_with(&text.repeat(2)), "{}", world.log(run, 1));
        let kept = files(&world.site.agent_dir("fra", "mgmt01").join("state/content"));
        assert_eq!(kept.len(), 1, "{kept:?}");
    }
}
