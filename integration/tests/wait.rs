//! What jobs wait for, from trigger to verdict: jobs that do nothing else, under an agent that allows
//! nothing special.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{Ipv4Addr, TcpListener};

use garrison::site::Port;
use integration::{World, ok};
use serde_json::Value;

fn pipeline(jobs: &str) -> String {
    format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{jobs}")
}

/// Where nothing listens until the test does.
fn reserve() -> Port {
    Port::reserve(Ipv4Addr::LOCALHOST).unwrap()
}

/// A site whose agent has this policy.
fn world(policy: &str, jobs: &str) -> World {
    let mut world = World::without_agents(&["fra"], &pipeline(jobs));
    ok(world.site.add_agent("fra", "mgmt01", 8, policy));
    world
}

fn is_running(detail: &Value) -> bool {
    detail["jobs"][0]["attempts"][0]["status"] == "running"
}

#[test]
fn jobs_go_on_when_what_they_wait_for_is_there_whoever_was_killed_meanwhile() {
    let mut world = World::without_agents(&["fra"], &pipeline(""));
    let (open, closed) = (reserve(), reserve());
    let jobs = format!(
        "  installed:\n    wait: [{{ tcp: \"{open}\", interval: 1s, timeout: 5m }}]\n\
         \x20 healthy:\n    needs: [installed]\n    \
         wait: [{{ http: \"{}/healthz\", body: '\"status\": ?\"ok\"' }}]\n\
         \x20 gone:\n    needs: [installed]\n    \
         wait: [{{ tcp: \"{closed}\", interval: 1s, timeout: 2s }}]\n\
         \x20 last:\n    needs: [gone]\n    wait: [{{ tcp: \"{open}\" }}]\n",
        ok(world.site.url())
    );
    ok(world.site.commit(&[(".garrison/deploy.yaml", &pipeline(&jobs))]));
    ok(world.site.add_agent("fra", "mgmt01", 8, ""));
    let run = world.trigger();
    world.run_when(run, "wait", is_running);
    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.kill_coordinator());
    let _listener = TcpListener::bind(open.address()).unwrap();
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt01"));
    let detail = world.finished(run);
    let jobs = &detail["jobs"];
    assert_eq!(jobs[0]["status"], "succeeded", "{detail:#}\n{}", world.logs());
    assert_eq!(jobs[0]["kind"], "wait");
    assert_eq!(jobs[0]["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(jobs[1]["status"], "succeeded", "{}", world.log(run, 1));
    let expected =
        format!("failed: tcp {closed} did not answer within 2s: connection refused (2 tries)");
    assert_eq!(jobs[2]["detail"], expected);
    assert_eq!(jobs[3]["detail"], "gone did not succeed");
    let log = world.log(run, 0);
    assert!(log.starts_with(&format!("wait: tcp {open}\n")), "{log}");
    assert!(log.contains(&format!("wait: tcp {open} passed after ")), "{log}");
}

#[test]
fn a_cancel_ends_the_waiting_and_a_retry_waits_anew() {
    let port = reserve();
    let job = format!("  a:\n    wait: [{{ tcp: \"{port}\", timeout: 1h }}]\n");
    let world = world("", &job);
    let run = world.trigger();
    world.run_when(run, "wait", is_running);
    assert_eq!(world.garrison(&["cancel", &run.to_string()]).code, 0);
    let detail = world.finished(run);
    assert_eq!(detail["jobs"][0]["status"], "cancelled", "{detail:#}");
    let _listener = TcpListener::bind(port.address()).unwrap();
    assert_eq!(world.garrison(&["retry", &run.to_string()]).code, 0);
    let detail = world.finished(run);
    assert_eq!(detail["jobs"][0]["status"], "succeeded", "{detail:#}");
}

#[test]
fn the_site_says_where_probes_connect_to() {
    let world = world(
        "[wait]\naddresses = [\"10.0.0.*:22\"]\n",
        "  a:\n    wait: [{ http: \"http://127.0.0.1:9/\" }]\n",
    );
    let detail = world.finished(world.trigger());
    let words = detail["jobs"][0]["detail"].as_str().unwrap();
    assert!(words.starts_with("refused by wait.addresses: "), "{words}");
    assert!(words.contains("may not connect to 127.0.0.1:9 from this host"), "{words}");
}
