//! `garrison events`: the real binary against a real NATS.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use garrison::site::wait;
use integration::stream::Filled;
use integration::{Said, World, ok, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A NATS with a stream, and the command line beside it.
struct Story {
    filled: Filled,
    runtime: tokio::runtime::Runtime,
}

impl Story {
    fn begin() -> Story {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let filled = runtime.block_on(Filled::start());
        Story { filled, runtime }
    }

    fn publish(&self, ids: &[&str]) {
        self.runtime.block_on(self.filled.publish(ids));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env("GARRISON_NATS", format!("nats://{}", self.filled.nats.address()));
        command.arg("events").args(arguments).stdin(Stdio::null());
        command
    }

    fn says(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// Starts a `tail`; gives it once its channel is there.
    fn tail(&self, arguments: &[&str], channels: usize) -> Tail {
        let all = [&["tail"], arguments].concat();
        let child = self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let tail = Tail(child.unwrap());
        self.until("the channel", |found| found.len() == channels);
        tail
    }

    fn channels(&self) -> Vec<Value> {
        let said = self.says(&["channels", "-o", "json"]);
        said.json().as_array().unwrap().clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) {
        let mut last = Vec::new();
        let waited = wait(what, || {
            last = self.channels();
            is_so(&last).then_some(())
        });
        waited.unwrap_or_else(|failure| panic!("{failure}: {last:#?}"));
    }

    fn path(&self, name: &str) -> String {
        self.filled.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The lines of a file, once there are this many.
    fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.path(name)).unwrap_or_default();
        let lines = wait("lines", || {
            let lines: Vec<String> = read().lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        });
        lines.unwrap_or_else(|failure| panic!("{failure}: {}", read()))
    }
}

/// A process that is ended when it is dropped.
struct Tail(Child);

impl Tail {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Ends it, and gives its exit status and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        let status = self.0.wait().unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn id(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_runs_events_are_followed_by_the_coordinators_configuration() {
    let pipeline =
        "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    run: 'true'\n";
    let mut world = World::start(&["fra"], pipeline);
    let mut nats = integration::nats::Nats::new(world.dir.path(), "");
    nats.start();
    let url = format!("nats://{}", nats.address());
    world.site.configure(&format!("\n[nats]\nurls = [{url:?}]\n"));
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    let config = world.dir.path().join("coordinator.toml");
    let config = config.to_str().unwrap();
    let there = || world.garrison(&["events", "channels", "--config", config]).code == 0;
    ok(wait("the stream", || there().then_some(())));
    let run = world.trigger();
    assert_eq!(world.finished(run)["status"], "succeeded");
    // It is over a moment before all of it is told.
    let told = || {
        (world.garrison(&["status", "-o", "json"]).json()["events"]["behind"] == 0).then_some(())
    };
    ok(wait("all to be told", told));
    let tail = |more: &[&str]| {
        let arguments = [&["events", "tail", "--config", config], more].concat();
        Tail(world.spawn(&arguments))
    };
    let mut own = tail(&["--topic", "run.finished", "--partition", "fra"]);
    let listed = || world.garrison(&["events", "channels", "--config", config]);
    ok(wait("the channel", || listed().out.contains("#ephemeral").then_some(())));
    let run = world.trigger();
    let mut line = String::new();
    BufReader::new(own.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["run"]),
        (&"garrison.run.finished.v1".into(), &run.into())
    );
    own.signal(Signal::SIGTERM);
    assert_eq!(own.0.wait().unwrap().code(), Some(0));
    assert_eq!(listed().out, "there are no channels\n");
    // What was before is read again.
    let replay = world
        .garrison(&["events", "replay", "--since", "1h", "--topic", "run.*", "--config", config]);
    let topics: Vec<String> = replay
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned()
        })
        .collect();
    let both = ["garrison.run.created.v1", "garrison.run.finished.v1"];
    assert_eq!(topics, [both, both].concat());
}

#[test]
fn a_printed_event_is_dealt_with_and_one_that_nobody_reads_is_not() {
    let story = Story::begin();
    let channel = ["--channel", "notify", "--topic", "job.finished", "--partition", "fra"];
    let mut tail = story.tail(&channel, 1);
    story.publish(&["1"]);
    let mut out = BufReader::new(tail.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(id(&line), "1");
    story.until("it is dealt with", |it| it[0]["in_flight"] == 0 && it[0]["pending"] == 0);
    drop(out);
    story.publish(&["2"]);
    let status = tail.0.wait().unwrap();
    assert!(!status.success());
    story.until("it waits again", |it| it[0]["in_flight"] == 1 || it[0]["pending"] == 1);
    let mut again = story.tail(&channel, 1);
    line.clear();
    BufReader::new(again.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(id(&line), "2");
}

#[test]
fn a_command_acknowledges_rejects_and_is_tried_again() {
    let story = Story::begin();
    let out = story.path("out");
    // The first fails once, the second for ever, the third succeeds.
    let script = format!(
        "read -r event; echo \"$GARRISON_EVENT_ID $GARRISON_EVENT_ATTEMPT $GARRISON_EVENT_SUBJECT $event\" >> {out}; \
         case $GARRISON_EVENT_ID$GARRISON_EVENT_ATTEMPT in flaky1) exit 1;; bad*) exit 65;; worse*) exit 3;; esac"
    );
    let channel = ["--channel", "notify", "--topic", "job.*", "--max-in-flight", "4"];
    let more = ["--max-attempts", "2", "--exec", &script];
    let mut tail = story.tail(&[&channel[..], &more].concat(), 1);
    story.publish(&["flaky", "bad", "worse", "good"]);
    let lines = story.lines("out", 6);
    let short: Vec<String> = lines
        .iter()
        .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    for expected in ["flaky 1", "flaky 2", "bad 1", "worse 1", "worse 2", "good 1"] {
        assert!(short.contains(&expected.to_owned()), "{expected} in {short:?}");
    }
    let good = lines.iter().find(|line| line.starts_with("good")).unwrap();
    assert!(
        good.ends_with(r#" garrison.fra.job.finished {"id":"good","specversion":"1.0"}"#),
        "{good}"
    );
    story.until("two dead letters", |it| it[0]["dead"] == 2 && it[0]["in_flight"] == 0);
    assert_eq!(story.lines("out", 6).len(), 6);
    let letters = story.says(&["dead", "--channel", "notify", "-o", "json"]).json();
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len(), 2, "{letters:#?}");
    for (id, reason) in
        [("bad", "attempt 1: exit status: 65: "), ("worse", "attempt 2: exit status: 3: ")]
    {
        let letter = letters.iter().find(|it| it["id"] == id).unwrap();
        assert!(letter["reason"].as_str().unwrap().starts_with(reason), "{letter:#}");
        assert_eq!(letter["subject"], "garrison.fra.job.finished", "{letter:#}");
        assert_eq!(letter["message"], json!({ "id": id, "specversion": "1.0" }), "{letter:#}");
    }
    let table = story.says(&["dead"]).out;
    assert!(table.starts_with("GIVEN UP ") && table.lines().count() == 3, "{table}");
    assert_eq!(story.says(&["dead", "--channel", "other"]).out, "there are no dead letters\n");
    let (status, said) = tail.end();
    assert_eq!(status, Some(0));
    assert!(
        said.contains("attempt 1: exit status: 65") && said.contains("attempt 2: exit status: 3"),
        "{said}"
    );
}

#[test]
fn a_dead_letter_says_that_it_has_no_payload() {
    let story = Story::begin();
    let script = "cat > /dev/null; exit 65";
    let _tail = story.tail(&["--channel", "notify", "--topic", "job.*", "--exec", script], 1);
    // As long as the server takes, which a letter's headers make longer.
    let long = json!({ "data": "x".repeat((1 << 20) - 250) });
    story.runtime.block_on(story.filled.publish_as("garrison.fra.job.finished", "1", &long));
    story.until("a dead letter", |it| it[0]["dead"] == 1 && it[0]["in_flight"] == 0);
    let letters = story.says(&["dead", "-o", "json"]).json();
    let bytes = letters[0]["left_out"].as_u64().unwrap();
    assert!(bytes > (1 << 20) - 250 && letters[0]["message"].is_null(), "{letters:#}");
    let table = story.says(&["dead"]).out;
    let words =
        format!("(its {bytes} bytes are too long for a dead letter: GARRISON has them as 1)");
    assert!(table.contains(&words), "{table}");
}

#[test]
fn a_killed_tail_leaves_its_event_to_the_next_and_a_living_one_keeps_it() {
    let story = Story::begin();
    let channel = [
        "--channel",
        "notify",
        "--topic",
        "job.finished",
        "--timeout",
        "2s",
        "--max-in-flight",
        "2",
    ];
    let (pid, out) = (story.path("pid"), story.path("out"));
    let script = format!(
        "if [ $GARRISON_EVENT_ID.$GARRISON_EVENT_ATTEMPT = 1.1 ]; then echo $$ >> {pid}; exec sleep 60; fi; \
         echo $GARRISON_EVENT_ID $GARRISON_EVENT_ATTEMPT >> {out}"
    );
    let arguments = [&channel[..], &["--exec", &script]].concat();
    let mut tail = story.tail(&arguments, 1);
    story.publish(&["1"]);
    let held: i32 = story.lines("pid", 1)[0].parse().unwrap();
    let other = story.tail(&arguments, 1);
    // Longer than its timeout: the command is still at it.
    let since = std::time::Instant::now();
    ok(wait("two timeouts", || (since.elapsed().as_secs() >= 4).then_some(())));
    story.publish(&["2"]);
    assert_eq!(story.lines("out", 1), ["2 1"]);
    tail.signal(Signal::SIGKILL);
    tail.0.wait().unwrap();
    assert_eq!(story.lines("out", 2)[1], "1 2");
    story.until("all is done", |it| it[0]["in_flight"] == 0 && it[0]["pending"] == 0);
    drop(other);
    kill(Pid::from_raw(held), Signal::SIGKILL).unwrap();
}

#[test]
fn a_channel_is_rebuilt_once_that_is_confirmed() {
    let story = Story::begin();
    story.publish(&["0"]);
    let out = story.path("out");
    let channel = ["--channel", "notify", "--topic", "job.finished"];
    let take = format!("echo $GARRISON_EVENT_ID >> {out}");
    let tail = story.tail(&[&channel[..], &["--exec", &take]].concat(), 1);
    story.publish(&["1", "2"]);
    assert_eq!(story.lines("out", 2), ["1", "2"]);
    let said = story.says(&["replay", "--since", "1h", "--channel", "notify"]);
    assert_eq!(said.code, 2);
    let words = "its members get 3 messages of garrison.*.job.finished again";
    assert!(said.err.contains(words) && said.err.contains("--confirm notify"), "{said:?}");
    let said =
        story.says(&["replay", "--since", "1h", "--channel", "notify", "--confirm", "notify"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "channel notify is made anew, with 3 messages\n")
    );
    assert_eq!(story.lines("out", 5)[2..], ["0", "1", "2"]);
    drop(tail);
    let said = story.says(&["replay", "--since", "1h", "--channel", "other", "--confirm", "other"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("no channel other"), "{said:?}");
    let said = story.says(&["replay", "--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(said.out.lines().map(id).collect::<Vec<_>>(), ["0", "1", "2"]);
    let said = story.says(&["replay", "--since", "1h", "--partition", "muc"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
}

#[test]
fn what_does_not_work_is_told_with_what_to_do() {
    let mut story = Story::begin();
    let tail = ["tail", "--channel", "notify", "--topic", "job.finished"];
    let _member = story.tail(&tail[1..], 1);
    let said = story.says(&[&tail[..], &["--max-in-flight", "10"]].concat());
    assert_eq!(said.code, 4);
    assert!(said.err.contains("its number in flight is 1, not 10; ask for what it is"), "{said:?}");
    let said = story.says(&["tail", "--stream", "ORDERS"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("there is no stream ORDERS"), "{said:?}");
    for (topic, words) in [("a..b", "is no pattern"), ("jobs.finished", "there is no topic")] {
        let said = story.says(&["tail", "--topic", topic]);
        assert_eq!(said.code, 2);
        assert!(said.err.contains(words), "{said:?}");
    }
    let said = story.says(&["tail", "--partition", "fra muc"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("is no subject"), "{said:?}");
    story.filled.nats.kill();
    let said = story.says(&["tail"]);
    assert_eq!(said.code, 5);
    assert!(said.err.contains("NATS cannot be reached"), "{said:?}");
    let nowhere =
        Command::new(program()).args(["events", "tail"]).env_remove("GARRISON_NATS").output();
    let said = Said::from(nowhere.unwrap());
    assert_eq!(said.code, 2);
    assert!(said.err.contains("give --nats URL or GARRISON_NATS"), "{said:?}");
    let said = story.says(&["tail", "--nats", "http://a"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("'http://a' is no address"), "{said:?}");
}
