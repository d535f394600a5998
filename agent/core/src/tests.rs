//! Stories of the agent's core, and random events against invariants.

use std::collections::BTreeMap;

use pipelines::id::{AttemptId, RunId};
use pipelines::outcome::{LogEnd, Outcome, Progress, Verdict};
use proptest::prelude::*;

use super::{Core, Effect, Event, Found};

fn attempt(number: u32) -> AttemptId {
    RunId(1).job(0).attempt(number)
}

fn order(number: u32) -> Event {
    Event::OrderReceived { attempt: attempt(number), order: b"order".to_vec(), refusal: None }
}

fn verdict(outcome: Outcome) -> Verdict {
    Verdict {
        outcome,
        started_us: Some(1),
        finished_us: 2,
        log: LogEnd { length: 0, sha256: String::new() },
        artifacts: vec![],
        outputs: Default::default(),
        recap: None,
    }
}

fn linked() -> Core {
    let mut core = Core::default();
    core.handle(Event::LinkUp);
    core
}

#[test]
fn an_order_is_stored_before_it_starts_or_is_acknowledged() {
    let attempt = attempt(1);
    let mut core = linked();
    let store = Effect::Store { attempt, order: b"order".to_vec() };
    assert_eq!(core.handle(order(1)), [store]);
    assert!(core.held().is_empty());
    let launch = Effect::Launch { attempt };
    let report = Effect::Report { attempt, progress: Progress::Accepted };
    assert_eq!(core.handle(Event::OrderStored { attempt }), [launch, report]);
}

#[test]
fn an_order_that_comes_twice_is_answered_from_what_is_known() {
    let mut core = linked();
    core.handle(order(1));
    assert_eq!(core.handle(order(1)), []);
    core.handle(Event::OrderStored { attempt: attempt(1) });
    core.handle(Event::RunnerStarted { attempt: attempt(1), started_us: 7 });
    let progress = Progress::Running { started_us: 7 };
    assert_eq!(core.handle(order(1)), [Effect::Report { attempt: attempt(1), progress }]);
}

#[test]
fn an_order_that_cannot_be_stored_ends_at_once_and_may_come_again() {
    let attempt = attempt(1);
    let mut core = linked();
    core.handle(order(1));
    let verdict = verdict(Outcome::InfraError { reason: "no space is left".into() });
    let progress = Progress::Finished(Box::new(verdict.clone()));
    let effects = core.handle(Event::StoreFailed { attempt, verdict });
    assert_eq!(effects, [Effect::Report { attempt, progress }]);
    assert!(matches!(core.handle(order(1))[..], [Effect::Store { .. }]));
}

#[test]
fn an_order_that_comes_again_is_not_called_ended_before() {
    let attempt = attempt(1);
    let failed = || Event::StoreFailed {
        attempt,
        verdict: verdict(Outcome::InfraError { reason: "no space is left".into() }),
    };
    let mut core = linked();
    core.handle(order(1));
    core.handle(Event::LinkDown);
    core.handle(Event::LinkUp);
    assert_eq!(core.handle(failed()), []);

    core.handle(order(1));
    core.handle(Event::LinkDown);
    core.handle(Event::LinkUp);
    core.handle(order(1));
    assert!(matches!(core.handle(failed())[..], [Effect::Report { .. }]));
}

#[test]
fn what_the_policy_forbids_ends_without_a_runner() {
    let attempt = attempt(1);
    let mut core = linked();
    let outcome = Outcome::Refused { rule: "process.allow".into(), reason: "is off".into() };
    let refusal = Some(outcome.clone());
    core.handle(Event::OrderReceived { attempt, order: vec![], refusal });
    let effects = core.handle(Event::OrderStored { attempt });
    assert!(effects.contains(&Effect::Conclude { attempt, outcome }));
    assert!(!effects.contains(&Effect::Launch { attempt }));
}

#[test]
fn a_cancel_before_the_start_ends_it_without_a_runner() {
    let attempt = attempt(1);
    let mut core = linked();
    core.handle(order(1));
    assert_eq!(core.handle(Event::CancelReceived { attempt }), []);
    let effects = core.handle(Event::OrderStored { attempt });
    assert!(effects.contains(&Effect::Conclude { attempt, outcome: Outcome::Cancelled }));
}

#[test]
fn a_verdict_reached_without_a_link_stands_in_the_next_hello() {
    let attempt = attempt(1);
    let mut core = linked();
    core.handle(order(1));
    core.handle(Event::OrderStored { attempt });
    core.handle(Event::LinkDown);
    assert_eq!(core.handle(Event::RunnerStarted { attempt, started_us: 7 }), []);
    let verdict = verdict(Outcome::Succeeded);
    assert_eq!(core.handle(Event::Concluded { attempt, verdict: verdict.clone() }), []);
    assert_eq!(core.held(), [(attempt, Progress::Finished(Box::new(verdict)))]);
}

#[test]
fn a_directory_goes_only_when_verdict_and_log_are_acknowledged() {
    let attempt = attempt(1);
    let found = Found::Finished(Box::new(verdict(Outcome::Succeeded)));
    let verdict = Event::VerdictAcknowledged { attempt };
    let log = Event::LogAcknowledged { attempt };
    for [first, second] in [[verdict.clone(), log.clone()], [log, verdict]] {
        let (mut core, _) = Core::load([(attempt, found.clone())]);
        assert_eq!(core.handle(first), []);
        assert_eq!(core.handle(second), [Effect::Remove { attempt }]);
    }
}

#[test]
fn after_a_restart_only_what_never_started_is_launched() {
    let found = [
        (attempt(1), Found::Accepted),
        (attempt(2), Found::Alive { started_us: Some(3) }),
        (attempt(3), Found::Finished(Box::new(verdict(Outcome::Succeeded)))),
    ];
    let (core, effects) = Core::load(found);
    assert_eq!(effects, [Effect::Launch { attempt: attempt(1) }]);
    assert_eq!(core.held().len(), 3);
}

#[test]
fn what_the_coordinator_forgot_is_ended_and_then_removed() {
    let attempt = attempt(1);
    let (mut core, _) = Core::load([(attempt, Found::Alive { started_us: Some(1) })]);
    core.handle(Event::LinkUp);
    assert_eq!(core.handle(Event::ForgetReceived { attempt }), [Effect::Cancel { attempt }]);
    let verdict = verdict(Outcome::Cancelled);
    assert_eq!(core.handle(Event::Concluded { attempt, verdict }), [Effect::Remove { attempt }]);
}

fn event() -> impl Strategy<Value = Event> {
    let id = (1..4u32).prop_map(attempt);
    prop_oneof![
        Just(Event::LinkUp),
        Just(Event::LinkDown),
        (1..4u32).prop_map(order),
        id.clone().prop_map(|attempt| Event::OrderStored { attempt }),
        id.clone().prop_map(|attempt| Event::CancelReceived { attempt }),
        id.clone().prop_map(|attempt| Event::VerdictAcknowledged { attempt }),
        id.clone().prop_map(|attempt| Event::LogAcknowledged { attempt }),
        id.clone().prop_map(|attempt| Event::RunnerStarted { attempt, started_us: 1 }),
        id.prop_map(|attempt| Event::Concluded { attempt, verdict: verdict(Outcome::Succeeded) }),
    ]
}

proptest! {
    #[test]
    fn nothing_starts_twice_or_before_it_is_stored(
        events in prop::collection::vec(event(), 0..80)
    ) {
        let mut core = Core::default();
        let mut launched = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for event in events {
            if let Event::OrderStored { attempt } = &event {
                stored.insert(*attempt, true);
            }
            let linked = event == Event::LinkUp || (core.linked && event != Event::LinkDown);
            for effect in core.handle(event) {
                match effect {
                    Effect::Launch { attempt } => {
                        prop_assert!(stored.contains_key(&attempt));
                        prop_assert!(launched.insert(attempt, ()).is_none(), "{attempt} twice");
                    }
                    Effect::Remove { attempt } => {
                        // A new directory under the same number would be a new life.
                        launched.remove(&attempt);
                        stored.remove(&attempt);
                    }
                    Effect::Report { .. } => prop_assert!(linked),
                    Effect::Store { .. } | Effect::Conclude { .. } | Effect::Cancel { .. } => {}
                }
            }
        }
    }
}
