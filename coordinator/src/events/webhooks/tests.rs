use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use coordinator_core::change::Change;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::signing::Key;
use crate::store::journal::Seq;
use crate::store::{self, Store, fixtures};

/// How long anything may take.
const LONG: Duration = Duration::from_secs(20);

const OPTIONS: Options = Options {
    patience: Duration::from_millis(500),
    pauses: (Duration::from_millis(10), Duration::from_millis(50)),
    give_up: LONG,
};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the receiver answers.
#[derive(Debug, Clone, Copy)]
enum Says {
    Status(u16),
    /// Too many, for a second.
    Limited,
    /// Nothing before it is released.
    Held,
}

/// Somebody who answers by a list, and then with 204. He believes nothing that is not signed.
#[derive(Clone, Default)]
struct Listener {
    script: Arc<Mutex<VecDeque<Says>>>,
    /// The id of each try, and the event.
    heard: watch::Sender<Vec<(String, Value)>>,
    release: Arc<Notify>,
}

impl Listener {
    fn will_say(&self, answers: &[Says]) {
        self.script.lock().unwrap().extend(answers);
    }

    /// What he heard once it is as wanted.
    async fn heard(
        &self,
        wanted: impl FnMut(&Vec<(String, Value)>) -> bool,
    ) -> Vec<(String, Value)> {
        let mut heard = self.heard.subscribe();
        let found = timeout(LONG, heard.wait_for(wanted)).await.map(|it| it.unwrap().clone());
        found.unwrap_or_else(|_| panic!("only {:#?}", self.heard.borrow()))
    }
}

async fn hear(
    State(listener): State<Listener>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert!(header("user-agent").starts_with("garrison/"));
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let key = Key::read(KEY).unwrap();
    assert!(key.is_signed(id, time, &body, header("webhook-signature"), driver::now()));
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["id"].as_str().unwrap().replace('.', "-"), id);
    let says = listener.script.lock().unwrap().pop_front();
    listener.heard.send_modify(|heard| heard.push((id.to_owned(), event)));
    let mut answer = HeaderMap::new();
    let status = match says {
        None => StatusCode::NO_CONTENT,
        Some(Says::Status(status)) => {
            answer.insert("location", "/elsewhere".parse().unwrap());
            StatusCode::from_u16(status).unwrap()
        }
        Some(Says::Limited) => {
            answer.insert("retry-after", 1.into());
            StatusCode::TOO_MANY_REQUESTS
        }
        Some(Says::Held) => {
            listener.release.notified().await;
            StatusCode::BAD_GATEWAY
        }
    };
    (status, answer)
}

/// A store whose events a sender tells.
struct World {
    store: Store,
    committed: watch::Sender<Seq>,
    config: Config,
    progress: Progress,
    options: Options,
    tasks: JoinSet<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl World {
    /// A webhook with `more` in its configuration.
    async fn new(more: &str) -> (World, Listener) {
        let mut tasks = JoinSet::new();
        let listener = Listener::default();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/hunter2", socket.local_addr().unwrap());
        let router = Router::new().route("/hook/hunter2", post(hear)).with_state(listener.clone());
        tasks.spawn(async move { Ok(axum::serve(socket, router).await?) });
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), store::Options::default(), Wall(0)).unwrap();
        let config = config(folder.path(), &url, more);
        let (committed, _) = watch::channel(store.last());
        let progress = Progress::default();
        let options = OPTIONS;
        (World { store, committed, config, progress, options, tasks, _folder: folder }, listener)
    }

    fn sender(&self) -> Sender {
        let source = Source::new(self.store.journal(), self.committed.subscribe());
        let (view, progress) = (self.store.view(), self.progress.clone());
        let webhook = &self.config.webhooks[0];
        Sender::open(webhook, &self.config, source, view, progress, self.options).unwrap()
    }

    fn start(&mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        self.tasks.spawn(self.sender().run(stop.clone()));
        stop
    }

    async fn stop(&mut self, stop: CancellationToken) {
        stop.cancel();
        timeout(LONG, self.tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }

    /// Commits a run in `fra` that was just created, with a job and an attempt that started:
    /// three events.
    fn commit(&mut self, id: u64) {
        let seq = self.store.commit(driver::now(), &[], &life(id)).unwrap();
        self.committed.send_replace(seq);
    }

    /// Waits until all is told.
    async fn told(&self) {
        timeout(LONG, self.caught_up()).await.expect("all is told");
    }

    async fn caught_up(&self) {
        while self.lag() > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn lag(&self) -> u64 {
        self.progress.lag(self.store.last(), driver::now()).0
    }
}

fn life(id: u64) -> Vec<Change> {
    fixtures::whole_run(id, "fra", true)
}

fn config(folder: &Path, url: &str, more: &str) -> Config {
    let key = folder.join("key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
    let text = format!(
        "data = {folder:?}\n[agents]\nlisten = '127.0.0.1:0'\nnames = ['a']\n[http]\n\
         [[webhooks]]\nname = 'chat'\nurl = '{url}'\nsecret_file = {key:?}\n{more}\n"
    );
    toml::from_str(&text).unwrap()
}

/// Of which run each try told, and of what: the first word of its topic.
fn tries(heard: &[(String, Value)]) -> Vec<(u64, &str)> {
    let about = |event: &Value| event["data"]["run"].as_u64().unwrap();
    heard.iter().map(|(_, event)| (about(event), topic(event))).collect()
}

fn topic(event: &Value) -> &str {
    event["type"].as_str().unwrap().split('.').nth(1).unwrap()
}

/// The tries of a run that was told without a hitch.
fn whole(run: u64) -> Vec<(u64, &'static str)> {
    ["run", "job", "attempt"].map(|topic| (run, topic)).to_vec()
}

#[tokio::test]
async fn events_come_signed_in_order_and_each_once() {
    let (mut world, listener) = World::new("").await;
    world.commit(1);
    // The first start marks where to begin.
    drop(world.sender());
    for id in 2..=100 {
        world.commit(id);
    }
    world.start();
    world.told().await;
    let heard = listener.heard(|heard| heard.len() == 3 * 99).await;
    let expected: Vec<_> = (2..=100).flat_map(whole).collect();
    assert_eq!(tries(&heard), expected);
    let ids: std::collections::BTreeSet<_> = heard.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), heard.len());
}

#[tokio::test]
async fn only_what_is_asked_for_is_sent() {
    let more = "topics = ['job.*', 'attempt.finished']\npartitions = ['_', 'fra']";
    let (mut world, listener) = World::new(more).await;
    world.start();
    world.commit(1);
    world.told().await;
    assert_eq!(tries(&listener.heard(|heard| !heard.is_empty()).await), [(1, "job")]);
    let (mut world, listener) = World::new("partitions = ['_']").await;
    world.start();
    world.commit(1);
    world.told().await;
    assert_eq!(listener.heard(|_| true).await.len(), 0);
}

#[tokio::test]
async fn what_fails_is_sent_again_under_the_same_id_before_anything_else() {
    let (mut world, listener) = World::new("").await;
    let says = [500, 503, 408, 425].map(Says::Status);
    listener.will_say(&[&says[..], &[Says::Held, Says::Limited]].concat());
    world.start();
    world.commit(1);
    let heard = listener.heard(|heard| heard.len() == 5).await;
    assert!(world.lag() > 0);
    assert_eq!(tries(&heard), [(1, "run"); 5]);
    let limited = listener.heard(|heard| heard.len() == 6).await;
    let begun = Instant::now();
    world.told().await;
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(limited.iter().all(|(id, _)| *id == limited[0].0));
    let heard = listener.heard(|heard| heard.len() == 9).await;
    assert_eq!(tries(&heard)[6..], whole(1));
}

#[tokio::test]
async fn what_is_refused_is_given_up_and_no_redirect_is_followed() {
    let (mut world, listener) = World::new("").await;
    listener.will_say(&[400, 302, 404].map(Says::Status));
    world.start();
    world.commit(1);
    world.commit(2);
    world.told().await;
    let heard = listener.heard(|heard| heard.len() == 6).await;
    assert_eq!(tries(&heard), [whole(1), whole(2)].concat());
}

#[tokio::test]
async fn an_event_is_not_tried_for_ever() {
    let (mut world, listener) = World::new("").await;
    world.options.give_up = Duration::from_millis(100);
    listener.will_say(&[Says::Limited]);
    world.start();
    world.commit(1);
    world.told().await;
    let heard = listener.heard(|heard| heard.len() == 3).await;
    assert_eq!(tries(&heard), whole(1));
}

#[tokio::test]
async fn what_is_too_old_is_not_sent() {
    let (mut world, listener) = World::new("max_age = '60s'").await;
    drop(world.sender());
    let seq = world.store.commit(Wall(1), &[], &life(1)).unwrap();
    world.committed.send_replace(seq);
    world.commit(2);
    world.start();
    world.told().await;
    assert_eq!(tries(&listener.heard(|heard| heard.len() == 3).await), whole(2));
}

#[tokio::test]
async fn who_is_gone_is_told_nothing_more_until_the_next_start() {
    let (mut world, listener) = World::new("").await;
    listener.will_say(&[Says::Status(410)]);
    let stop = world.start();
    world.commit(1);
    listener.heard(|heard| heard.len() == 1).await;
    world.commit(2);
    assert!(timeout(Duration::from_millis(200), world.caught_up()).await.is_err());
    assert_eq!(listener.heard(|_| true).await.len(), 1);
    world.stop(stop).await;
    world.start();
    world.told().await;
    let heard = listener.heard(|heard| heard.len() == 7).await;
    assert_eq!(tries(&heard), [vec![(1, "run")], whole(1), whole(2)].concat());
}

#[tokio::test]
async fn a_stop_waits_for_nobody_and_the_next_start_goes_on_with_the_event() {
    let (mut world, listener) = World::new("").await;
    listener.will_say(&[Says::Status(204), Says::Held]);
    world.options.patience = LONG;
    let stop = world.start();
    world.commit(1);
    listener.heard(|heard| heard.len() == 2).await;
    let begun = Instant::now();
    world.stop(stop).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    listener.release.notify_one();
    world.start();
    world.told().await;
    let heard = listener.heard(|heard| heard.len() == 4).await;
    assert_eq!(tries(&heard), [(1, "run"), (1, "job"), (1, "job"), (1, "attempt")]);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_without_being_shown() {
    let (world, _) = World::new("").await;
    let webhook = &world.config.webhooks[0];
    std::fs::write(&webhook.secret_file, "hunter2").unwrap();
    let source = Source::new(world.store.journal(), world.committed.subscribe());
    let (view, progress) = (world.store.view(), world.progress.clone());
    let opened = Sender::open(webhook, &world.config, source, view, progress, OPTIONS);
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("webhook 'chat'") && error.contains("openssl rand"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
