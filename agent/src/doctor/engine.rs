//! The Docker engine, and what the policy lets jobs ask of it.

use super::{Finding, bytes, free};
use crate::executor::docker::{self, Address};
use crate::policy::Policy;

/// Images and containers need some room.
const ROOM: u64 = 2 << 30;

/// Less is none.
const LEAST_ROOM: u64 = 128 << 20;

pub(super) async fn examine(policy: &Policy) -> Vec<Finding> {
    const CHECK: &str = "docker";
    if !policy.allows_containers() {
        return vec![Finding::ok(CHECK, "not needed: container.allow of the policy is false")];
    }
    let about = match docker::about(&Address::from_env()).await {
        Ok(about) => about,
        Err(error) => {
            let advice = "jobs in containers cannot run; sites without them set container.allow = false \
                          in the policy";
            return vec![Finding::fail(CHECK, error.to_string(), advice)];
        }
    };
    let docker::About { version, driver, root, networks } = about;
    let mut found = vec![Finding::ok(CHECK, format!("version {version}, storage driver {driver}"))];
    found.push(match free(&root) {
        Ok(count) => room(&format!("{} are free for {}", bytes(count), root.display()), count),
        Err(error) => {
            let words = format!("{}: {error}", root.display());
            Finding::warn("images", words, "run the doctor as a user who may look there")
        }
    });
    let has = |name: &str| networks.iter().any(|it| it == name);
    let host = policy.allows_host_network();
    let allowed = if host { "allowed" } else { "not allowed" };
    found.push(match (has("bridge"), has("host")) {
        (_, false) if host => {
            let advice = "let Docker make its networks, or set container.host_network = false";
            Finding::fail("networks", "the policy allows the host's network, which Docker lacks", advice)
        }
        (false, _) => {
            let words = format!("Docker has no network `bridge`; the host's is {allowed}");
            let advice = "remove `bridge: none` from Docker's configuration, or write `network: host` \
                          or `none` in jobs";
            Finding::warn("networks", words, advice)
        }
        (true, _) => Finding::ok("networks", format!("bridge; the host's is {allowed} by the policy")),
    });
    found
}

fn room(found: &str, free: u64) -> Finding {
    let advice = "make room: `docker image prune` removes images that nothing uses";
    match free {
        ..LEAST_ROOM => Finding::fail("images", found, advice),
        LEAST_ROOM..ROOM => Finding::warn("images", found, advice),
        ROOM.. => Finding::ok("images", found),
    }
}
