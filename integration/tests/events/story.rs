//! A site that publishes to a NATS of a test's own, and what is read there.

use std::collections::BTreeMap;
use std::fs;

use async_nats::ConnectOptions;
use coordinator::events::schema;
use integration::nats::{Message, Nats, Release};
use integration::{World, ok};
use serde_json::Value;

/// What is told of a run of one job, in this order.
const LIFE: [&str; 8] = [
    "run.created",
    "job.waiting",
    "job.queued",
    "job.started",
    "attempt.assigned",
    "attempt.finished",
    "job.finished",
    "run.finished",
];

/// A pipeline of one job there.
pub(crate) fn short(partition: &str) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [{partition}]\njobs:\n  one:\n    process: {{}}\n    \
         run: 'true'\n"
    )
}

/// A site, and the NATS that it publishes to.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) nats: Nats,
    pub(crate) options: ConnectOptions,
}

impl Story {
    /// A site that publishes to a NATS which does not run yet.
    pub(crate) fn prepare(partitions: &[&str], pipeline: &str) -> Story {
        Story::with(partitions, pipeline, "", ConnectOptions::new())
    }

    /// The same with more in the configuration of NATS, and how tests get in.
    pub(crate) fn with(
        partitions: &[&str],
        pipeline: &str,
        server: &str,
        options: ConnectOptions,
    ) -> Story {
        let world = World::start(partitions, pipeline);
        let nats = Nats::new(world.dir.path(), server);
        Story { world, nats, options }
    }

    /// A site that publishes to a NATS; both run.
    pub(crate) fn begin(partitions: &[&str], pipeline: &str) -> Story {
        Story::of(Release::Debian, partitions, pipeline)
    }

    /// The same with a certain release of NATS.
    pub(crate) fn of(release: Release, partitions: &[&str], pipeline: &str) -> Story {
        let world = World::start(partitions, pipeline);
        let nats = Nats::of(release, world.dir.path(), "");
        let mut story = Story { world, nats, options: ConnectOptions::new() };
        story.nats.start();
        story.configure("");
        story
    }

    /// Starts the coordinator anew, with `[nats]` and more keys of it.
    pub(crate) fn configure(&mut self, more: &str) {
        let scheme = if more.contains("ca_file") { "tls" } else { "nats" };
        let url = format!("{scheme}://{}", self.nats.address());
        self.world.site.configure(&format!("\n[nats]\nurls = [{url:?}]\n{more}\n"));
        self.restart();
    }

    /// Kills the coordinator and starts it again.
    pub(crate) fn restart(&mut self) {
        ok(self.world.site.kill_coordinator());
        ok(self.world.site.start_coordinator());
    }

    /// All messages of the stream.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.nats.messages(&self.options)
    }

    /// Waits until these runs have been told to their end; gives all messages, which never go back.
    pub(crate) fn told(&self, runs: &[u64]) -> Vec<Message> {
        let mut last = Vec::new();
        let found = garrison::site::wait("events", || {
            last = self.messages();
            let ended = |run: &u64| {
                last.iter().any(|it| topic(it) == "run.finished" && it.event["data"]["run"] == *run)
            };
            runs.iter().all(ended).then(|| last.clone())
        });
        let found = found.unwrap_or_else(|failure| {
            let subjects: Vec<_> = last.iter().map(|it| &it.subject).collect();
            panic!("{failure}: {subjects:#?}\n{}", self.world.logs())
        });
        check(&found);
        let places: Vec<(u64, u64)> = found.iter().map(place).collect();
        assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
        found
    }

    /// Starts runs from several sides at once, and waits for their ends.
    pub(crate) fn runs(&self, count: u64) -> Vec<u64> {
        let runs: Vec<u64> = (0..count).map(|_| self.world.trigger()).collect();
        for run in &runs {
            assert_eq!(self.world.finished(*run)["status"], "succeeded");
        }
        runs
    }

    /// What the coordinator logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.world.dir.path().join("coordinator.log")).unwrap()
    }
}

/// Waits until what `garrison status` says of events is as wanted.
pub(crate) fn status_when(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = garrison::site::wait(what, || {
        let said = world.garrison(&["status", "-o", "json"]);
        assert_eq!(said.code, 0, "{said:?}");
        last = said.json()["events"].clone();
        is(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|failure| panic!("{failure}: {last:#}\n{}", world.logs()))
}

/// Checks that each is an event as the published schema says.
pub(crate) fn check(messages: &[Message]) {
    let validator = jsonschema::validator_for(&schema::of_all()).unwrap();
    for message in messages {
        let wrong: Vec<String> =
            validator.iter_errors(&message.event).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}: {:#}", message.event);
    }
}

/// What is behind the partition.
pub(crate) fn topic(message: &Message) -> &str {
    message.subject.splitn(3, '.').nth(2).unwrap()
}

/// The place in the journal.
pub(crate) fn place(message: &Message) -> (u64, u64) {
    let mut parts = message.id.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Whether it is a step that an agent leaves out if the next one is there when it reports.
pub(crate) fn may_be_left_out(message: &Message) -> bool {
    ["attempt.accepted", "attempt.started"].contains(&topic(message))
}

/// What was told of each run of one job.
pub(crate) fn lives(messages: &[Message]) -> BTreeMap<u64, Vec<&str>> {
    let mut lives: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for message in messages.iter().filter(|it| !may_be_left_out(it)) {
        if let Some(run) = message.event["data"]["run"].as_u64() {
            lives.entry(run).or_default().push(topic(message));
        }
    }
    lives
}

/// Checks that each of these runs of one job was told whole, and once.
pub(crate) fn assert_whole(messages: &[Message], runs: &[u64]) {
    let lives = lives(messages);
    for run in runs {
        assert_eq!(lives[run], LIFE, "run {run}");
    }
}
