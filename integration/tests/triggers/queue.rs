//! A stream of somebody else's, which a site's coordinator reads.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{self, Context, stream};
use garrison::site::wait_within;
use integration::nats::Nats;
use integration::{World, ok};
use serde_json::{Value, json};

/// How long all that is waited for may take: NATS gives out again after ten seconds what was in the hands
/// of one who died.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the stream takes: NATS has no wildcards for parts of words.
const SUBJECTS: [&str; 4] = ["fra-machine", "muc-machine", "other-machine", "fra-equ01-machine"];

/// A site that reads the stream `METAL`, and where that lives.
pub(crate) struct Queue {
    pub(crate) world: World,
    pub(crate) nats: Nats,
    runtime: tokio::runtime::Runtime,
    /// Of the stream that the coordinator reads.
    stream: String,
}

/// What could not be dealt with, and why.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) subject: String,
    pub(crate) reason: String,
}

/// The machine's clock, in µs since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// A CloudEvent of the metal-api.
pub(crate) fn event(id: &str, kind: &str, time_us: u64, data: Value) -> Value {
    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
    let output = std::process::Command::new("date")
        .args([
            "--utc",
            "--date",
            &format!("@{seconds}"),
            &format!("+%Y-%m-%dT%H:%M:%S.{micros:06}Z"),
        ])
        .output();
    let time = String::from_utf8(output.unwrap().stdout).unwrap();
    json!({
        "specversion": "1.0", "id": id, "source": "metal-api", "type": kind, "time": time.trim(),
        "data": data,
    })
}

impl Queue {
    /// A site whose repository holds the pipeline, with `triggers` in its `[nats]`; everything runs.
    pub(crate) fn start(partitions: &[&str], pipeline: &str, triggers: &str) -> Queue {
        Queue::of(World::start(partitions, pipeline), "", triggers)
    }

    /// The same with a site that is there already, and `server` in the configuration of NATS.
    pub(crate) fn of(mut world: World, server: &str, triggers: &str) -> Queue {
        let mut nats = Nats::new(world.dir.path(), server);
        nats.start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("nats://{}", nats.address());
        world.site.configure(&format!("\n[nats]\nurls = [{url:?}]\n{triggers}"));
        let stream = triggers.split('\'').nth(1).unwrap().to_owned();
        let queue = Queue { world, nats, runtime, stream };
        queue.wait("the pipeline is known", || {
            let known = queue.world.garrison(&["subscriptions", "list", "-o", "json"]);
            (known.json().as_array().is_some_and(|it| !it.is_empty())).then_some(())
        });
        queue.make_stream();
        let mut queue = queue;
        ok(queue.world.site.kill_coordinator());
        ok(queue.world.site.start_coordinator());
        queue.wait("the coordinator's consumer", || queue.pending().map(drop));
        queue
    }

    fn make_stream(&self) {
        self.ask(async |context| {
            let config = stream::Config {
                name: "METAL".to_owned(),
                subjects: SUBJECTS.map(str::to_owned).into(),
                ..stream::Config::default()
            };
            context.create_stream(config).await.unwrap();
        });
    }

    /// NATS loses all that it has stored; the stream is made anew, empty.
    pub(crate) fn wipe(&mut self) {
        self.nats.wipe();
        self.nats.start();
        self.make_stream();
    }

    fn ask<T, F: Future<Output = T>>(&self, ask: impl FnOnce(Context) -> F) -> T {
        let address = self.nats.address();
        self.runtime.block_on(async {
            let client = async_nats::connect(address).await.unwrap();
            ask(jetstream::new(client)).await
        })
    }

    pub(crate) fn wait<T>(&self, what: &str, ready: impl FnMut() -> Option<T>) -> T {
        let found = wait_within(PATIENCE, what, ready);
        found.unwrap_or_else(|failure| panic!("{failure}\n{}", self.world.logs()))
    }

    /// Publishes a message; returns once it is stored.
    pub(crate) fn publish(&self, subject: &str, id: &str, message: &Value) {
        self.publish_bytes(subject, id, message.to_string().as_bytes());
    }

    pub(crate) fn publish_bytes(&self, subject: &str, id: &str, payload: &[u8]) {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        self.publish_with(headers, subject, payload);
    }

    /// The same without a name for NATS.
    pub(crate) fn publish_unnamed(&self, subject: &str, message: &Value) {
        self.publish_with(HeaderMap::new(), subject, message.to_string().as_bytes());
    }

    fn publish_with(&self, headers: HeaderMap, subject: &str, payload: &[u8]) {
        let (subject, payload) = (subject.to_owned(), payload.to_vec());
        self.ask(async |context| {
            let sent = context.publish_with_headers(subject, headers, payload.into()).await;
            sent.unwrap().await.unwrap();
        });
    }

    /// Up to which message all are dealt with, and how many are not; none while nobody reads.
    fn pending(&self) -> Option<(u64, u64)> {
        let stream = self.stream.clone();
        self.ask(async |context| {
            let stream = context.get_stream(stream).await.ok()?;
            let info = stream.consumer_info("garrison").await.ok()?;
            let open = info.num_pending + info.num_ack_pending as u64;
            Some((info.ack_floor.stream_sequence, open))
        })
    }

    /// Waits until the stream's first messages, so many, are dealt with.
    pub(crate) fn dealt_with(&self, count: u64) {
        self.wait(&format!("{count} messages to be dealt with"), || {
            self.pending().filter(|it| *it == (count, 0))
        });
    }

    /// All runs.
    pub(crate) fn runs(&self) -> Vec<Value> {
        let runs = self.world.garrison(&["runs", "--limit", "100", "-o", "json"]).json();
        runs.as_array().unwrap_or_else(|| panic!("{runs}")).clone()
    }

    /// Waits until there are at least so many.
    pub(crate) fn runs_are(&self, count: usize) {
        self.wait(&format!("{count} runs"), || (self.runs().len() >= count).then_some(()));
    }

    /// All runs, once there are so many; there must be no more.
    pub(crate) fn started(&self, count: usize) -> Vec<Value> {
        self.runs_are(count);
        let runs = self.runs();
        assert_eq!(runs.len(), count, "{runs:#?}");
        runs
    }

    /// All dead letters, in order.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.ask(async |context| {
            let stream = context.get_stream("GARRISON_DEAD").await.unwrap();
            let last = stream.cached_info().state.last_sequence;
            let mut letters = Vec::new();
            for sequence in 1..=last {
                let message = stream.get_raw_message(sequence).await.unwrap();
                let reason = message.headers.get("Garrison-Reason").unwrap().as_str().to_owned();
                letters.push(Letter { subject: message.subject.to_string(), reason });
            }
            letters
        })
    }
}
