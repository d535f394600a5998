//! Stories about secrets.

use insta::assert_snapshot;
use pipelines::name::PartitionName;

use super::world::World;
use crate::actor::{Actor, Grant, Role, Scope as Partitions};
use crate::event::Ask;
use crate::secret::{Scope, Sealed, SecretKey};

fn key(scope: Scope) -> SecretKey {
    SecretKey { name: "TOKEN".parse().unwrap(), scope }
}

fn partition(name: &str) -> PartitionName {
    name.parse().unwrap()
}

fn set(scope: Scope, version: u64) -> Ask {
    let sealed = Sealed { key: "k".into(), nonce: "n".into(), bytes: format!("v{version}") };
    Ask::SetSecret { key: key(scope), version, sealed }
}

#[test]
fn a_secrets_version_rises_also_over_its_deletion_and_a_restart() {
    let mut world = World::new();
    let admin = Actor::LocalAdmin;
    for ask in [
        Ask::DeleteSecret { key: key(Scope::Everywhere) },
        set(Scope::Everywhere, 2),
        set(Scope::Everywhere, 1),
        set(Scope::Everywhere, 1),
        set(Scope::Everywhere, 2),
        set(Scope::Partition { partition: partition("fra") }, 1),
        Ask::DeleteSecret { key: key(Scope::Everywhere) },
        Ask::DeleteSecret { key: key(Scope::Everywhere) },
    ] {
        world.ask(admin.clone(), ask);
    }
    world.restart();
    world.ask(admin.clone(), set(Scope::Everywhere, 1));
    world.ask(admin, set(Scope::Everywhere, 4));
    assert_snapshot!(world.transcript());
}

#[test]
fn secrets_are_managed_by_administrators_of_their_scope() {
    let mut world = World::new();
    let (fra, device) = (partition("fra"), "leaf01".parse().unwrap());
    let token = |name: &str, role, partitions| Actor::Token {
        name: name.parse().unwrap(),
        grant: Grant { role, partitions },
    };
    let scopes = [
        Scope::Everywhere,
        Scope::Repository { repository: "infra".parse().unwrap() },
        Scope::Partition { partition: fra.clone() },
        Scope::Device { partition: fra.clone(), device },
        Scope::Partition { partition: partition("muc") },
    ];
    for (name, role, partitions, may) in [
        ("editor", Role::Edit, Partitions::All, [false; 5]),
        ("all", Role::Admin, Partitions::All, [true; 5]),
        ("fra", Role::Admin, Partitions::Only([fra].into()), [false, false, true, true, false]),
    ] {
        let actor = token(name, role, partitions);
        assert_eq!(scopes.clone().map(|scope| scope.is_managed_by(&actor)), may, "{name}");
        scopes.iter().for_each(|scope| world.ask(actor.clone(), set(scope.clone(), 1)));
        scopes.iter().for_each(|scope| {
            world.ask(actor.clone(), Ask::DeleteSecret { key: key(scope.clone()) });
        });
    }
    assert_snapshot!(world.transcript());
}
