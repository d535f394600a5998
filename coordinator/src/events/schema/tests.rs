use std::collections::BTreeSet;
use std::sync::Arc;

use coordinator_core::actor::Actor;
use coordinator_core::agent::{About, Agent, Link, SessionId};
use coordinator_core::attempt::{self, Attempt};
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::job::{self, Approval};
use coordinator_core::lock::{Holder, Lock, LockKey};
use coordinator_core::run;
use coordinator_core::token::{JoinToken, TokenHash};
use coordinator_core::upgrade::{self, Upgrade};
use jsonschema::Validator;
use pipelines::id::RunId;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{self, Plan};
use pipelines::recap::{Host, Recap};

use super::*;
use crate::events::tests::{json, told};
use crate::store::fixtures;

/// What was promised when version 1 was published.
const PROMISED: &str = include_str!("../../../../docs/schemas/events-v1.json");

const RUN: RunId = RunId(1);

/// A plan whose job has all that events tell of jobs, and a gate.
fn rich() -> Arc<Plan> {
    let mut plan = Arc::unwrap_or_clone(fixtures::plan(&["fra"], "true"));
    let url = Some("https://fra.example.org".to_owned());
    plan.jobs[0] = plan::Job {
        call: vec!["base".parse().unwrap()],
        matrix: [("os".to_owned(), "4.3".to_owned())].into(),
        agent: Some("mgmt01".parse().unwrap()),
        device: Some("leaf01".parse().unwrap()),
        environment: Some(plan::Environment { name: "site/prod".to_owned(), url }),
        ..plan.jobs[0].clone()
    };
    plan.jobs.push(fixtures::gated().jobs[0].clone());
    Arc::new(plan)
}

fn outcomes() -> Vec<Outcome> {
    let reason = || "it broke".to_owned();
    vec![
        Outcome::Succeeded,
        Outcome::Failed { exit: Exit::Code(1) },
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::CancelUnconfirmed { reason: reason() },
        Outcome::Refused { rule: "process.allow".to_owned(), reason: reason() },
        Outcome::InfraError { reason: reason() },
        Outcome::Lost { reason: reason(), may_run: true },
    ]
}

fn runs() -> Vec<Vec<Change>> {
    let run = |state| fixtures::run(1, "deploy", state);
    let grouped =
        |state| Change::Run(run::Run { group: Some("site".parse().unwrap()), ..run(state) });
    let plan = || Change::Plan(RUN, rich());
    let ended = |outcome| run::State::Finished { at: Wall(9), outcome };
    let waiting = || run::State::Waiting { place: 1 };
    let cancelled_by = Some(Actor::LocalAdmin);
    let cancelling = run::Run { cancelled_by, ..run(run::State::Active) };
    let superseded =
        run::Run { superseded_by: Some(RunId(2)), ..run(ended(run::Outcome::Cancelled)) };
    let mut batches = vec![
        vec![grouped(waiting()), plan()],
        vec![grouped(run::State::Active)],
        vec![Change::Run(cancelling)],
        vec![Change::Run(superseded)],
        vec![Change::Run(run(run::State::Invalid { diagnostics: "no".to_owned() }))],
        vec![Change::Run(run(run::State::Active))],
    ];
    let others = [run::Outcome::Succeeded, run::Outcome::Planned, run::Outcome::Failed];
    batches.extend(others.map(|outcome| vec![Change::Run(run(ended(outcome)))]));
    batches
}

fn jobs() -> Vec<Vec<Change>> {
    let by = Actor::LocalAdmin;
    let approval = Approval { by: by.clone(), at: Wall(2), comment: Some("good".to_owned()) };
    let gate = [
        job::State::Open { since: Wall(1), approvals: Vec::new() },
        job::State::Open { since: Wall(1), approvals: vec![approval.clone()] },
        job::State::Approved { at: Wall(3), approvals: vec![approval.clone(), approval] },
        job::State::Acknowledged { at: Wall(3), by: by.clone() },
        job::State::Rejected { at: Wall(3), by: by.clone(), reason: "not on a Friday".to_owned() },
        job::State::Expired { at: Wall(3) },
    ];
    let other = [
        job::State::Waiting,
        job::State::Queued,
        job::State::Paused { delay_s: 3 },
        job::State::Active,
        job::State::Skipped { need: 1 },
        job::State::Unneeded,
        job::State::Stopped { rollout: 0 },
        job::State::Cancelled { by },
    ];
    let of = |index: u32, state| {
        vec![Change::Job(job::Job { id: RUN.job(index), state, ..fixtures::open_gate(1, 0) })]
    };
    let ended = outcomes().into_iter().map(|outcome| job::State::Finished { outcome });
    let gate = gate.into_iter().map(|state| of(1, state));
    gate.chain(other.into_iter().chain(ended).map(|state| of(0, state))).collect()
}

fn attempts() -> Vec<Vec<Change>> {
    let [.., Change::Attempt(attempt)] = &fixtures::whole_run(1, "fra", false)[..] else {
        panic!("other records")
    };
    let attempt::State::Finished { verdict, .. } = &attempt.state else { panic!("it ended") };
    let under_way = |state| Attempt { state, ..attempt.clone() };
    let running = under_way(attempt::State::Running { started_us: 2 });
    let cancelled = Attempt { cancelled_by: Some(Actor::LocalAdmin), ..running.clone() };
    let mut all = vec![
        under_way(attempt::State::Assigned),
        under_way(attempt::State::Accepted),
        running,
        cancelled,
    ];
    for outcome in outcomes() {
        let hosts = vec![Host { host: "leaf01".to_owned(), changed: 1, ..Host::default() }];
        let recap = Some(Box::new(Recap { hosts, ..Recap::default() }));
        let mut verdict = verdict.clone();
        (verdict.outcome, verdict.recap) = (outcome.clone(), recap);
        all.push(under_way(attempt::State::Finished { at: Wall(3), verdict }));
        all.push(under_way(attempt::State::Abandoned { at: Wall(3), outcome }));
    }
    all.into_iter().map(|attempt| vec![Change::Attempt(attempt)]).collect()
}

/// Each is a batch of its own, of which the first was committed at `from`.
fn agents(from: u64) -> Vec<Vec<Change>> {
    let agent = fixtures::agent("fra", "mgmt01");
    let about = About {
        instance: uuid::Uuid::nil(),
        version: "0.1.0".to_owned(),
        boot_id: "b".to_owned(),
        sent_us: 0,
        capacity: 4,
        labels: [].into(),
        upgrade: None,
    };
    let token = JoinToken {
        hash: TokenHash("5ec2e7".to_owned()),
        agent: agent.key.clone(),
        created_by: Actor::LocalAdmin,
        expires: Wall(9),
        used_by: Some(agent.fingerprint.clone()),
    };
    let upgraded = |state: upgrade::State, asked| Agent {
        upgrade: Some(Upgrade {
            number: 1,
            program: "ab".repeat(32),
            asked_by: Actor::LocalAdmin,
            asked: Wall(asked),
            state,
        }),
        ..agent.clone()
    };
    let up = Link::Up { session: SessionId(1), since: Wall(from + 1) };
    let down = Link::Down { since: Wall(from + 2) };
    let failed = upgrade::State::Failed { at: Wall(from + 5), reason: "no".to_owned() };
    let each = [
        Agent { link: up, about: Some(about), ..agent.clone() },
        Agent { link: down, ..agent.clone() },
        upgraded(upgrade::State::Asked, from + 3),
        upgraded(upgrade::State::Done { at: Wall(from + 4) }, 1),
        upgraded(failed, 1),
        Agent { cordoned_by: Some(Actor::LocalAdmin), ..agent.clone() },
        agent.clone(),
        Agent { revoked: true, ..agent.clone() },
    ];
    let enrolled = vec![Change::JoinToken(token), Change::Agent(agent)];
    let each = each.into_iter().map(|agent| vec![Change::Agent(agent)]);
    [enrolled].into_iter().chain(each).collect()
}

fn locks() -> Vec<Vec<Change>> {
    let job = RUN.job(0);
    let held = Lock {
        key: LockKey { partition: fixtures::partition("fra"), name: "group:pair".parse().unwrap() },
        holder: Some(Holder::Run(RUN)),
        device: Some("leaf01".parse().unwrap()),
        failed: Some(job),
        last: None,
        since: Wall(1),
        in_doubt: None,
    };
    let doubted =
        Lock { holder: Some(Holder::Job(job)), in_doubt: Some(job.attempt(1)), ..held.clone() };
    let freed = Lock { holder: None, last: held.holder, ..held.clone() };
    [held, doubted, freed].into_iter().map(|lock| vec![Change::Lock(lock)]).collect()
}

/// The same with no fields allowed but those that it knows.
fn closed(mut schema: Value) -> Value {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                if map.contains_key("properties") {
                    map.insert("additionalProperties".to_owned(), Value::Bool(false));
                }
                map.values_mut().for_each(close);
            }
            Value::Array(values) => values.iter_mut().for_each(close),
            _ => {}
        }
    }
    close(&mut schema);
    schema
}

fn check(schema: &Validator, event: &Value) {
    let errors: Vec<_> =
        schema.iter_errors(event).map(|it| format!("{}: {it}", it.instance_path)).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
}

#[test]
fn whatever_happens_is_told_as_the_schemas_say_and_they_say_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut batches = [runs(), jobs(), attempts(), locks()].concat();
    // Batches are committed at 1, 2, 3 and so on.
    batches.extend(agents(batches.len() as u64 + 1));
    let all = jsonschema::validator_for(&of_all()).unwrap();
    let (mut seen, mut words) = (BTreeSet::new(), BTreeSet::new());
    for event in told(folder.path(), batches) {
        let topic = event.subject.splitn(3, '.').nth(2).unwrap();
        let event = json(&event);
        check(&all, &event);
        check(&jsonschema::validator_for(&closed(of(topic).unwrap())).unwrap(), &event);
        let kind = topic.split('.').next().unwrap();
        let data = event["data"].as_object().unwrap();
        seen.extend(data.keys().map(|key| format!("{kind} {key}")));
        seen.insert(topic.to_owned());
        words
            .insert((kind.to_owned(), data.get("status").cloned().unwrap_or_default().to_string()));
    }
    let mut promised: BTreeSet<String> = topics().map(str::to_owned).collect();
    let mut states = BTreeSet::new();
    for kind in &KINDS {
        let data = (kind.data)();
        let keys = data["properties"].as_object().unwrap().keys();
        promised.extend(keys.map(|key| format!("{} {key}", kind.name)));
        let enumerated = data["properties"]["status"]["enum"].as_array().cloned();
        let enumerated = enumerated.unwrap_or_else(|| vec![Value::Null]);
        states.extend(enumerated.iter().map(|word| (kind.name.to_owned(), word.to_string())));
    }
    assert_eq!(seen, promised);
    assert_eq!(words, states);
}

#[test]
fn what_is_not_an_event_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = json(&told(folder.path(), vec![fixtures::whole_run(1, "fra", true)])[1]);
    let schemas = [of_all(), of("job.started").unwrap()];
    let schemas = schemas.map(|schema| jsonschema::validator_for(&schema).unwrap());
    let changes = [
        ("/specversion", json!("0.3")),
        ("/id", json!("7")),
        ("/source", json!("https://example.org")),
        ("/type", json!("garrison.job.started.v2")),
        ("/subject", json!("run/1")),
        ("/datacontenttype", json!("text/plain")),
        ("/data/status", json!("done")),
        ("/data/job", json!(1)),
        ("/data/run", json!("1")),
        ("/data", json!({})),
    ];
    for (place, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        for schema in &schemas {
            assert!(schema.is_valid(&good) && !schema.is_valid(&bad), "{bad:#}");
        }
    }
    // What comes later is no reason to refuse.
    let mut newer = good;
    newer["data"]["mood"] = json!("good");
    assert!(schemas.iter().all(|schema| schema.is_valid(&newer)));
}

/// A field, a topic, or words that explain may be added: then this is the new promise. Whatever else
/// changes is another version.
#[test]
fn version_1_is_as_it_was_promised() {
    let promised: Value = serde_json::from_str(PROMISED).unwrap();
    assert!(
        promised == of_all(),
        "what events are has changed: if all that was promised is still so, promise the rest with \
         'garrison events schema > docs/schemas/events-v1.json'; otherwise it needs a next VERSION"
    );
}

#[test]
fn the_handbooks_example_is_an_event_and_its_table_has_all_topics() {
    let handbook = include_str!("../../../../docs/events.md");
    let example = handbook.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let example = serde_json::from_str(example).unwrap();
    check(&jsonschema::validator_for(&of_all()).unwrap(), &example);
    for topic in topics() {
        assert!(handbook.contains(&format!("`{topic}`")), "{topic}");
    }
}
