//! Commit statuses at a forge that fails, has enough, or does not answer.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use integration::{World, ok};
use serde_json::Value;

const PIPELINE: &str = "on: { push: { branches: [main] } }\npartitions: [fra]\njobs:\n  \
                        one:\n    process: {}\n    run: test -e good\n";

const TOKEN: &str = "ghp_opensesame";

/// A status that was asked for, and how that was answered; none if it was not.
#[derive(Debug, Clone)]
struct Call {
    commit: String,
    status: Value,
    answer: Option<u16>,
}

/// The forge's API. It ends with the test.
struct Forge {
    runtime: tokio::runtime::Runtime,
    state: Script,
    url: String,
}

/// What it says next, none for silence, and what it heard; afterwards it says 201.
#[derive(Debug, Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Option<u16>>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Forge {
    fn start() -> Forge {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = Script::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let path = "/repos/acme/infra/statuses/{commit}";
        let router = axum::Router::new().route(path, post(set)).with_state(state.clone());
        let _guard = runtime.enter();
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        serving.detach_all();
        Forge { runtime, state, url }
    }

    fn will_say(&self, answers: &[Option<u16>]) {
        self.state.answers.lock().unwrap().extend(answers);
    }

    fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    /// Waits until what it took is as wanted; gives all that it heard.
    fn heard(&self, world: &World, wanted: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let found = garrison::site::wait("statuses", || {
            let calls = self.calls();
            wanted(&calls).then_some(calls)
        });
        found.unwrap_or_else(|failure| {
            panic!("{failure}: {:#?}\n{}", self.calls(), world.logs());
        })
    }
}

async fn set(
    State(script): State<Script>,
    Path(commit): Path<String>,
    headers: HeaderMap,
    Json(status): Json<Value>,
) -> (StatusCode, HeaderMap) {
    assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
    assert!(headers["user-agent"].to_str().unwrap().starts_with("garrison/"));
    let answer = script.answers.lock().unwrap().pop_front().unwrap_or(Some(201));
    script.calls.lock().unwrap().push(Call { commit, status, answer });
    let mut headers = HeaderMap::new();
    match answer {
        None => std::future::pending().await,
        Some(429) => drop(headers.insert("retry-after", 1.into())),
        Some(_) => {}
    }
    (StatusCode::from_u16(answer.unwrap()).unwrap(), headers)
}

/// A site whose forge wants statuses.
fn begin(pipeline: &str) -> (World, Forge) {
    let mut world = World::start(&["fra"], pipeline);
    let forge = Forge::start();
    let token = world.dir.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let statuses = format!("\n[forges.statuses]\ntoken_file = {token:?}\nurl = {:?}\n", forge.url);
    world.site.configure(&statuses);
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    (world, forge)
}

/// States that the forge took of a commit.
fn taken<'a>(calls: &'a [Call], commit: &str) -> Vec<&'a str> {
    let own = calls.iter().filter(|it| it.commit == commit && it.answer == Some(201));
    own.map(|it| it.status["state"].as_str().unwrap()).collect()
}

#[test]
fn a_push_gets_its_verdict() {
    let (world, forge) = begin(PIPELINE);
    let good = ok(world.site.push(&[("good", "")])).commit;
    let calls = forge.heard(&world, |it| taken(it, &good).last() == Some(&"success"));
    let last = &calls.last().unwrap().status;
    assert_eq!(last["context"], "garrison/deploy");
    assert!(last["description"].as_str().unwrap().starts_with("Succeeded in "), "{last}");
    assert!(last.get("target_url").is_none());

    ok(world.site.git(&["rm", "--quiet", "good"]));
    let bad = ok(world.site.push(&[])).commit;
    let calls = forge.heard(&world, |it| taken(it, &bad).last() == Some(&"failure"));
    let last = calls.last().unwrap().status["description"].as_str().unwrap().to_owned();
    assert!(last.starts_with("one in fra failed after "), "{last}");

    let broken = ok(world.site.push(&[(".garrison/deploy.yaml", "jobs: 1\n")])).commit;
    let calls = forge.heard(&world, |it| !taken(it, &broken).is_empty());
    assert_eq!(taken(&calls, &broken), ["error"]);
    // Nobody pushed this one.
    let count = forge.calls().len();
    ok(world.site.commit(&[(".garrison/deploy.yaml", PIPELINE), ("good", "")]));
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "-o", "json"]);
    world.finished(said.json()["id"].as_u64().unwrap());
    let last = ok(world.site.push(&[])).commit;
    let calls = forge.heard(&world, |it| taken(it, &last).last() == Some(&"success"));
    assert!(calls[count..].iter().all(|it| it.commit == last), "{calls:#?}");
}

#[test]
fn failures_limits_and_restarts_lose_nothing() {
    let (mut world, forge) = begin(PIPELINE);
    forge.will_say(&[Some(500), Some(502), Some(429)]);
    let first = ok(world.site.push(&[("good", "")]));
    forge.heard(&world, |it| it.len() >= 3);
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let calls = forge.heard(&world, |it| taken(it, &first.commit).last() == Some(&"success"));
    assert_eq!(calls.iter().filter(|it| it.answer == Some(429)).count(), 1, "{calls:#?}");

    // The forge hangs; the coordinator is killed meanwhile, and tells the next forge what is new.
    forge.will_say(&[None]);
    let second = ok(world.site.push(&[("more", "")]));
    forge.heard(&world, |it| it.iter().any(|it| it.commit == second.commit));
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let calls = forge.heard(&world, |it| taken(it, &second.commit).last() == Some(&"success"));
    let waits = world.logs().matches("the status waits").count();
    assert!(waits >= 2, "{calls:#?}\n{}", world.logs());
    assert!(!world.logs().contains(TOKEN));
}

#[test]
fn a_forge_that_hangs_keeps_no_run_and_no_stop_waiting() {
    let (mut world, forge) = begin(PIPELINE);
    forge.will_say(&[None]);
    let pushed = ok(world.site.push(&[("good", "")]));
    forge.heard(&world, |it| it.len() == 1);
    assert_eq!(world.finished(1)["commit"], pushed.commit);
    let begun = std::time::Instant::now();
    ok(world.site.stop_coordinator());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    forge.runtime.shutdown_background();
}
