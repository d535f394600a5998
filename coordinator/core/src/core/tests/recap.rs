//! Stories about what Ansible says of its hosts.

use pipelines::outcome::Outcome;
use pipelines::plan::{Ansible, AnsibleInventory, Plan};
use pipelines::recap::{Host, Recap};

use super::world::{World, deploy};
use crate::attempt;

/// `prepare` runs Ansible; `deploy` needs it, and runs none.
fn with_ansible() -> Plan {
    let mut plan = deploy(&["fra"]);
    plan.jobs[0].ansible = Some(Ansible { inventory: true });
    let (hosts, known_hosts) = ("all:".to_owned(), "leaf01 key".to_owned());
    let partition = "fra".parse().unwrap();
    plan.inventories.push(AnsibleInventory { partition, hosts, known_hosts });
    plan
}

fn recap_of(world: &World, attempt: &str) -> Option<Recap> {
    match &world.store.attempts[&attempt.parse().unwrap()].state {
        attempt::State::Finished { verdict, .. } => verdict.recap.as_deref().cloned(),
        other => panic!("{attempt} is {other:?}"),
    }
}

#[test]
fn a_recap_is_remembered_bounded_and_only_of_a_job_that_is_asked_for_one() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", with_ansible());
    let host = |n| Host { host: format!("leaf\n{n}"), changed: 1, ..Host::default() };
    let told = Recap { hosts: (0..2000).map(host).collect(), ..Recap::default() };
    world.recap("fra/mgmt01", told.clone());
    let kept = recap_of(&world, "1.0.1").unwrap();
    assert_eq!((kept.hosts[7].host.as_str(), kept.totals().hosts), ("leaf 7", 2000));
    assert_eq!(kept.hosts.len(), 1000);
    world.recap("fra/mgmt01", told);
    assert_eq!(recap_of(&world, "1.1.1"), None);
}

#[test]
fn an_order_carries_the_inventory_of_a_job_that_is_given_one() {
    let mut world = World::new();
    world.join("fra/mgmt01", 1);
    world.trigger("delivery-1", with_ansible());
    world.work("fra/mgmt01", Outcome::Succeeded);
    let transcript = world.transcript();
    assert!(transcript.contains("order 1.0.1 (prepare) with all:\n"), "{transcript}");
    assert!(transcript.contains("order 1.1.1 (deploy)\n"), "{transcript}");
}
