//! Logs arrive whole, whatever happened to their files on either side, and however late.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use garrison::site::wait;
use integration::{World, channel, ok};
use proto::log::{self, Frame, Stream};
use proto::v1::agent_message::Kind as Up;
use proto::v1::coordinator_message::Kind as Down;
use proto::v1::link_client::LinkClient;
use proto::v1::{AgentMessage, AttemptState, Hello, LogEnd, LogMessage, attempt_state, log_ack};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_stream::wrappers::ReceiverStream;

/// Prints 20,000 lines, and waits in the middle for a file in its working directory.
const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  long:\n    process: {}\n    \
                        run: |\n      i=0\n      while [ $i -lt 20000 ]; do echo \"line $i\"; \
                        i=$((i+1)); if [ $i -eq 10000 ]; then until test -e go; do sleep 0.01; \
                        done; fi; done\n";

struct Story {
    world: World,
    run: u64,
}

impl Story {
    /// The job waits in the middle, and the coordinator has all that it has printed.
    fn begin() -> Story {
        let story = {
            let world = World::start(&["fra"], PIPELINE);
            let run = world.trigger();
            Story { world, run }
        };
        ok(wait("half of the log", || {
            let log = story.world.garrison(&["logs", "1.0.1"]).out;
            log.ends_with("\nline 9999\n").then_some(())
        }));
        story
    }

    fn attempt(&self) -> PathBuf {
        self.world.site.agent_dir("fra", "mgmt01").join("state/attempts/1.0.1")
    }

    fn coordinators_log(&self) -> PathBuf {
        self.world.site.data().join("logs/1/0.1.log")
    }

    /// The whole log, once it is there.
    fn log(&self) -> (Value, String) {
        let complete = |detail: &Value| detail["jobs"][0]["attempts"][0]["log_complete"] == true;
        self.world.finished(self.run);
        let detail = self.world.run_when(self.run, "have its log", complete);
        let log = self.world.garrison(&["logs", "1.0.1"]).out;
        assert_eq!(log.len() as u64, detail["jobs"][0]["attempts"][0]["log_length"]);
        (detail, log)
    }
}

/// The coordinator comes back with its copy of the log damaged, and gets what it lacks again.
fn the_coordinators_log_is_healed(damage: impl FnOnce(&Path)) {
    let mut story = Story::begin();
    ok(story.world.site.kill_coordinator());
    damage(&story.coordinators_log());
    ok(story.world.site.start_coordinator());
    fs::write(story.attempt().join("work/go"), "").unwrap();
    let (detail, log) = story.log();
    assert_eq!(detail["status"], "succeeded");
    let lines: String = (0..20000).map(|n| format!("line {n}\n")).collect();
    let printed = &log[log.find("\nline 0\n").unwrap() + 1..];
    assert_eq!(Sha256::digest(printed), Sha256::digest(lines));
}

fn open(path: &Path) -> (File, u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    (file, length)
}

#[test]
fn a_coordinator_whose_log_lost_its_tail_is_sent_it_again() {
    the_coordinators_log_is_healed(|log| {
        let (file, length) = open(log);
        file.set_len(length / 2).unwrap();
    });
}

#[test]
fn a_coordinator_whose_log_was_never_synced_is_sent_all_of_it() {
    the_coordinators_log_is_healed(|log| {
        let (file, length) = open(log);
        // What a file system may leave of a file whose pages were lost.
        file.write_all_at(&vec![0; length as usize], 0).unwrap();
    });
}

#[test]
fn a_coordinator_whose_log_differs_drops_it_and_is_sent_all_of_it() {
    the_coordinators_log_is_healed(|log| {
        let bytes = fs::read(log).unwrap();
        let (mut frame, rest) = log::split(&bytes).unwrap();
        frame.data = vec![b'?'; frame.data.len()].into();
        let mut other = Vec::new();
        log::append(&mut other, &frame);
        other.extend_from_slice(rest);
        fs::write(log, other).unwrap();
    });
}

/// Agent and runner die, the spool is damaged; what is sound of it is what arrives.
fn a_damaged_spool_arrives_as_far_as_it_is_sound(damage: impl FnOnce(&File, u64)) {
    let mut story = Story::begin();
    ok(story.world.site.kill_agent("fra", "mgmt01"));
    integration::kill_runner(&story.attempt());
    let (file, length) = open(&story.attempt().join("log"));
    damage(&file, length);
    ok(story.world.site.start_agent("fra", "mgmt01"));
    let (detail, log) = story.log();
    assert_eq!(detail["jobs"][0]["status"], "lost", "{detail:#}");
    let (printed, words) = log.split_at(log.find("runner died").unwrap());
    assert!(words.ends_with("; what it wrote last may be missing here\n"), "{words}");
    let lines: String = (0..10000).map(|n| format!("line {n}\n")).collect();
    let printed = &printed[printed.find("\nline 0\n").unwrap() + 1..];
    assert!(lines.starts_with(printed) && printed.len() < lines.len());
}

#[test]
fn a_torn_spool_arrives_up_to_where_it_is_torn() {
    a_damaged_spool_arrives_as_far_as_it_is_sound(|file, length| file.set_len(length - 5).unwrap());
}

#[test]
fn a_corrupted_spool_arrives_up_to_where_it_is_corrupted() {
    a_damaged_spool_arrives_as_far_as_it_is_sound(|file, length| {
        file.write_all_at(&[0; 64], length / 2).unwrap();
    });
}

/// An agent by hand, of one instance: says hello, and hears and says what it is told to.
async fn session(
    world: &World,
    instance: u8,
) -> (tonic::Streaming<proto::v1::CoordinatorMessage>, tokio::sync::mpsc::Sender<AgentMessage>) {
    ok(wait("the agent to be away", || {
        let agents = world.garrison(&["agents", "list", "-o", "json"]).json();
        (agents[0]["status"] == "away").then_some(())
    }));
    let hello = Hello {
        protocol: 1,
        instance: format!("00000000-0000-0000-0000-00000000000{instance}"),
        capacity: 1,
        ..Hello::default()
    };
    let mut client = LinkClient::new(channel(world, Some(("fra", "mgmt01"))).await);
    let (sender, messages) = tokio::sync::mpsc::channel(4);
    sender.send(AgentMessage { kind: Some(Up::Hello(hello)) }).await.unwrap();
    let mut down = client.control(ReceiverStream::new(messages)).await.unwrap().into_inner();
    let welcome = down.message().await.unwrap().unwrap().kind;
    assert!(matches!(welcome, Some(Down::Welcome(_))), "{welcome:?}");
    (down, sender)
}

fn state(attempt: &str, state: attempt_state::State) -> AgentMessage {
    let state = AttemptState { attempt: attempt.to_owned(), state: Some(state) };
    AgentMessage { kind: Some(Up::State(state)) }
}

const TEXT: &str = "it came late\n";

fn sha256() -> String {
    Sha256::digest(TEXT).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn send_log(world: &World, attempt: &str) {
    let mut frames = Vec::new();
    let data = TEXT.as_bytes().into();
    log::append(
        &mut frames,
        &Frame { stream: Stream::Gap.into(), data, dropped: 7, ..Frame::default() },
    );
    let message = || LogMessage { attempt: attempt.to_owned(), ..LogMessage::default() };
    let end = LogEnd { length: TEXT.len() as u64, sha256: sha256() };
    let messages = [
        message(),
        LogMessage { frames: frames.into(), ..message() },
        LogMessage { offset: TEXT.len() as u64, end: Some(end), ..message() },
    ];
    let mut client = LinkClient::new(channel(world, Some(("fra", "mgmt01"))).await);
    let acks = client.logs(tokio_stream::iter(messages)).await.unwrap();
    let mut acks = acks.into_inner();
    while acks.message().await.unwrap().unwrap().kind != Some(log_ack::Kind::Complete(true)) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_taken_long_after_its_attempt_was_closed() {
    coordinator::tls::install_provider();
    let mut world = World::start(&["fra"], PIPELINE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    // Of the first attempt the verdict arrives, of the second nothing more.
    let first = world.trigger();
    let (mut down, up) = session(&world, 1).await;
    let order = down.message().await.unwrap().unwrap().kind;
    assert!(matches!(order, Some(Down::Order(_))), "{order:?}");
    let verdict = serde_json::json!({
        "outcome": { "kind": "succeeded" }, "started_us": 1, "finished_us": 2,
        "log": { "length": TEXT.len(), "sha256": sha256() },
    });
    let finished = attempt_state::State::Finished(verdict.to_string().into_bytes().into());
    up.send(state("1.0.1", finished)).await.unwrap();
    assert_eq!(world.finished(first)["status"], "succeeded");
    let second = world.trigger();
    while !matches!(down.message().await.unwrap().unwrap().kind, Some(Down::Order(_))) {}
    let accepted = attempt_state::State::Accepted(proto::v1::Accepted {});
    up.send(state("2.0.1", accepted)).await.unwrap();
    world
        .run_when(second, "be accepted", |it| it["jobs"][0]["attempts"][0]["status"] == "accepted");
    drop((down, up));
    let reinstalled = session(&world, 2).await;
    assert_eq!(world.finished(second)["jobs"][0]["status"], "lost");
    drop(reinstalled);

    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    for (run, attempt) in [(first, "1.0.1"), (second, "2.0.1")] {
        send_log(&world, attempt).await;
        world.run_when(run, "have its log", |it| {
            it["jobs"][0]["attempts"][0]["log_complete"] == true
        });
        assert_eq!(world.garrison(&["logs", attempt]).out, TEXT);
        // What was dropped is shown with its size.
        let frame = world.garrison(&["logs", attempt, "-o", "json"]).json();
        assert_eq!((&frame["stream"], &frame["dropped"]), (&"gap".into(), &7.into()));
    }
}
