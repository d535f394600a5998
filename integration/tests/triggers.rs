//! Events that start pipelines, by a real NATS: each acts once, whoever dies meanwhile, and what is too
//! old or does not fit is a dead letter.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "triggers/bmc.rs"]
mod bmc;
#[path = "triggers/queue.rs"]
mod queue;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration::{World, ok};
use queue::{Queue, event, now};
use serde_json::{Value, json};

/// Wants commands of its partitions, and says in its log what it was started with.
const POWER: &str = r#"
on:
  event:
    - topic: machine
      when: event.data.type == "command"
      inputs: { machine: "{{ event.data.machine }}", times: "{{ event.data.times | default(1) }}" }
      max_age: 5m
inputs:
  machine: { type: text, required: true }
  times: { type: int, default: 1 }
partitions: [fra, muc]
jobs:
  power: { process: {}, run: 'echo "$INPUT_MACHINE $INPUT_TIMES"' }
"#;

const METAL: &str = "[[nats.triggers]]\nstream = 'METAL'\nsubject = '{partition}-machine'\ntopic = \
                     'machine'\n";

fn command(machine: &str) -> Value {
    json!({ "type": "command", "machine": machine })
}

/// The inputs `machine` of all runs.
fn machines(queue: &Queue) -> Vec<String> {
    let runs = queue.runs();
    let log = |run: &Value| queue.world.log(run["id"].as_u64().unwrap(), 0);
    // Above it stands the line that was run.
    let said = |run: &Value| log(run).lines().last().unwrap_or_default().to_owned();
    let mut machines: Vec<_> = runs.iter().map(said).collect();
    machines.sort();
    machines
}

#[test]
fn an_event_starts_the_pipeline_that_wants_it_in_its_partition_and_once() {
    let queue = Queue::start(&["fra", "muc"], POWER, METAL);
    let listed = queue.world.garrison(&["subscriptions", "list"]).out;
    assert!(listed.contains("machine") && listed.contains("deploy"), "{listed}");
    // The same event under two names of NATS, plain JSON, and what nobody wants.
    let sent = event("1", "machine", now(), command("m1"));
    queue.publish("fra-machine", "a", &sent);
    queue.publish("fra-machine", "b", &sent);
    queue.publish("muc-machine", "c", &command("$(id); '\"`"));
    queue.publish("muc-machine", "d", &json!({ "type": "update", "machine": "m3" }));
    queue.publish("other-machine", "e", &command("m4"));
    queue.dealt_with(5);

    let runs = queue.started(2);
    let by: Vec<_> = runs.iter().map(|run| run["actor"].clone()).collect();
    assert!(by.iter().any(|by| by == "event machine 1 of metal-api"), "{runs:#?}");
    assert!(by.iter().any(|by| by == "event machine c of METAL"), "{runs:#?}");
    let finished: Vec<_> =
        runs.iter().map(|run| queue.world.finished(run["id"].as_u64().unwrap())).collect();
    let partitions = finished.iter().map(|run| {
        let jobs = run["jobs"].as_array().unwrap();
        assert_eq!(jobs.len(), 1);
        jobs[0]["partition"].as_str().unwrap().to_owned()
    });
    assert_eq!(partitions.collect::<BTreeSet<_>>(), ["fra", "muc"].map(str::to_owned).into());
    assert_eq!(machines(&queue), ["$(id); '\"` 1", "m1 1"]);
    assert!(queue.letters().is_empty());
}

#[test]
fn what_does_not_fit_or_is_too_old_is_a_dead_letter_and_written_down() {
    let queue = Queue::start(&["fra", "muc"], POWER, METAL);
    let hour = 3_600_000_000;
    queue.publish_bytes("fra-machine", "a", b"on");
    queue.publish("fra-machine", "b", &json!({ "type": "command" }));
    let wrong = json!({ "type": "command", "machine": "m1", "times": "often" });
    queue.publish("fra-machine", "c", &wrong);
    queue.publish("fra-machine", "d", &event("d", "machine", now() - hour, command("m1")));
    queue.publish("fra-machine", "e", &event("e", "machine", now() + hour, command("m1")));
    queue.publish("fra-machine", "f", &command(&"x".repeat(70_000)));
    queue.publish("fra-machine", "g", &command("m1"));
    queue.dealt_with(7);

    let letters = queue.letters();
    let why = [
        "it is no JSON",
        "the input `machine`: `event.data.machine` is not there",
        "the input `times` cannot be `often`: it is no whole number",
        "s old, and 300 s is `max_age`",
        "its time is in the future",
        "bytes; at most 65536 are read",
    ];
    assert_eq!(letters.len(), why.len(), "{letters:#?}");
    let audit = queue.world.garrison(&["audit", "-o", "json"]).out;
    for (letter, why) in letters.iter().zip(why) {
        assert!(letter.reason.contains(why), "{why}: {letter:?}");
        assert_eq!(letter.subject, "garrison-dead.garrison.fra-machine");
        assert!(audit.contains(why), "{why}: {audit}");
    }
    queue.started(1);
    let metrics = queue.world.metrics();
    for (outcome, count) in [("done", 1), ("refused", 6)] {
        let sample = format!(
            "garrison_events_received_total{{outcome=\"{outcome}\",stream=\"METAL\"}} {count}\n"
        );
        assert!(metrics.contains(&sample), "{metrics}");
    }
}

#[test]
fn an_id_that_is_none_stops_nobody() {
    let queue = Queue::start(&["fra"], &POWER.replace("[fra, muc]", "[fra]"), METAL);
    let no_machine = json!({ "type": "command" });
    let ids = ["a\nb", "a\r\nNats-Rollup: all", "\0", "", &"x".repeat(300)];
    for id in ids {
        queue.publish_unnamed("fra-machine", &event(id, "machine", now(), no_machine.clone()));
    }
    queue.publish("fra-machine", "good", &command("m1"));
    queue.dealt_with(ids.len() as u64 + 1);
    assert_eq!(queue.letters().len(), ids.len());
    queue.started(1);
}

#[test]
fn what_has_the_same_id_of_another_source_has_a_dead_letter_of_its_own() {
    let queue = Queue::start(&["fra"], &POWER.replace("[fra, muc]", "[fra]"), METAL);
    let mut refused = event("1", "machine", now(), json!({ "type": "command" }));
    queue.publish_unnamed("fra-machine", &refused);
    refused["source"] = json!("another-api");
    queue.publish_unnamed("fra-machine", &refused);
    queue.dealt_with(2);
    assert_eq!(queue.letters().len(), 2);
}

#[test]
fn each_message_acts_once_whatever_is_killed() {
    let mut queue = Queue::start(&["fra", "muc"], POWER, METAL);
    let send = |queue: &Queue, numbers: std::ops::Range<usize>| {
        for number in numbers {
            queue.publish("fra-machine", &number.to_string(), &command(&format!("m{number:02}")));
        }
    };
    send(&queue, 0..10);
    queue.runs_are(3);
    ok(queue.world.site.kill_coordinator());
    send(&queue, 10..20);
    ok(queue.world.site.start_coordinator());
    queue.runs_are(12);
    queue.nats.kill();
    queue.nats.start();
    send(&queue, 20..30);
    queue.runs_are(22);
    ok(queue.world.site.kill_coordinator());
    ok(queue.world.site.start_coordinator());
    queue.dealt_with(30);

    for run in queue.started(30) {
        queue.world.finished(run["id"].as_u64().unwrap());
    }
    let all: Vec<_> = (0..30).map(|number| format!("m{number:02} 1")).collect();
    assert_eq!(machines(&queue), all);
    assert!(queue.letters().is_empty());
}

#[test]
fn a_stream_that_was_wiped_is_read_anew_and_nothing_of_it_acts_twice() {
    let mut queue = Queue::start(&["fra", "muc"], POWER, METAL);
    queue.publish("fra-machine", "1", &command("m1"));
    queue.dealt_with(1);
    queue.wipe();
    queue.publish("fra-machine", "1", &command("m1"));
    queue.publish("fra-machine", "2", &command("m2"));
    queue.dealt_with(2);
    for run in queue.started(2) {
        queue.world.finished(run["id"].as_u64().unwrap());
    }
    assert_eq!(machines(&queue), ["m1 1", "m2 1"]);
}

#[test]
fn the_coordinator_needs_no_more_rights_than_the_handbook_says() {
    let server = "authorization: { users: [{ user: boss, password: hunter2 },
        { user: ada, password: hunter3, permissions: { subscribe: '_INBOX.>', publish: [
            'garrison.>', '$JS.API.STREAM.INFO.GARRISON', '$JS.API.STREAM.CREATE.GARRISON',
            '$JS.API.STREAM.MSG.GET.GARRISON', '$JS.API.STREAM.INFO.METAL',
            '$JS.API.CONSUMER.*.METAL.>', '$JS.API.CONSUMER.MSG.NEXT.METAL.garrison',
            '$JS.ACK.METAL.garrison.>', 'garrison-dead.>', '$JS.API.STREAM.INFO.GARRISON_DEAD',
            '$JS.API.STREAM.CREATE.GARRISON_DEAD'] } }] }
        no_auth_user: boss";
    let world = World::start(&["fra", "muc"], POWER);
    let password = world.dir.path().join("nats-password");
    fs::write(&password, "hunter3").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let login = format!("user = \"ada\"\npassword_file = {password:?}\n{METAL}");
    let queue = Queue::of(world, server, &login);
    queue.publish("fra-machine", "1", &command("m1"));
    queue.publish_bytes("fra-machine", "2", b"on");
    queue.dealt_with(2);
    queue.started(1);
    assert_eq!(queue.letters().len(), 1);
}

#[test]
fn what_has_acted_is_not_refused_later() {
    let queue = Queue::start(&["fra", "muc"], POWER, METAL);
    queue.publish("fra-machine", "a", &event("1", "machine", now(), command("m1")));
    queue.dealt_with(1);
    // The same comes again when it is too old.
    let hour = 3_600_000_000;
    queue.publish("fra-machine", "b", &event("1", "machine", now() - hour, command("m1")));
    queue.dealt_with(2);
    queue.started(1);
    assert!(queue.letters().is_empty());
}

#[test]
fn what_waits_for_a_coordinator_that_knows_no_repository_yet_acts() {
    let mut queue = Queue::start(&["fra", "muc"], POWER, METAL);
    ok(queue.world.site.kill_coordinator());
    fs::remove_dir_all(queue.world.site.data()).unwrap();
    queue.publish("fra-machine", "1", &command("m1"));
    ok(queue.world.site.start_coordinator());
    queue.dealt_with(1);
    queue.started(1);
}

#[test]
fn a_circle_by_way_of_a_lock_ends() {
    let again = "on:\n  manual: {}\n  event:\n    - topic: lock.freed\npartitions: [fra]\n\
                 lock: site\njobs:\n  one: { process: {}, run: date }\n";
    let own = "[[nats.triggers]]\nstream = 'GARRISON'\nsubject = 'garrison.{partition}.{topic}'\n";
    let queue = Queue::start(&["fra"], again, own);
    queue.world.trigger();
    queue.wait("the end of the circle", || {
        queue.world.garrison(&["audit"]).out.contains("do they go in a circle").then_some(())
    });
    queue.started(6);
}

#[test]
fn a_run_that_ends_starts_the_next_and_a_circle_ends() {
    let again = "on:\n  manual: {}\n  event:\n    - topic: run.finished\n      \
                 when: event.data.pipeline == \"deploy\" && event.data.status == \"succeeded\"\n\
                 partitions: [fra]\njobs:\n  one: { process: {}, run: date }\n";
    let own = "[[nats.triggers]]\nstream = 'GARRISON'\nsubject = 'garrison.{partition}.{topic}'\n";
    let queue = Queue::start(&["fra"], again, own);
    queue.world.trigger();
    let audit = || {
        let audit = queue.world.garrison(&["audit"]).out;
        audit.contains("do they go in a circle").then_some(audit)
    };
    let audit = garrison::site::wait("the end of the circle", audit)
        .unwrap_or_else(|failure| panic!("{failure}\n{}", queue.world.logs()));
    assert!(audit.contains("5 pipelines have been started by events"), "{audit}");
    // The first, and five by events.
    queue.started(6);
    assert_eq!(queue.letters().len(), 1);
}
