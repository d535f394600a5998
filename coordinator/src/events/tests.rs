use std::path::Path;
use std::sync::Arc;

use coordinator_core::actor::Actor;
use coordinator_core::agent::{Agent, Link, SessionId};
use coordinator_core::attempt::{self, Attempt};
use coordinator_core::change::Change;
use coordinator_core::job;
use coordinator_core::run::{self, Run};
use coordinator_core::token::{JoinToken, TokenHash};
use pipelines::outcome::Outcome;
use pipelines::plan;
use pipelines::recap::{Host, Recap};
use serde_json::Value;

use super::derive::Event;
use super::*;
use crate::store::journal::Follower;
use crate::store::{Options, Store, fixtures};

/// Commits each as a batch of its own, at times from 1 on, and gives the events of all.
pub(super) fn told(directory: &Path, batches: Vec<Vec<Change>>) -> Vec<Event> {
    let (mut store, _) = Store::open(directory, Options::default(), Wall(0)).unwrap();
    let mut now = store.last().0;
    let from = store.last().next();
    for changes in batches {
        now += 1;
        store.commit(Wall(now), &[], &changes).unwrap();
    }
    let mut deriver = Deriver::new(store.view(), "example");
    let mut follower = Follower::open(store.journal(), from).unwrap();
    follower.extend(store.last()).unwrap();
    follower.flat_map(|batch| deriver.events(&batch.unwrap()).unwrap()).collect()
}

fn subjects(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.subject.strip_prefix("garrison.").unwrap()).collect()
}

pub(super) fn json(event: &Event) -> Value {
    serde_json::from_slice(&event.payload).unwrap()
}

/// A run created at 1, its records at their end, and the records of its life before.
fn life() -> Vec<Change> {
    fixtures::whole_run(1, "fra", true)
}

#[test]
fn an_event_is_a_cloud_event_with_its_place_as_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let events = told(folder.path(), vec![life()]);
    let told = ["fra.run.created", "fra.job.started", "fra.attempt.started"];
    assert_eq!(subjects(&events), told);
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1.1.1", "1.2.1", "1.3.1"]);
    let id: Id = ids[1].parse().unwrap();
    assert_eq!((id.position, id.time), (events[1].position, Wall(1)));
    let expected = serde_json::json!({
        "specversion": "1.0",
        "id": "1.2.1",
        "source": "garrison://example",
        "type": "garrison.job.started.v1",
        "subject": "job/1.0",
        "time": "1970-01-01T00:00:00.000001Z",
        "datacontenttype": "application/json",
        "data": {
            "job": "1.0",
            "name": "deploy",
            "partition": "fra",
            "status": "active",
            "attempts": 1,
            "run": 1,
            "pipeline": "deploy",
            "repository": "metal",
            "reference": "refs/heads/main",
            "commit": "c0ffee",
        },
    });
    assert_eq!(json(&events[1]), expected);
}

#[test]
fn what_ends_is_told_with_how_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let reason = "ü".repeat(2000);
    let outcome = Outcome::Lost { reason, may_run: true };
    let [_, Change::Run(run), Change::Job(job), Change::Attempt(attempt)] =
        <[Change; 4]>::try_from(life()).unwrap()
    else {
        panic!("other records")
    };
    let by = Some(Actor::LocalAdmin);
    let ending = Run { cancelled_by: by.clone(), ..run };
    let cancelled = Attempt { cancelled_by: by, ..attempt };
    let state = attempt::State::Abandoned { at: Wall(3), outcome: outcome.clone() };
    let lost = Attempt { state, ..cancelled.clone() };
    let ended = job::Job { state: job::State::Finished { outcome }, ..job };
    let state = run::State::Finished { at: Wall(3), outcome: run::Outcome::Cancelled };
    let over = Run { state, ..ending.clone() };
    let batches = vec![
        life(),
        vec![Change::Run(ending), Change::Attempt(cancelled)],
        vec![Change::Attempt(lost), Change::Job(ended), Change::Run(over)],
    ];
    let events = &told(folder.path(), batches)[3..];
    let expected = [
        "fra.run.cancelling",
        "fra.attempt.cancelling",
        "fra.attempt.finished",
        "fra.job.finished",
        "fra.run.finished",
    ];
    assert_eq!(subjects(events), expected);
    let job = json(&events[3]);
    assert_eq!(job["data"]["status"], "lost");
    let detail = job["data"]["detail"].as_str().unwrap();
    assert!(detail.len() < 1010 && detail.starts_with("lost: ü") && detail.ends_with("ü…"));
    let run = json(&events[4]);
    assert_eq!(run["data"]["status"], "cancelled");
    assert_eq!(run["data"]["cancelled_by"], "local admin");
    assert_eq!(run["data"]["finished_us"], 3);
}

#[test]
fn waves_and_windows_are_told_by_their_jobs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [_, Change::Run(run), Change::Job(job), _] = <[Change; 4]>::try_from(life()).unwrap()
    else {
        panic!("other records")
    };
    let become_ = |step| Change::Run(Run { step: Some(step), ..run.clone() });
    let state = job::State::Finished { outcome: Outcome::Succeeded };
    let ended = Change::Job(job::Job { state, ..job });
    let batches = vec![
        life(),
        // A retry would tell nothing of what succeeded before.
        vec![become_(run::Step::Wave), ended],
        vec![become_(run::Step::Window)],
        vec![become_(run::Step::Begun)],
    ];
    let events = told(folder.path(), batches);
    assert_eq!(subjects(&events[3..]), ["fra.job.finished", "fra.run.started"]);
}

#[test]
fn of_a_recap_only_the_numbers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut changes = fixtures::whole_run(1, "fra", false);
    let host = |host: &str, changed| Host { host: host.to_owned(), changed, ..Host::default() };
    for change in &mut changes {
        if let Change::Attempt(Attempt {
            state: attempt::State::Finished { verdict, .. }, ..
        }) = change
        {
            let hosts = vec![host("leaf01", 2), host("leaf02", 0)];
            verdict.recap = Some(Box::new(Recap { hosts, ..Recap::default() }));
        }
    }
    let events = told(folder.path(), vec![changes]);
    let attempt = events.iter().map(json).find(|it| it["type"] == "garrison.attempt.finished.v1");
    let attempt = attempt.unwrap();
    let expected = serde_json::json!({ "check": false, "hosts": 2, "changed": 1, "unreachable": 0, "failed": 0 });
    assert_eq!(attempt["data"]["recap"], expected);
    assert!(!attempt.to_string().contains("leaf01"));
}

#[test]
fn a_deployment_is_told_behind_all_of_its_batch_at_a_place_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |outcome: Outcome| {
        let mut changes = fixtures::whole_run(1, "fra", false);
        for change in &mut changes {
            match change {
                Change::Plan(_, plan) => {
                    let place = plan::Environment { name: "site/prod".to_owned(), url: None };
                    Arc::make_mut(plan).jobs[0].environment = Some(place);
                }
                Change::Attempt(Attempt {
                    state: attempt::State::Finished { verdict, .. },
                    ..
                }) => verdict.outcome = outcome.clone(),
                _ => {}
            }
        }
        // What its end brings with it.
        changes.push(Change::Agent(fixtures::agent("fra", "mgmt01")));
        changes
    };
    let events = told(folder.path(), vec![whole(Outcome::Succeeded), whole(Outcome::TimedOut)]);
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids[2..5], ["1.3.1", "1.4.1", "1.5.1"]);
    assert_eq!(ids.last(), Some(&"2.5.2"));
    assert!(events.is_sorted_by(|one, next| one.position < next.position), "{ids:?}");
    assert_eq!(events[4].subject, "garrison.fra.environment.deployed");
    assert_eq!(json(&events[4])["subject"], "environment/fra/site/prod");
    let failed = events.last().unwrap();
    assert_eq!(failed.subject, "garrison.fra.environment.failed");
    assert_eq!(json(failed)["data"]["status"], "timed_out");
}

#[test]
fn a_run_that_does_not_compile_is_over_at_once_and_in_no_partition() {
    let folder = tempfile::tempdir().unwrap();
    let invalid = run::State::Invalid { diagnostics: "password: hunter2".to_owned() };
    let events = told(folder.path(), vec![vec![Change::Run(fixtures::run(1, "deploy", invalid))]]);
    assert_eq!(subjects(&events), ["_.run.finished"]);
    assert_eq!(json(&events[0])["data"]["status"], "invalid");
    // What a pipeline's author wrote is no part of it.
    assert!(!json(&events[0]).to_string().contains("hunter2"));
}

#[test]
fn agents_enrol_come_go_and_are_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let agent = fixtures::agent("fra", "mgmt01");
    let token = |used_by| {
        Change::JoinToken(JoinToken {
            hash: TokenHash("5ec2e7".to_owned()),
            agent: agent.key.clone(),
            created_by: Actor::LocalAdmin,
            expires: Wall(9),
            used_by,
        })
    };
    let up = Link::Up { session: SessionId(1), since: Wall(3) };
    let down = Link::Down { since: Wall(4) };
    let cordoned_by = Some(Actor::LocalAdmin);
    let batches = vec![
        vec![token(None)],
        vec![token(Some(agent.fingerprint.clone())), Change::Agent(agent.clone())],
        vec![Change::Agent(Agent { link: up, ..agent.clone() })],
        vec![Change::Agent(Agent { link: down, ..agent.clone() })],
        vec![Change::Agent(Agent { cordoned_by, ..agent.clone() })],
        vec![Change::Agent(agent.clone())],
        vec![Change::Agent(Agent { revoked: true, ..agent.clone() })],
    ];
    let events = told(folder.path(), batches);
    let told = ["enrolled", "connected", "disconnected", "cordoned", "uncordoned", "revoked"];
    assert_eq!(subjects(&events), told.map(|state| format!("fra.agent.{state}")));
    for event in &events {
        let text = json(event).to_string();
        assert!(!text.contains("5ec2e7") && !text.contains(&agent.fingerprint), "{text}");
    }
}

#[test]
fn a_run_that_waited_for_its_group_is_told_when_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let grouped = |state| {
        let run = fixtures::run(1, "deploy", state);
        Change::Run(Run { group: Some("site".parse().unwrap()), ..run })
    };
    let plan = || Change::Plan(pipelines::id::RunId(1), fixtures::plan(&["fra"], "true"));
    let waiting = || grouped(run::State::Waiting { place: 1 });
    let ended = run::State::Finished { at: Wall(3), outcome: run::Outcome::Failed };
    let events = told(
        folder.path(),
        vec![
            vec![waiting(), plan()],
            vec![grouped(run::State::Active)],
            vec![grouped(ended)],
            vec![waiting(), plan(), grouped(run::State::Active)],
        ],
    );
    let told = ["created", "started", "finished", "retried", "started"];
    assert_eq!(subjects(&events), told.map(|topic| format!("fra.run.{topic}")));
    assert_eq!(json(&events[0])["data"]["status"], "waiting");
    assert_eq!(json(&events[0])["data"]["group"], "site");
}

#[test]
fn a_gate_is_told_when_it_opens_with_each_approval_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let run = || Change::Run(fixtures::run(1, "deploy", run::State::Active));
    let plan = Change::Plan(pipelines::id::RunId(1), fixtures::gated());
    let open = |approvals| fixtures::open_gate(1, approvals);
    let by = Actor::LocalAdmin;
    let (at, reason) = (Wall(4), "not on a Friday".to_owned());
    let states = [
        job::State::Approved { at, approvals: Vec::new() },
        job::State::Acknowledged { at, by: by.clone() },
        job::State::Rejected { at, by, reason },
        job::State::Expired { at },
    ];
    let ended = states.map(|state| vec![Change::Job(job::Job { state, ..open(0) })]);
    let mut batches =
        vec![vec![plan, run()], vec![Change::Job(open(0))], vec![Change::Job(open(1))]];
    batches.extend(ended);
    let events = &told(folder.path(), batches)[1..];
    let told = ["opened", "approving", "finished", "finished", "finished", "finished"];
    assert_eq!(subjects(events), told.map(|topic| format!("fra.job.{topic}")));
    let data = |index: usize| json(&events[index])["data"].clone();
    assert_eq!(data(0)["detail"], "waits for 2 approvals by admins");
    assert_eq!(data(1)["status"], "open");
    assert_eq!(data(4)["detail"], "rejected by local admin: not on a Friday");
    assert_eq!([data(2), data(5)].map(|it| it["status"].clone()), ["approved", "expired"]);
    // What a pipeline's author wrote is no part of it.
    assert!(!events.iter().any(|event| json(event).to_string().contains("all of it")));
}

/// The form in which version 1 rests on disks; builds to come must read it.
#[test]
fn version_1_of_the_cursor_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"version":1,"seq":7,"index":3,"stream":{"created_ns":5,"sequence":9}}"#;
    std::fs::write(folder.path().join("events.cursor"), text).unwrap();
    let (_, place) = Cursor::open::<Place>(folder.path(), "events.cursor").unwrap();
    let stream = Mark { created_ns: 5, sequence: 9 };
    assert_eq!(place, Some(Place { told: Position { seq: Seq(7), index: 3 }, stream }));
}
