//! Random events against what must always hold.

use std::collections::BTreeMap;

use pipelines::outcome::{Exit, Outcome};
use proptest::prelude::*;

use super::world::{World, deploy, key};
use crate::job;

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
    End(usize, bool),
    Restart,
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
        8 => (agent, any::<bool>()).prop_map(|(agent, good)| Act::End(agent, good)),
        1 => Just(Act::Restart),
    ]
}

fn perform(world: &mut World, act: &Act) {
    match *act {
        Act::Trigger(key) => {
            let partitions: &[&str] = if key % 2 == 0 { &["fra"] } else { &["fra", "muc"] };
            world.trigger(&format!("delivery-{key}"), deploy(partitions));
        }
        Act::Cancel(run) => world.cancel(run),
        Act::Retry(run) => {
            if world.store.runs.contains_key(&pipelines::id::RunId(run)) {
                world.retry(run);
            }
        }
        Act::Connect(agent) => {
            if world.hosts[&key(AGENTS[agent])].session.is_none() {
                world.connect(AGENTS[agent]);
            }
        }
        Act::Disconnect(agent) => world.disconnect(AGENTS[agent]),
        Act::Deafen(agent) => world.drop_messages(AGENTS[agent]),
        Act::Reinstall(agent) => {
            if world.hosts[&key(AGENTS[agent])].session.is_none() {
                world.reinstall(AGENTS[agent]);
            }
        }
        Act::Start(agent) => world.start(AGENTS[agent]),
        Act::End(agent, true) => world.end(AGENTS[agent], Outcome::Succeeded),
        Act::End(agent, false) => {
            world.end(AGENTS[agent], Outcome::Failed { exit: Exit::Code(1) });
        }
        Act::Restart => world.restart(),
    }
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
        *load.entry(attempt.agent.clone()).or_insert(0u32) += 1;
    }
    for job in world.store.jobs.values() {
        prop_assert_eq!(job.state == job::State::Active, open.contains_key(&job.id), "{}", job.id);
        let plan = &world.store.plans[&job.id.run];
        if job.attempts > 0 {
            for need in &plan.jobs[job.id.index as usize].needs {
                let need = &world.store.jobs[&job.id.run.job(*need)];
                prop_assert!(need.state.is_success(), "{} ran before {}", job.id, need.id);
            }
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
