//! NATS is killed, frozen, cut off and wiped while more than 10,000 events a minute flow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::scope;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::Config;
use futures::StreamExt;
use integration::nats::{Message, Nats, Release};
use integration::{World, ok};
use serde_json::Value;

use crate::story::{Story, check, place, status_when, topic};

/// Jobs that are skipped in each partition in each run, because the first one fails: two events each,
/// and no process.
const SKIPPED: usize = 80;

/// How many runs have a minute's worth of events.
const RUNS: u32 = 10_000 / (4 * SKIPPED as u32);

/// A run begins so long after the one before.
const PACE: Duration = Duration::from_millis(60_000 / RUNS as u64);

/// Storms follow each other for so long, each at a site of its own; there is at least one.
fn duration() -> Duration {
    let seconds = std::env::var("GARRISON_CHAOS_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn pipeline() -> String {
    let skipped: String = (0..SKIPPED)
        .map(|n| format!("  j{n}: {{ needs: [first], process: {{}}, run: 'true' }}\n"))
        .collect();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra, muc]\njobs:\n  first: {{ process: {{}}, run: 'false' }}\n\
         {skipped}"
    )
}

/// A consumer that wants order: one message at a time, each acknowledged before the next comes. It
/// goes on whatever happens to NATS.
struct Listener {
    address: String,
    seen: Mutex<Vec<Message>>,
    stop: AtomicBool,
}

impl Listener {
    fn new(address: String) -> Listener {
        Listener { address, seen: Mutex::new(Vec::new()), stop: AtomicBool::new(false) }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Message>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens until it is stopped.
    fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while !self.stop.load(Ordering::Relaxed) {
            // Whatever broke, it begins again where it has acknowledged.
            let _ = runtime.block_on(self.listen());
        }
    }

    async fn listen(&self) -> Result<(), async_nats::Error> {
        let patience = Duration::from_secs(2);
        let options = async_nats::ConnectOptions::new().connection_timeout(patience);
        let client = options.max_reconnects(1).connect(&self.address).await?;
        let context = jetstream::context::ContextBuilder::new().timeout(patience).build(client);
        let stream = context.get_stream("GARRISON").await?;
        let config = Config {
            durable_name: Some("storm".to_owned()),
            max_ack_pending: 1,
            ack_wait: patience,
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer("storm", config).await?;
        let messages = consumer.stream().expires(patience).heartbeat(patience / 4);
        let mut messages = messages.messages().await?;
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(message) = tokio::time::timeout(patience, messages.next()).await else {
                continue;
            };
            let Some(message) = message else { break };
            let message = message?;
            let id = message.headers.as_ref().and_then(|it| it.get("Nats-Msg-Id"));
            let seen = Message {
                subject: message.subject.to_string(),
                id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
                event: serde_json::from_slice(&message.payload)?,
            };
            self.seen().push(seen);
            message.ack().await?;
        }
        Ok(())
    }
}

/// A minute's worth of runs, and more until the other end is dropped.
fn load(world: &World, end: &Receiver<()>) -> Vec<u64> {
    let mut runs = Vec::new();
    for number in 1.. {
        let next = Instant::now() + PACE;
        runs.push(fails(world));
        let waited = end.recv_timeout(next.saturating_duration_since(Instant::now()));
        if waited == Err(RecvTimeoutError::Disconnected) && number >= RUNS {
            break;
        }
    }
    runs
}

/// A run from its trigger to its end, which does not wait for NATS.
fn fails(world: &World) -> u64 {
    let run = world.trigger();
    let client = ok(world.site.client());
    let ended = || {
        // Without its many jobs.
        let runs: Value = ok(client.get("/api/v1/runs?limit=10"));
        let run = runs.as_array()?.iter().find(|it| it["id"] == run)?;
        (run["status"] == "failed").then_some(())
    };
    let patience = Duration::from_secs(60);
    let waited = garrison::site::wait_within(patience, &format!("run {run}'s end"), ended);
    waited.unwrap_or_else(|failure| panic!("{failure}\n{}", world.logs()));
    run
}

/// Ends a listener, also when the test fails.
struct Ends<'a>(&'a Listener);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// What happens to NATS.
enum Trouble {
    /// It is killed, and starts again.
    Crash,
    /// It seems to be there, and says nothing for a while.
    Silence,
    /// It is killed, and starts again without what it had stored.
    Loss,
    /// It is away for a while.
    Absence,
}

impl Trouble {
    /// Lets it happen, until it is over. Meanwhile runs go on.
    fn strike(self, world: &World, nats: &mut Nats) {
        match self {
            Trouble::Crash => nats.kill(),
            Trouble::Silence => {
                let frozen = nats.freeze();
                fails(world);
                let said = status_when(world, "what is wrong", |it| !it["trouble"].is_null());
                assert!(said["behind"].as_u64().unwrap() > 0, "{said}");
                drop(frozen);
                return;
            }
            Trouble::Loss => nats.wipe(),
            Trouble::Absence => {
                nats.kill();
                fails(world);
            }
        }
        nats.start();
    }
}

/// Waits until the listener has heard of a run's end.
fn heard(listener: &Listener, world: &World, run: u64) {
    let end = |it: &Message| topic(it) == "run.finished" && it.event["data"]["run"] == run;
    let heard = || listener.seen().iter().rev().any(end).then_some(());
    let patience = Duration::from_secs(120);
    let waited = garrison::site::wait_within(patience, &format!("run {run}'s end"), heard);
    waited.unwrap_or_else(|failure| {
        panic!("{failure}; heard {}\n{}", listener.seen().len(), world.logs())
    });
}

#[test]
fn ten_thousand_events_a_minute_arrive_whole_and_in_order_whatever_happens_to_nats() {
    let begin = Instant::now();
    for release in [Release::Debian, Release::Current].into_iter().cycle() {
        storm(release);
        if begin.elapsed() >= duration() {
            break;
        }
    }
}

fn storm(release: Release) {
    let mut story = Story::of(release, &["fra", "muc"], &pipeline());
    let (world, nats) = (&story.world, &mut story.nats);
    let listener = Listener::new(nats.address());
    let runs = scope(|threads| {
        let _ends = Ends(&listener);
        threads.spawn(|| listener.run());
        let (go_on, end) = mpsc::channel();
        let load = threads.spawn(move || load(world, &end));
        for trouble in [Trouble::Crash, Trouble::Silence, Trouble::Loss, Trouble::Absence] {
            trouble.strike(world, nats);
            heard(&listener, world, fails(world));
        }
        drop(go_on);
        let runs = load.join().unwrap();
        heard(&listener, world, *runs.last().unwrap());
        runs
    });

    let seen = listener.seen();
    check(seen.as_slice());
    // Who removes what came before hears everything once, in order, in each partition and over all.
    let mut known = BTreeSet::new();
    let once: Vec<&Message> = seen.iter().filter(|it| known.insert(it.id.clone())).collect();
    let places: Vec<_> = once.iter().map(|it| place(it)).collect();
    assert!(places.is_sorted_by(|one, next| one < next), "out of order");
    for run in &runs {
        whole(&story.world, *run, &once);
    }
    // Since retention covers all of it, so does the stream, which was wiped meanwhile.
    let stored: BTreeSet<String> = story.messages().into_iter().map(|it| it.id).collect();
    assert_eq!(stored, known);
    assert!(once.len() >= 10_000, "{} events", once.len());
}

/// Checks what was told of a run against what the coordinator has of it.
fn whole(world: &World, run: u64, told: &[&Message]) {
    let detail: Value = ok(ok(world.site.client()).get(&format!("/api/v1/runs/{run}")));
    let jobs = detail["jobs"].as_array().unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for message in told.iter().filter(|it| it.event["data"]["run"] == run) {
        *counts.entry(topic(message)).or_default() += 1;
        if topic(message) == "job.finished" {
            let data = &message.event["data"];
            ends.insert(data["job"].to_string(), data["status"].clone());
        }
    }
    let expected = jobs.iter().map(|job| (job["id"].to_string(), job["status"].clone()));
    assert_eq!(ends, expected.collect());
    let one = ["run.created", "run.finished"].map(|topic| (topic, 1));
    let each = ["job.waiting", "job.finished"].map(|topic| (topic, jobs.len()));
    let two = ["job.queued", "job.started", "attempt.assigned", "attempt.finished"];
    let expected = one.into_iter().chain(each).chain(two.map(|topic| (topic, 2)));
    counts.retain(|topic, _| !["attempt.accepted", "attempt.started"].contains(topic));
    assert_eq!(counts, expected.collect(), "run {run}");
}
