use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use coordinator_core::run::Outcome;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::*;
use crate::store::{self, Store, fixtures};

/// How long anything may take.
const LONG: Duration = Duration::from_secs(20);

const OPTIONS: Options = Options {
    patience: Duration::from_millis(300),
    pauses: (Duration::from_millis(10), Duration::from_millis(50)),
};

/// What the forge answers.
#[derive(Debug, Clone, Copy)]
enum Says {
    Status(u16),
    Limited {
        seconds: u64,
    },
    /// Nothing before it is released.
    Held,
}

/// A request: its path, its token, and its body.
type Heard = (String, String, Value);

/// A forge that answers by a list for each repository, and then with 201.
#[derive(Clone)]
struct Forge {
    script: Arc<Mutex<BTreeMap<String, VecDeque<Says>>>>,
    heard: watch::Sender<Vec<Heard>>,
    release: Arc<Notify>,
}

impl Forge {
    /// The forge, and where it is.
    async fn start(tasks: &mut JoinSet<anyhow::Result<()>>) -> (Forge, String) {
        let forge = Forge {
            script: Arc::default(),
            heard: watch::Sender::default(),
            release: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3/", listener.local_addr().unwrap());
        let path = "/api/v3/repos/{owner}/{name}/statuses/{commit}";
        let router = Router::new().route(path, post(hear)).with_state(forge.clone());
        tasks.spawn(async move { Ok(axum::serve(listener, router).await?) });
        (forge, url)
    }

    fn will_say(&self, repository: &str, answers: &[Says]) {
        let answers = answers.iter().copied().collect();
        self.script.lock().unwrap().insert(repository.to_owned(), answers);
    }

    /// What it heard once that is as wanted.
    async fn heard(&self, wanted: impl FnMut(&Vec<Heard>) -> bool) -> Vec<Heard> {
        let mut heard = self.heard.subscribe();
        let found = timeout(LONG, heard.wait_for(wanted)).await.map(|it| it.unwrap().clone());
        found.unwrap_or_else(|_| panic!("only {:#?}", self.heard.borrow()))
    }
}

async fn hear(
    State(forge): State<Forge>,
    extract::Path((owner, name, commit)): extract::Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let body = serde_json::from_slice(&body).unwrap();
    let repository = format!("{owner}/{name}");
    let says = forge.script.lock().unwrap().get_mut(&repository).and_then(VecDeque::pop_front);
    forge.heard.send_modify(|heard| heard.push((format!("{repository}@{commit}"), token, body)));
    let mut headers = HeaderMap::new();
    let status = match says {
        None => StatusCode::CREATED,
        Some(Says::Status(status)) => StatusCode::from_u16(status).unwrap(),
        Some(Says::Limited { seconds }) => {
            headers.insert("retry-after", seconds.into());
            StatusCode::FORBIDDEN
        }
        Some(Says::Held) => {
            forge.release.notified().await;
            StatusCode::BAD_GATEWAY
        }
    };
    (status, headers)
}

/// A store whose runs a teller tells.
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
    async fn new() -> (World, Forge) {
        let mut tasks = JoinSet::new();
        let (forge, url) = Forge::start(&mut tasks).await;
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), store::Options::default(), Wall(0)).unwrap();
        let config = config(folder.path(), &url);
        let (committed, _) = watch::channel(store.last());
        let progress = Progress::default();
        let options = OPTIONS;
        (World { store, committed, config, progress, options, tasks, _folder: folder }, forge)
    }

    fn teller(&self) -> Teller {
        let source = Source::new(self.store.journal(), self.committed.subscribe());
        let (view, progress) = (self.store.view(), self.progress.clone());
        Teller::open(&self.config, source, view, progress, self.options).unwrap().unwrap()
    }

    fn start(&mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        self.tasks.spawn(self.teller().run(stop.clone()));
        stop
    }

    async fn stop(&mut self, stop: CancellationToken) {
        stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    /// Commits a run of the repository, started by a push `age` ago.
    fn commit(&mut self, id: u64, repository: &str, state: run::State, age: Duration) {
        let actor = Actor::Forge { forge: "github".to_owned(), login: "ada".to_owned() };
        let created = Wall(driver::now().0 - age.as_micros() as u64);
        let run = fixtures::run(id, "deploy", state);
        let run = Run { actor, created, repository: repository.parse().unwrap(), ..run };
        self.change(Change::Run(run));
    }

    fn change(&mut self, change: Change) {
        let seq = self.store.commit(driver::now(), &[], &[change]).unwrap();
        self.committed.send_replace(seq);
    }

    /// Waits until all is told.
    async fn told(&self) {
        let all = async {
            while self.progress.lag(self.store.last(), driver::now()).0 > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, all).await.expect("all is told");
    }
}

fn config(folder: &Path, url: &str) -> Config {
    let token = folder.join("token");
    std::fs::write(&token, "ghp_opensesame\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, mode).unwrap();
    let text = format!(
        "data = {folder:?}\n[agents]\nlisten = '127.0.0.1:0'\nnames = ['a']\n[http]\n\
         url = 'https://garrison.example'\n\
         [[forges]]\nname = 'github'\nkind = 'github'\nsecret_file = '/none'\nrepositories = [\
         {{ name = 'slow', full_name = 'acme/slow' }}, {{ name = 'fast', full_name = 'acme/fast' }}]\n\
         statuses = {{ token_file = {token:?}, url = '{url}' }}\n"
    );
    toml::from_str(&text).unwrap()
}

fn done() -> run::State {
    run::State::Finished { at: driver::now(), outcome: Outcome::Succeeded }
}

fn state(heard: &Heard) -> &str {
    heard.2["state"].as_str().unwrap()
}

fn of<'a>(heard: &'a [Heard], repository: &str) -> Vec<&'a str> {
    let own = heard.iter().filter(|(path, ..)| path.starts_with(repository));
    own.map(state).collect()
}

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn a_run_is_told_when_it_starts_and_when_it_ends() {
    let (mut world, forge) = World::new().await;
    let stop = world.start();
    world.commit(1, "fast", run::State::Active, NOW);
    forge.heard(|heard| heard.len() == 1).await;
    world.commit(1, "fast", done(), NOW);
    let heard = forge.heard(|heard| heard.len() == 2).await;
    assert_eq!(of(&heard, "acme/fast@c0ffee"), ["pending", "success"]);
    let (_, token, body) = &heard[0];
    assert_eq!(token, "Bearer ghp_opensesame");
    let expected = serde_json::json!({
        "state": "pending",
        "description": "Run 1 is under way",
        "target_url": "https://garrison.example/runs/1",
        "context": "garrison/deploy",
    });
    assert_eq!(*body, expected);
    world.told().await;
    world.stop(stop).await;
    let place: Value =
        serde_json::from_slice(&std::fs::read(world.config.data.join("statuses.cursor")).unwrap())
            .unwrap();
    assert_eq!(place, serde_json::json!({ "version": 1, "seq": world.store.last() }));
}

#[tokio::test]
async fn that_a_run_waits_for_people_is_told_when_its_gate_opens_and_with_each_approval() {
    let (mut world, forge) = World::new().await;
    world.start();
    world.commit(1, "fast", run::State::Active, NOW);
    world.change(Change::Plan(RunId(1), fixtures::gated()));
    forge.heard(|heard| heard.len() == 1).await;
    world.change(Change::Job(fixtures::open_gate(1, 0)));
    forge.heard(|heard| heard.len() == 2).await;
    world.change(Change::Job(fixtures::open_gate(1, 1)));
    let heard = forge.heard(|heard| heard.len() == 3).await;
    let said: Vec<_> = heard.iter().map(|it| it.2["description"].as_str().unwrap()).collect();
    let expected = [
        "Run 1 is under way",
        "Run 1 waits for 2 approvals by admins (deploy in fra)",
        "Run 1 waits for 1 approval by an admin (deploy in fra)",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn only_what_a_push_started_is_told() {
    let (mut world, forge) = World::new().await;
    world.start();
    world.change(Change::Run(fixtures::run(1, "deploy", done())));
    world.commit(2, "elsewhere", done(), NOW);
    world.commit(3, "fast", done(), Duration::from_secs(31 * 24 * 3600));
    let old = run::State::Finished { at: Wall(9), outcome: Outcome::Succeeded };
    world.commit(4, "fast", old, NOW);
    world.commit(5, "fast", done(), NOW);
    world.told().await;
    let heard = forge.heard(|heard| !heard.is_empty()).await;
    let pages: Vec<&str> = heard.iter().map(|it| it.2["target_url"].as_str().unwrap()).collect();
    // Run 3 is old, but its end is not.
    assert_eq!(pages, ["https://garrison.example/runs/3", "https://garrison.example/runs/5"]);
}

#[tokio::test]
async fn a_newer_state_overtakes_and_a_slow_repository_keeps_nobody_waiting() {
    let (mut world, forge) = World::new().await;
    world.options.patience = LONG;
    forge.will_say("acme/slow", &[Says::Held, Says::Status(502)]);
    world.start();
    world.commit(1, "slow", run::State::Active, NOW);
    forge.heard(|heard| heard.len() == 1).await;
    let held = Instant::now();
    world.commit(1, "slow", done(), NOW);
    world.commit(2, "fast", run::State::Active, NOW);
    // The other repository is told while the first one has not answered.
    forge.heard(|heard| of(heard, "acme/fast").len() == 1).await;
    assert!(held.elapsed() < LONG / 2, "{:?}", held.elapsed());
    let lag = world.progress.lag(world.store.last(), driver::now());
    assert!(lag.0 >= 2 && lag.1 > Duration::ZERO, "{lag:?}");
    forge.release.notify_one();
    world.told().await;
    let heard = forge.heard(|heard| of(heard, "acme/slow").len() == 3).await;
    assert_eq!(of(&heard, "acme/slow"), ["pending", "success", "success"]);
}

#[tokio::test]
async fn silence_is_a_failure_like_others() {
    let (mut world, forge) = World::new().await;
    forge.will_say("acme/slow", &[Says::Held, Says::Held, Says::Status(500)]);
    world.start();
    world.commit(1, "slow", done(), NOW);
    world.told().await;
    assert_eq!(forge.heard(|heard| heard.len() == 4).await.len(), 4);
}

#[tokio::test]
async fn a_forge_that_has_enough_is_left_alone_for_as_long_as_it_says() {
    let (mut world, forge) = World::new().await;
    forge.will_say("acme/slow", &[Says::Limited { seconds: 1 }]);
    world.start();
    world.commit(1, "slow", done(), NOW);
    forge.heard(|heard| heard.len() == 1).await;
    let limited = Instant::now();
    world.commit(2, "fast", done(), NOW);
    world.told().await;
    assert!(limited.elapsed() > Duration::from_millis(900), "{:?}", limited.elapsed());
    let heard = forge.heard(|heard| heard.len() == 3).await;
    assert_eq!((of(&heard, "acme/slow").len(), of(&heard, "acme/fast").len()), (2, 1));
}

#[tokio::test]
async fn what_is_refused_is_given_up_and_the_next_is_told() {
    let (mut world, forge) = World::new().await;
    forge.will_say("acme/fast", &[Says::Status(422), Says::Status(301)]);
    world.start();
    for id in 1..=3 {
        world.commit(id, "fast", done(), NOW);
    }
    world.told().await;
    assert_eq!(forge.heard(|heard| heard.len() == 3).await.len(), 3);
}

#[tokio::test]
async fn one_that_fails_again_and_again_lets_the_others_of_its_repository_by() {
    let (mut world, forge) = World::new().await;
    forge.will_say("acme/fast", &[Says::Status(500)]);
    // The first start marks where to begin.
    world.commit(1, "fast", done(), NOW);
    drop(world.teller());
    for id in 2..=4 {
        world.commit(id, "fast", done(), NOW);
    }
    world.start();
    world.told().await;
    let heard = forge.heard(|heard| heard.len() == 4).await;
    let pages = heard.iter().map(|it| it.2["target_url"].as_str().unwrap().rsplit('/').next());
    let pages: Vec<&str> = pages.map(Option::unwrap).collect();
    assert_eq!(pages, ["2", "3", "4", "2"]);
}

#[tokio::test]
async fn what_waited_is_told_by_the_next_start() {
    let (mut world, forge) = World::new().await;
    forge.will_say("acme/slow", &[Says::Limited { seconds: 3600 }]);
    let stop = world.start();
    world.commit(1, "slow", run::State::Active, NOW);
    forge.heard(|heard| heard.len() == 1).await;
    world.stop(stop).await;
    world.start();
    world.told().await;
    let heard = forge.heard(|heard| heard.len() == 2).await;
    assert_eq!(of(&heard, "acme/slow"), ["pending", "pending"]);
}

#[tokio::test]
async fn what_happened_while_nobody_told_is_told_once_as_it_is_now() {
    let (mut world, forge) = World::new().await;
    drop(world.teller());
    world.commit(1, "slow", run::State::Active, NOW);
    // More than are read at a time.
    for id in 2..=100 {
        world.change(Change::Run(fixtures::run(id, "deploy", done())));
    }
    world.commit(1, "slow", done(), NOW);
    world.start();
    world.told().await;
    let heard = forge.heard(|heard| !heard.is_empty()).await;
    assert_eq!(of(&heard, "acme/slow"), ["success"]);
}

#[test]
fn each_that_waits_has_its_turn() {
    let (now, pause) = (Instant::now(), Pause::new(OPTIONS.pauses.0, OPTIONS.pauses.1));
    let waiting = (1..=3).map(|id| (RunId(id), Waiting { seq: Seq(id), time: Wall(id) })).collect();
    let mut repository =
        Repository { waiting, latest: RunId(1), sending: None, pause, not_before: now };
    let turns = std::iter::from_fn(|| repository.take_next()).map(|(run, _)| run.0);
    assert_eq!(turns.collect::<Vec<_>>(), [2, 3, 1]);
}
