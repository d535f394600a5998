//! Stories about pipelines that events start.

use insta::assert_snapshot;
use pipelines::event::Subscription;
use pipelines::input::Inputs;
use pipelines::schedule::{Found, Missed};

use super::schedules::schedule;
use super::world::World;
use crate::actor::Actor;
use crate::event::{Ask, Event};
use crate::trigger::Cause;

const FILE: &str = ".garrison/power.yaml";

pub(super) fn subscription(topic: &str) -> Subscription {
    Subscription {
        topic: topic.into(),
        partitions: Vec::new(),
        when: None,
        inputs: Inputs::new(),
        max_age_s: 600,
    }
}

fn event(id: &str) -> Actor {
    Actor::Event { topic: "machine.event".into(), id: id.into(), source: "metal-api".into() }
}

impl World {
    /// The head of the repository has a pipeline that wants these topics.
    pub(super) fn finds_subscribers(&mut self, commit: &str, topics: &[&str]) {
        self.line(&format!("events of {topics:?} are wanted at {commit}"));
        let found = Found {
            file: FILE.into(),
            pipeline: "power".parse().unwrap(),
            partitions: vec!["fra".parse().unwrap()],
            schedules: vec![schedule("30 2 * * *", Missed::Once)],
            subscriptions: topics.iter().map(|topic| subscription(topic)).collect(),
        };
        self.happens(&Event::SchedulesFound {
            repository: "infra".parse().unwrap(),
            reference: "refs/heads/main".into(),
            commit: commit.into(),
            pipelines: vec![found],
        });
    }

    pub(super) fn wanted(&self) -> Vec<&str> {
        let subscriptions = self.core.state().subscribers.values().flat_map(|it| &it.subscriptions);
        subscriptions.map(|it| it.topic.as_str()).collect()
    }

    pub(super) fn receives(&mut self, id: &str) {
        self.line(&format!("event {id}"));
        let cause = Cause::Event {
            file: FILE.into(),
            subscription: subscription("machine.*"),
            inputs: Inputs::from([("machine".into(), "m1".into())]),
            partition: Some("fra".parse().unwrap()),
            commit: "c0ffee".into(),
            depth: 1,
        };
        let (repository, reference) = ("infra".parse().unwrap(), "refs/heads/main".into());
        let key = format!("event {id} infra {FILE}");
        self.ask(event(id), Ask::Trigger { key, repository, reference, cause });
    }
}

#[test]
fn who_wants_events_is_known_after_a_restart_until_its_pipeline_says_otherwise() {
    let mut world = World::new();
    world.finds_subscribers("c0ffee", &["machine.*", "run.finished"]);
    world.restart();
    assert_eq!(world.wanted(), ["machine.*", "run.finished"]);
    // The same again changes nothing.
    world.finds_subscribers("c0ffee", &["machine.*", "run.finished"]);
    world.finds_subscribers("facade", &["machine.*"]);
    assert_eq!(world.wanted(), ["machine.*"]);
    world.finds_subscribers("decade", &[]);
    assert!(world.wanted().is_empty());
    world.restart();
    assert!(world.wanted().is_empty());
    assert_snapshot!(world.transcript());
}

#[test]
fn an_event_that_comes_again_starts_nothing_again() {
    let mut world = World::new();
    world.receives("1");
    world.restart();
    world.receives("1");
    world.receives("2");
    assert_eq!(world.store.triggers.len(), 2);
    assert_snapshot!(world.transcript());
}

#[test]
fn an_event_that_is_refused_is_written_down() {
    let mut world = World::new();
    world.ask(event("1"), Ask::RefuseEvent { reason: "it is 11 minutes old".into() });
    let words: Vec<_> = world.store.audit.iter().map(|it| (&it.actor, it.text.as_str())).collect();
    assert_eq!(words, [(&event("1"), "started nothing: it is 11 minutes old")]);
    assert!(world.store.triggers.is_empty());
}
