//! Events in a real NATS: complete and in order, whatever is killed meanwhile, and nothing waits for
//! them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use async_nats::ConnectOptions;
use integration::nats::{Message, Nats};
use integration::{World, ok};

/// A job, and one that needs it.
const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    \
                        variables: { PASSWORD: hunter2 }\n    run: echo hello\n  two:\n    needs: [one]\n    \
                        process: {}\n    run: 'true'\n";

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

/// An NKey of a user of these tests, and its public half.
const SEED: &str = "SUACBMB3H4X6XOTG4TVGJ6VKZXU527MDK4ALOFGHNKP4FLD4WRVI3ZDGII";
const KEY: &str = "UBV26G3ZUBSZA2S2UL55SP5HJY3XKL2RK3A6NNO7DLBFKIJKRYNB4CKB";

fn short(partition: &str) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [{partition}]\njobs:\n  one:\n    process: {{}}\n    \
         run: 'true'\n"
    )
}

struct Story {
    world: World,
    nats: Nats,
    options: ConnectOptions,
}

impl Story {
    /// A site that publishes to a NATS which does not run yet.
    fn prepare(partitions: &[&str], pipeline: &str) -> Story {
        Story::with(partitions, pipeline, "", ConnectOptions::new())
    }

    fn with(partitions: &[&str], pipeline: &str, server: &str, options: ConnectOptions) -> Story {
        let world = World::start(partitions, pipeline);
        let nats = Nats::new(world.dir.path(), server);
        Story { world, nats, options }
    }

    /// The same, with both running.
    fn begin(partitions: &[&str], pipeline: &str) -> Story {
        let mut story = Story::prepare(partitions, pipeline);
        story.nats.start();
        story.configure("");
        story
    }

    /// Starts the coordinator anew, with `[nats]` and more keys of it.
    fn configure(&mut self, more: &str) {
        let scheme = if more.contains("ca_file") { "tls" } else { "nats" };
        let url = format!("{scheme}://{}", self.nats.address());
        self.world.site.configure(&format!("\n[nats]\nurls = [{url:?}]\n{more}\n"));
        self.restart();
    }

    fn restart(&mut self) {
        ok(self.world.site.kill_coordinator());
        ok(self.world.site.start_coordinator());
    }

    fn messages(&self) -> Vec<Message> {
        self.nats.messages(&self.options)
    }

    /// Waits until these runs have been told to their end; gives all messages, which never go back.
    fn told(&self, runs: &[u64]) -> Vec<Message> {
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
        let places: Vec<(u64, u64)> = found.iter().map(place).collect();
        assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
        found
    }

    /// Starts runs from several sides at once, and waits for their ends.
    fn runs(&self, count: u64) -> Vec<u64> {
        let runs: Vec<u64> = (0..count).map(|_| self.world.trigger()).collect();
        for run in &runs {
            assert_eq!(self.world.finished(*run)["status"], "succeeded");
        }
        runs
    }

    fn log(&self) -> String {
        fs::read_to_string(self.world.dir.path().join("coordinator.log")).unwrap()
    }
}

/// What is behind the partition.
fn topic(message: &Message) -> &str {
    message.subject.splitn(3, '.').nth(2).unwrap()
}

/// The place in the journal.
fn place(message: &Message) -> (u64, u64) {
    let mut parts = message.id.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Whether it is a step that an agent leaves out if the next one is there when it reports.
fn may_be_left_out(message: &Message) -> bool {
    ["attempt.accepted", "attempt.started"].contains(&topic(message))
}

/// What was told of each run of one job.
fn lives(messages: &[Message]) -> BTreeMap<u64, Vec<&str>> {
    let mut lives: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for message in messages.iter().filter(|it| !may_be_left_out(it)) {
        if let Some(run) = message.event["data"]["run"].as_u64() {
            lives.entry(run).or_default().push(topic(message));
        }
    }
    lives
}

fn assert_whole(messages: &[Message], runs: &[u64]) {
    let lives = lives(messages);
    for run in runs {
        assert_eq!(lives[run], LIFE, "run {run}");
    }
}

#[test]
fn a_runs_events_arrive_in_order_and_complete() {
    let story = Story::begin(&["fra"], PIPELINE);
    let run = story.runs(1)[0];
    let messages = story.told(&[run]);
    let of_run: Vec<String> = messages
        .iter()
        .filter(|it| it.event["data"]["run"] == run && !may_be_left_out(it))
        .map(|it| format!("{} {}", topic(it), it.event["subject"].as_str().unwrap()))
        .collect();
    let attempt = |job: u32| {
        ["assigned", "finished"].map(|state| format!("attempt.{state} attempt/{run}.{job}.1"))
    };
    let job = |state: &str, job: u32| format!("job.{state} job/{run}.{job}");
    let mut expected = vec![
        format!("run.created run/{run}"),
        job("waiting", 0),
        job("waiting", 1),
        job("queued", 0),
        job("started", 0),
    ];
    expected.extend(attempt(0));
    expected.extend([job("finished", 0), job("queued", 1), job("started", 1)]);
    expected.extend(attempt(1));
    expected.extend([job("finished", 1), format!("run.finished run/{run}")]);
    assert_eq!(of_run, expected);

    let connected = messages.iter().find(|it| topic(it) == "agent.connected").unwrap();
    assert_eq!(connected.event["data"]["agent"], "mgmt01");
    for message in &messages {
        let Message { subject, id, event } = message;
        assert!(subject.starts_with("garrison.fra."), "{subject}");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], id.as_str());
        assert_eq!(event["source"], "garrison://garrison");
        assert_eq!(event["type"], format!("garrison.{}.v1", topic(message)));
        let time: u64 = id.rsplit('.').next().unwrap().parse().unwrap();
        assert!(event["time"].as_str().unwrap().ends_with('Z') && time > 1 << 50, "{event:#}");
        let text = event.to_string();
        assert!(!text.contains("hunter2") && !text.contains("garrison_"), "{text}");
    }
    let finished = &messages.iter().rfind(|it| topic(it) == "run.finished").unwrap().event["data"];
    assert_eq!(finished["status"], "succeeded");
    assert_eq!(finished["partitions"], serde_json::json!(["fra"]));
    assert_eq!(finished["pipeline"], "deploy");
}

#[test]
fn what_is_in_several_partitions_has_a_subject_of_its_own() {
    let story = Story::begin(&["fra", "muc"], &short("fra, muc"));
    let run = story.runs(1)[0];
    let subjects: BTreeSet<String> = story
        .told(&[run])
        .into_iter()
        .filter(|it| ["job.finished", "run.finished"].contains(&topic(it)))
        .map(|it| it.subject)
        .collect();
    let expected =
        ["garrison._.run.finished", "garrison.fra.job.finished", "garrison.muc.job.finished"];
    assert_eq!(subjects, expected.map(str::to_owned).into());
}

#[test]
fn a_retry_tells_only_what_happens_anew() {
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    run: \
                    'true'\n  two:\n    needs: [one]\n    process: {}\n    run: 'false'\n";
    let story = Story::begin(&["fra"], pipeline);
    let run = story.world.trigger();
    assert_eq!(story.world.finished(run)["status"], "failed");
    let told = story.told(&[run]).len();
    assert_eq!(story.world.garrison(&["retry", &run.to_string()]).code, 0);
    let again = garrison::site::wait("the retry's events", || {
        let messages = story.messages().split_off(told);
        (messages.last().map(topic) == Some("run.finished")).then_some(messages)
    });
    let again = ok(again);
    let of = |it: &Message| format!("{} {}", topic(it), it.event["subject"].as_str().unwrap());
    let again: Vec<String> = again.iter().map(of).collect();
    assert_eq!(again[..2], [format!("run.retried run/{run}"), format!("job.waiting job/{run}.1")]);
    assert!(!again.iter().any(|it| it.ends_with(&format!("job/{run}.0"))), "{again:#?}");
}

#[test]
fn a_server_that_is_killed_again_and_again_gets_everything() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(story.world.trigger());
        runs.push(story.world.trigger());
        story.nats.kill();
        runs.extend(story.runs(2));
        story.nats.start();
        runs.push(story.world.trigger());
    }
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
    let log = story.log();
    assert!(!log.contains("NATS lost") && !log.contains("was emptied"), "{log}");
}

#[test]
fn a_coordinator_that_is_killed_again_and_again_tells_everything_once() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(story.world.trigger());
        runs.push(story.world.trigger());
        story.restart();
    }
    for run in &runs {
        story.world.finished(*run);
    }
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
    // As if the file had been lost, or its last writes.
    ok(story.world.site.kill_coordinator());
    fs::remove_file(story.world.site.data().join("events.cursor")).unwrap();
    ok(story.world.site.start_coordinator());
    runs.extend(story.runs(1));
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
}

#[test]
fn nothing_waits_for_a_server_that_is_not_there() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    // To know the address at which it will be.
    story.nats.start();
    story.nats.kill();
    story.configure("");
    let runs = story.runs(2);
    let log = story.log();
    assert_eq!(log.matches("NATS cannot be reached").count(), 1, "{log}");
    ok(story.world.site.stop_coordinator());
    ok(story.world.site.start_coordinator());
    story.nats.start();
    let messages = story.told(&runs);
    assert_whole(&messages, &runs);
}

#[test]
fn a_stream_that_was_emptied_is_filled_again() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let before = story.runs(2);
    story.told(&before);
    story.nats.kill();
    fs::remove_dir_all(story.nats.store()).unwrap();
    story.nats.start();
    let after = story.runs(1);
    let all = [before, after].concat();
    let messages = story.told(&all);
    assert_whole(&messages, &all);
    assert!(story.log().contains("the stream is another, or was emptied"), "{}", story.log());
}

#[test]
fn events_that_the_server_lost_are_published_again() {
    let mut story = Story::begin(&["fra"], &short("fra"));
    let kept = story.runs(1);
    let first = story.told(&kept);
    story.nats.kill();
    let (store, copy) = (story.nats.store(), story.world.dir.path().join("copy"));
    copy_all(&store, &copy);
    story.nats.start();
    let lost = story.runs(2);
    story.told(&lost);
    // The server wakes up with what its disk had before.
    story.nats.kill();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&copy, &store).unwrap();
    story.nats.start();
    assert_eq!(story.messages().len(), first.len());
    let after = story.runs(1);
    let all = [kept, lost, after].concat();
    let messages = story.told(&all);
    assert_whole(&messages, &all);
    let log = story.log();
    assert!(log.contains("NATS lost events that it had stored"), "{log}");
    assert!(!log.contains("was emptied"), "{log}");
}

#[test]
fn a_new_stream_gets_what_is_young_enough() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    let old = story.runs(1);
    story.nats.start();
    story.configure("retention = \"0s\"");
    let new = story.runs(1);
    let messages = story.told(&new);
    assert_whole(&messages, &new);
    assert!(!lives(&messages).contains_key(&old[0]));
}

#[test]
fn a_stream_that_does_not_fit_is_left_alone_and_told() {
    let mut story = Story::prepare(&["fra"], &short("fra"));
    story.nats.start();
    let address = story.nats.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(address).await.unwrap();
        let config = async_nats::jetstream::stream::Config {
            name: "GARRISON".to_owned(),
            subjects: vec!["other.>".to_owned()],
            ..Default::default()
        };
        async_nats::jetstream::new(client).create_stream(config).await.unwrap();
    });
    story.configure("");
    story.runs(1);
    let words = "it takes other.>, not garrison.>; change it with 'nats stream edit'";
    ok(garrison::site::wait("the words", || story.log().contains(words).then_some(())));
    assert!(story.messages().is_empty());
}

#[test]
fn each_login_gets_in_and_a_wrong_one_is_told_without_its_secret() {
    let user = "authorization: { users: [{ user: ada, password: hunter2, permissions: {
        publish: ['garrison.>', '$JS.API.STREAM.INFO.GARRISON', '$JS.API.STREAM.CREATE.GARRISON',
                  '$JS.API.STREAM.MSG.GET.GARRISON'],
        subscribe: '_INBOX.>' } }] }";
    let options = ConnectOptions::with_user_and_password("ada".to_owned(), "hunter2".to_owned());
    let mut story = Story::with(&["fra"], &short("fra"), user, options);
    let file = story.world.dir.path().join("nats-secret");
    let secret = |text: &str| {
        fs::write(&file, text).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    story.nats.start();
    secret("hunter3\n");
    story.configure(&format!("user = \"ada\"\npassword_file = {file:?}"));
    let run = story.runs(1);
    let words = "authorization violation";
    ok(garrison::site::wait("a refusal", || story.log().contains(words).then_some(())));
    assert!(!story.log().contains("hunter"), "{}", story.log());
    // The right one is read without a restart.
    secret("hunter2\n");
    assert_whole(&story.told(&run), &run);

    let token = "authorization: { token: opensesame }";
    let options = ConnectOptions::with_token("opensesame".to_owned());
    secret("opensesame");
    logs_in(token, options, &format!("token_file = {file:?}"));

    let options = ConnectOptions::with_nkey(SEED.to_owned());
    secret(SEED);
    let nkey = format!("authorization: {{ users: [{{ nkey: {KEY} }}] }}");
    logs_in(&nkey, options, &format!("nkey_file = {file:?}"));
}

#[test]
fn a_servers_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert"), made.cert.pem()).unwrap();
    fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let server = format!("tls: {{ cert_file: {:?}, key_file: {:?} }}", path("cert"), path("key"));
    let options = ConnectOptions::new().add_root_certificates(path("cert")).require_tls(true);
    logs_in(&server, options.clone(), &format!("ca_file = {:?}", path("cert")));

    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("other"), other.cert.pem()).unwrap();
    let mut story = Story::with(&["fra"], &short("fra"), &server, options);
    story.nats.start();
    story.configure(&format!("ca_file = {:?}", path("other")));
    story.runs(1);
    let refused = || story.log().contains("invalid peer certificate").then_some(());
    ok(garrison::site::wait("a refusal", refused));
    assert!(story.messages().is_empty());
}

/// Checks that a coordinator with these keys gets into a server with this configuration.
fn logs_in(server: &str, options: ConnectOptions, keys: &str) {
    let mut story = Story::with(&["fra"], &short("fra"), server, options);
    story.nats.start();
    story.configure(keys);
    let run = story.runs(1);
    assert_whole(&story.told(&run), &run);
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
