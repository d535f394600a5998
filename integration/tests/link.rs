//! The link: certificates that expired while an agent was cut off, and peers that freeze.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use garrison::site::{OPEN_POLICY, wait};
use integration::processes::Frozen;
use integration::{World, clock, ok};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  hello:\n    process: {}\n    \
                        run: echo hello\n";

fn certificate(world: &World) -> String {
    let path = world.site.agent_dir("fra", "mgmt01").join("state/identity/agent.pem");
    fs::read_to_string(path).unwrap()
}

#[test]
fn an_agent_that_was_cut_off_until_its_certificate_expired_comes_back_by_itself() {
    let mut world = World::without_agents(&["fra"], PIPELINE);
    ok(world.site.stop_coordinator());
    // Certificates live 30 days: these two live 40 days ago.
    world.site.set_env("LD_PRELOAD", &clock::library());
    world.site.set_env("FAKETIME", "-40d");
    world.site.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    ok(world.site.start_coordinator());
    ok(world.site.add_agent("fra", "mgmt01", 1, OPEN_POLICY));
    ok(world.site.stop_agent("fra", "mgmt01"));
    ok(world.site.stop_coordinator());
    let old = certificate(&world);

    world.site.clear_env();
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt01"));
    assert_ne!(certificate(&world), old);
    assert_eq!(world.finished(world.trigger())["status"], "succeeded");
}

#[test]
fn an_agent_whose_clock_is_behind_says_so() {
    let mut world = World::without_agents(&["fra"], PIPELINE);
    ok(world.site.add_agent("fra", "mgmt01", 1, OPEN_POLICY));
    ok(world.site.stop_agent("fra", "mgmt01"));
    world.site.set_env("LD_PRELOAD", &clock::library());
    world.site.set_env("FAKETIME", "-400d");
    world.site.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    ok(world.site.launch_agent("fra", "mgmt01"));
    let log = world.site.dir().join("agent-fra-mgmt01.log");
    ok(wait("the agent to say so", || {
        fs::read_to_string(&log).unwrap().contains("set the clock").then_some(())
    }));
}

fn agent_status(world: &World) -> String {
    let agents: serde_json::Value = ok(ok(world.site.client()).get("/api/v1/agents"));
    agents[0]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_frozen_agent_is_noticed_by_the_keepalive_and_comes_back() {
    let world = World::start(&["fra"], PIPELINE);
    let frozen = Frozen::freeze(world.site.agent_pid("fra", "mgmt01").unwrap());
    ok(wait("the agent to be away", || (agent_status(&world) == "away").then_some(())));
    let run = world.trigger();
    drop(frozen);
    assert_eq!(world.finished(run)["status"], "succeeded");
}

#[test]
fn a_frozen_coordinator_is_noticed_by_the_keepalive_and_found_again() {
    let world = World::start(&["fra"], PIPELINE);
    let frozen = Frozen::freeze(world.site.coordinator_pid().unwrap());
    let log = world.site.dir().join("agent-fra-mgmt01.log");
    ok(wait("the agent to notice", || {
        fs::read_to_string(&log).unwrap().contains("no link").then_some(())
    }));
    drop(frozen);
    assert_eq!(world.finished(world.trigger())["status"], "succeeded");
}
