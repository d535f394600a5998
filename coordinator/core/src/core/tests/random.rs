//! Random events against what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use pipelines::gate::{Asks, Triggerer};
use pipelines::id::RunId;
use pipelines::lock::Subject;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{self, Member, Mode, OnLost, Plan, Task, When};
use pipelines::schedule::{Missed, Schedule};
use proptest::prelude::*;

use super::schedules::schedule;
use super::world::{
    World, by_hand, called, deploy, each, gated, grouped, key, locked, paired, patient, person,
    rescue, waived, windowed,
};
use crate::actor::{Actor, Role};
use crate::audit::Audit;
use crate::event::Wall;
use crate::lock::{Holder, Lock, LockKey};
use crate::subscriber::Subscriber;
use crate::trigger::Cause;
use crate::{job, run};

const AGENTS: [&str; 3] = ["fra/mgmt01", "fra/mgmt02", "muc/mgmt01"];

#[derive(Debug, Clone)]
enum Act {
    Trigger(u8),
    Cancel(u64),
    Retry(u64),
    Connect(usize),
    Disconnect(usize),
    Deafen(usize),
    Reinstall(usize),
    Start(usize),
    End(usize, u8),
    Wait(u64),
    Find(u8),
    Subscribe(u8),
    Receive(u8),
    Night(u64),
    Cordon(usize, bool),
    DeclareLost(usize),
    Upgrade(usize),
    EndUpgrade(usize, bool),
    BreakLock(u64),
    Answer(usize, usize, u8),
    LetPass(u64),
    Override(usize, u64),
    Restart,
}

/// Who answers gates: two who may, one of whom pushes too, one for another partition, and one who may
/// do less.
fn people() -> [Actor; 4] {
    [
        person("anna", Role::Admin, &[]),
        person("mona", Role::Admin, &[]),
        person("cleo", Role::Admin, &["muc"]),
        person("dora", Role::Edit, &[]),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let agent = 0..AGENTS.len();
    prop_oneof![
        3 => any::<u8>().prop_map(Act::Trigger),
        1 => (1..6u64).prop_map(Act::Cancel),
        1 => (1..6u64).prop_map(Act::Retry),
        3 => agent.clone().prop_map(Act::Connect),
        2 => agent.clone().prop_map(Act::Disconnect),
        1 => agent.clone().prop_map(Act::Deafen),
        1 => agent.clone().prop_map(Act::Reinstall),
        8 => agent.clone().prop_map(Act::Start),
        8 => (agent.clone(), 0..6u8).prop_map(|(agent, how)| Act::End(agent, how)),
        2 => (1..200u64).prop_map(Act::Wait),
        1 => (0..4u8).prop_map(Act::Find),
        1 => (0..4u8).prop_map(Act::Subscribe),
        1 => (0..4u8).prop_map(Act::Receive),
        1 => (0..9u64).prop_map(Act::Night),
        1 => (agent.clone(), any::<bool>()).prop_map(|(agent, on)| Act::Cordon(agent, on)),
        1 => agent.clone().prop_map(Act::DeclareLost),
        1 => agent.clone().prop_map(Act::Upgrade),
        2 => (agent, any::<bool>()).prop_map(|(agent, ok)| Act::EndUpgrade(agent, ok)),
        1 => (1..6u64).prop_map(Act::BreakLock),
        9 => (0..4usize, any::<usize>(), 0..8u8).prop_map(|(who, gate, how)| Act::Answer(who, gate, how)),
        1 => (1..90u64).prop_map(Act::LetPass),
        1 => (0..4usize, 1..6u64).prop_map(|(who, run)| Act::Override(who, run)),
        1 => Just(Act::Restart),
    ]
}

fn perform(world: &mut World, act: &Act) {
    match *act {
        Act::Trigger(key) => {
            let partitions: &[&str] = if key % 2 == 0 { &["fra"] } else { &["fra", "muc"] };
            let plan = match key % 20 {
                0 => deploy(partitions),
                1 => patient(OnLost::Fail { after_s: 3600 }, 60),
                2 => patient(OnLost::Retry { after_s: 3600 }, 0),
                3 => grouped(Mode::Queue),
                4 => grouped(Mode::NewestOnly),
                // A group and a lock at once.
                5 => Plan { lock: Some("site".parse().unwrap()), ..grouped(Mode::CancelRunning) },
                6 => rescue(),
                // One of them never joins.
                7 => each(&["mgmt02", "mgmt01", "mgmt09"][..1 + usize::from(key % 3)]),
                8 => by_hand(),
                18 => waived(),
                // Also one that the pusher may approve himself, alone.
                9 => allowed_to_all(gated(partitions)),
                10 | 11 => gated(partitions),
                12 => called(),
                13 => paired(1, Some(1)),
                14 => paired(2, None),
                15 => windowed(paired(1, None)),
                16 => windowed(gated(partitions)),
                17 => windowed(deploy(partitions)),
                _ => locked(partitions),
            };
            let delivery = format!("delivery-{key}");
            if key % 5 == 4 {
                world.pull_request(&delivery, plan);
            } else {
                world.trigger(&delivery, plan);
            }
        }
        Act::Cancel(run) => world.cancel(run),
        Act::Retry(run) => {
            if world.store.runs.contains_key(&pipelines::id::RunId(run)) {
                world.retry(run);
            }
        }
        // Also beside a session that only the agent knows to be dead.
        Act::Connect(agent) => world.connect(AGENTS[agent]),
        Act::Disconnect(agent) => world.disconnect(AGENTS[agent]),
        Act::Deafen(agent) => world.drop_messages(AGENTS[agent]),
        Act::Reinstall(agent) => {
            if world.hosts[&key(AGENTS[agent])].session.is_none() {
                world.reinstall(AGENTS[agent]);
            }
        }
        Act::Start(agent) => world.start(AGENTS[agent]),
        Act::End(agent, how) => world.end(AGENTS[agent], ending(how)),
        Act::Wait(minutes) => world.wait(minutes),
        Act::Find(which) => world.finds("c0ffee", &schedules(which)),
        Act::Subscribe(which) => {
            let topics = chosen(["machine.*", "run.finished"], which);
            world.finds_subscribers("c0ffee", &topics);
            assert_eq!(world.wanted(), topics);
        }
        // Also one that has come before.
        Act::Receive(id) => world.receives(&id.to_string()),
        // Also nights that were before the last.
        Act::Night(day) => world.wall_clock(&format!("2026-11-2{day}T02:00:00Z")),
        Act::Cordon(agent, on) => world.cordon(AGENTS[agent], on),
        Act::DeclareLost(agent) => world.declare_lost(AGENTS[agent]),
        Act::Upgrade(agent) => world.upgrade(AGENTS[agent]),
        Act::EndUpgrade(agent, ok) => {
            world.end_upgrade(AGENTS[agent], (!ok).then_some("no room"));
        }
        Act::BreakLock(run) => {
            let name = if run % 2 == 0 { "site" } else { "group:leaf-pair" };
            world.break_lock("fra", name, Holder::Run(RunId(run)));
        }
        Act::Answer(who, gate, how) => answer(world, &people()[who], gate, how),
        Act::LetPass(minutes) => world.wall_goes_on(minutes),
        Act::Override(who, run) => world.override_window(&people()[who], run),
        Act::Restart => world.restart(),
    }
}

/// Somebody answers a gate that is open, or a job that is none.
fn answer(world: &mut World, by: &Actor, nth: usize, how: u8) {
    let all = || world.store.jobs.values();
    let is_open = |job: &&job::Job| matches!(job.state, job::State::Open { .. });
    let open: Vec<_> = all().filter(is_open).collect();
    let jobs = if open.is_empty() { all().collect() } else { open };
    if jobs.is_empty() {
        return;
    }
    let id = jobs[nth % jobs.len()].id;
    let spec = &world.store.plans[&id.run].jobs[id.index as usize];
    let is_by_hand = spec.name.as_str() == "console";
    let id = id.to_string();
    match (how, is_by_hand) {
        (0, _) => world.reject(by, &id),
        (1, true) | (2.., false) => world.approve(by, &id),
        (1, false) | (2.., true) => world.acknowledge(by, &id, "loaded on console fw01"),
    }
}

fn allowed_to_all(mut plan: Plan) -> Plan {
    for job in &mut plan.jobs {
        if let Task::Gate(gate) = &mut job.task {
            gate.asks = Asks::Approval { count: 1, triggerer: Triggerer::Allowed };
        }
    }
    plan
}

fn schedules(which: u8) -> Vec<Schedule> {
    let all = [("0 1 * * *", Missed::Once), ("*/30 2 * * *", Missed::Skip)];
    chosen(all, which).into_iter().map(|(cron, missed)| schedule(cron, missed)).collect()
}

/// Those whose bits are set.
fn chosen<T, const N: usize>(all: [T; N], which: u8) -> Vec<T> {
    let set = all.into_iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1);
    set.map(|(_, it)| it).collect()
}

fn ending(how: u8) -> Outcome {
    match how {
        0 => Outcome::Failed { exit: Exit::Code(1) },
        1 => Outcome::Lost { reason: "no status".into(), may_run: true },
        2 => Outcome::InfraError { reason: "no image".into() },
        _ => Outcome::Succeeded,
    }
}

/// Nothing is done of a run that is only planned, whatever is asked of it.
fn check_planned(world: &World) -> Result<(), TestCaseError> {
    for (id, run) in &world.store.runs {
        let cause = &world.store.triggers[&run.trigger].cause;
        let is_only_planned = matches!(cause, Cause::PullRequest { .. });
        prop_assert_eq!(is_only_planned, run.status() == "planned", "run {}", id);
        let mut jobs = world.store.jobs.values().filter(|it| it.id.run == *id);
        prop_assert!(jobs.all(|it| is_only_planned == (it.state == job::State::Planned)));
        let mut attempts = world.store.attempts.values().filter(|it| it.id.job.run == *id);
        prop_assert!(!is_only_planned || attempts.next().is_none(), "run {} is done", id);
    }
    Ok(())
}

/// Whoever works under a lock holds it, unless it was taken from him.
fn check_locks(world: &World) -> Result<(), TestCaseError> {
    let broken = world.store.audit.iter().any(|it| it.text.starts_with("broke"));
    for attempt in world.store.attempts.values().filter(|it| it.is_open() && !broken) {
        let plan = &world.store.plans[&attempt.id.job.run];
        let job = &plan.jobs[attempt.id.job.index as usize];
        let run = plan.lock.iter().map(|name| (name, Holder::Run(attempt.id.job.run)));
        let own = job.lock.iter().map(|name| (name, Holder::Job(attempt.id.job)));
        for (name, holder) in run.chain(own) {
            let name = Subject::Named(name.clone());
            let key = LockKey { partition: job.partition.clone(), name };
            let held = world.store.locks.get(&key).and_then(|lock| lock.holder);
            prop_assert_eq!(held, Some(holder), "{} works without {}", attempt.id, key);
        }
        if let Some(exclusive) = &job.exclusive {
            let (partition, name) = (job.partition.clone(), exclusive.subject());
            let lock = world.store.locks.get(&LockKey { partition, name });
            let held = lock.map(|lock| (lock.holder, lock.device.clone(), lock.failed));
            let own = (Some(Holder::Run(attempt.id.job.run)), Some(exclusive.device.clone()), None);
            prop_assert_eq!(held, Some(own), "{} works beside others", attempt.id);
        }
    }
    for lock in world.store.locks.values() {
        let Some(Holder::Run(run)) = lock.holder else { continue };
        let over = world.store.runs[&run].is_final();
        let is_kept = lock.in_doubt.is_some() || lock.failed.is_some();
        prop_assert!(!over || is_kept, "{} outlives {}", lock.key, run);
    }
    Ok(())
}

/// What works belongs to a wave before which all has ended.
fn check_rollouts(world: &World) -> Result<(), TestCaseError> {
    for attempt in world.store.attempts.values().filter(|it| it.is_open()) {
        let run = attempt.id.job.run;
        let plan = &world.store.plans[&run];
        for member in &plan.jobs[attempt.id.job.index as usize].rollouts {
            let units = &plan.rollouts[member.rollout as usize].units;
            let wave = |it: &Member| units[it.unit as usize].wave;
            for (index, job) in (0..).zip(&plan.jobs) {
                let of_rollout = job.rollouts.iter().filter(|it| it.rollout == member.rollout);
                let is_earlier = of_rollout.into_iter().any(|it| wave(it) < wave(member));
                let is_open = !world.store.jobs[&run.job(index)].state.is_final();
                prop_assert!(!(is_earlier && is_open), "{} is too early", attempt.id);
            }
        }
    }
    Ok(())
}

/// Of a group's runs one is under way while any is not over, and the others do nothing.
fn check_groups(world: &World) -> Result<(), TestCaseError> {
    let (mut started, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for (id, run) in &world.store.runs {
        let Some(plan) = world.store.plans.get(id) else { continue };
        let Some(concurrency) = &plan.concurrency else { continue };
        match run.state {
            run::State::Active => {
                let is_first = started.insert(concurrency.group.clone());
                prop_assert!(is_first, "run {} is under way beside another", id);
            }
            run::State::Waiting { .. } => {
                waiting.insert(concurrency.group.clone());
                let mut attempts = world.store.attempts.values().filter(|it| it.id.job.run == *id);
                prop_assert!(!attempts.any(|it| it.is_open()), "run {} works and waits", id);
                let mut jobs = world.store.jobs.values().filter(|it| it.id.run == *id);
                let waits = |job: &job::Job| job.state == job::State::Waiting;
                prop_assert!(jobs.all(|it| waits(it) || it.state.is_success()), "run {}", id);
                let held = |lock: &&Lock| match lock.holder {
                    Some(Holder::Run(run)) => run == *id,
                    Some(Holder::Job(job)) => job.run == *id,
                    None => false,
                };
                let locks = world.store.locks.values().filter(held);
                for lock in locks {
                    let is_kept = lock.in_doubt.is_some() || lock.failed.is_some();
                    prop_assert!(is_kept, "run {} waits with {}", id, lock.key);
                }
            }
            run::State::Finished { .. } | run::State::Invalid { .. } => {}
        }
    }
    prop_assert!(waiting.is_subset(&started), "a group waits for nobody");
    Ok(())
}

/// A gate has neither attempt nor place in a queue, and lets nothing through before enough different
/// people allowed it who may: by what they said, as it was written down.
fn check_gates(world: &World) -> Result<(), TestCaseError> {
    for job in world.store.jobs.values() {
        let (run, plan) = (&world.store.runs[&job.id.run], &world.store.plans[&job.id.run]);
        let spec = &plan.jobs[job.id.index as usize];
        let Task::Gate(gate) = &spec.task else { continue };
        prop_assert_eq!((job.attempts, job.tried), (0, 0), "gate {} was tried", job.id);
        prop_assert!(!matches!(job.state, job::State::Queued | job::State::Active));
        let started = |index: usize| {
            let id = job.id.run.job(index as u32);
            world.store.attempts.keys().any(|attempt| attempt.job == id)
        };
        let mut behind = plan.jobs.iter().enumerate();
        let is_behind =
            |it: &plan::Job| it.when == When::Success && it.needs.contains(&job.id.index);
        if !behind.any(|(index, it)| is_behind(it) && started(index)) {
            continue;
        }
        // Where nothing failed, or what failed is tried again, a gate that waives has let others through.
        if spec.when == When::Waive && !matches!(job.state, job::State::Approved { .. }) {
            continue;
        }
        // One that was let through is so for ever.
        let who: BTreeSet<String> = match &job.state {
            job::State::Approved { approvals, .. } => {
                approvals.iter().map(|it| it.by.to_string()).collect()
            }
            job::State::Acknowledged { by, .. } => [by.to_string()].into(),
            other => return Err(TestCaseError::fail(format!("{} is {other:?}", job.id))),
        };
        prop_assert!(who.len() >= gate.count() as usize, "{}: {:?}", job.id, who);
        for name in &who {
            let said = |it: &&Audit| {
                let (text, id) = (&it.text, format!("gate {} ", job.id));
                it.actor.to_string() == *name && text.contains(&id) && !text.starts_with("rejected")
            };
            let word = world.store.audit.iter().find(said);
            prop_assert!(word.is_some(), "{} allowed {}, which is not on record", name, job.id);
            let by = &word.unwrap().actor;
            prop_assert!(by.may(gate.role, &spec.partition), "{} has no right to {}", by, job.id);
            let refused = Asks::Approval { count: 2, triggerer: Triggerer::Refused };
            prop_assert!(gate.asks != refused || !by.is_same_person(&run.actor), "{}", job.id);
        }
    }
    Ok(())
}

/// What is done of a run with windows begins in them, and goes on after that.
fn check_windows(world: &World) -> Result<(), TestCaseError> {
    for (id, begun) in &world.store.begun {
        let (run, plan) = (&world.store.runs[id], &world.store.plans[id]);
        let mut known = BTreeSet::new();
        for (job, at) in begun {
            let spec = &plan.jobs[job.index as usize];
            let Some(window) = plan.window(&spec.partition) else { continue };
            let is_overridden = run.override_window.as_ref().is_some_and(|it| it.at <= *at);
            let place = (&spec.partition, spec.rollouts.first());
            let may_begin = window.is_open(at.0) || is_overridden || known.contains(&place);
            prop_assert!(may_begin, "{} began at {}", job, window.local(at.0));
            if !matches!(spec.task, Task::Gate(_)) {
                known.insert(place);
            }
        }
    }
    for run in world.store.runs.values().filter(|run| run.state == run::State::Active) {
        let mut jobs = world.store.jobs.values().filter(|it| it.id.run == run.id);
        if jobs.all(|it| it.state.is_final() || it.state == job::State::Waiting) {
            let next = world.core.next_opening(Wall(world.now));
            prop_assert!(next.is_some(), "run {} waits for nothing", run.id);
        }
    }
    Ok(())
}

/// Each time starts a schedule once, and what is on record as started is a trigger.
fn check_schedules(world: &World) -> Result<(), TestCaseError> {
    for scheduled in world.store.schedules.values() {
        if let Some(last) = scheduled.last {
            let trigger = world.store.triggers.get(&last.trigger);
            let key = trigger.map(|trigger| trigger.key.clone());
            prop_assert_eq!(key, Some(scheduled.key.trigger_key(last.due)));
        }
    }
    Ok(())
}

/// Whatever comes again acts once, and who wants events is as it is on record.
fn check_triggers(world: &World) -> Result<(), TestCaseError> {
    let mut keys = BTreeSet::new();
    for trigger in world.store.triggers.values() {
        prop_assert!(keys.insert(&trigger.key), "{} acts twice", trigger.key);
    }
    let wants = |it: &&Subscriber| !it.subscriptions.is_empty();
    let known: Vec<_> = world.core.state().subscribers.values().filter(wants).collect();
    let stored: Vec<_> = world.store.subscribers.values().filter(wants).collect();
    prop_assert_eq!(known, stored);
    Ok(())
}

fn check(world: &World) -> Result<(), TestCaseError> {
    let mut open = BTreeMap::new();
    let mut load = BTreeMap::new();
    for attempt in world.store.attempts.values().filter(|attempt| attempt.is_open()) {
        let job = &world.store.jobs[&attempt.id.job];
        prop_assert_eq!(&job.state, &job::State::Active, "{}", attempt.id);
        prop_assert_eq!(job.attempts, attempt.id.number, "an older attempt is open");
        prop_assert!(open.insert(attempt.id.job, attempt.id).is_none(), "two attempts of one job");
        let spec = &world.store.plans[&attempt.id.job.run].jobs[attempt.id.job.index as usize];
        prop_assert_eq!(&spec.partition, &attempt.agent.partition, "another partition's agent");
        let is_its_own = spec.agent.as_ref().is_none_or(|agent| *agent == attempt.agent.name);
        prop_assert!(is_its_own, "{} is with {}", attempt.id, attempt.agent);
        *load.entry(attempt.agent.clone()).or_insert(0u32) += 1;
    }
    for job in world.store.jobs.values() {
        prop_assert_eq!(job.state == job::State::Active, open.contains_key(&job.id), "{}", job.id);
        let plan = &world.store.plans[&job.id.run];
        let spec = &plan.jobs[job.id.index as usize];
        let state = |need: &u32| &world.store.jobs[&job.id.run.job(*need)].state;
        let is_idle = |need: &u32| {
            plan.jobs[*need as usize].when == When::Waive && *state(need) == job::State::Unneeded
        };
        let mut needs = spec.needs.iter().filter(|it| !is_idle(it)).map(state);
        if job.state == job::State::Active {
            let may_run = match spec.when {
                When::Success => needs.all(job::State::is_success),
                When::Failure | When::Waive => needs.clone().any(job::State::is_failure),
                When::Always => needs.all(job::State::is_final),
            };
            prop_assert!(may_run, "{} runs before what it needs", job.id);
            let first = spec.begun_by.map(|it| &world.store.jobs[&job.id.run.job(it)].state);
            let has_begun = first.is_none_or(|it| matches!(it, job::State::Finished { .. }));
            prop_assert!(has_begun, "{} runs in what did not begin", job.id);
        }
    }
    for run in world.store.runs.values() {
        let mut jobs = world.store.jobs.values().filter(|job| job.id.run == run.id);
        prop_assert_eq!(run.is_final(), jobs.all(|job| job.state.is_final()), "run {}", run.id);
    }
    for (agent, load) in load {
        prop_assert!(load <= 2, "{} has {} attempts", agent, load);
    }
    for host in world.hosts.values() {
        prop_assert!(host.starts.values().all(|starts| *starts == 1), "{:?}", host.starts);
    }
    check_locks(world)?;
    check_rollouts(world)?;
    check_planned(world)?;
    check_groups(world)?;
    check_triggers(world)?;
    check_schedules(world)?;
    check_gates(world)?;
    check_windows(world)?;
    prop_assert_eq!(world.core.state(), &world.remembered(), "state differs from its changes");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        for agent in AGENTS {
            world.join(agent, 2);
        }
        for act in &acts {
            perform(&mut world, act);
            check(&world)?;
        }
    }
}
