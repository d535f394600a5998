//! Services, from the pipeline's text to the host: they outlive the agent with their job, and end with it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::process::Command;

use integration::{World, image, kill_runner, ok};
use serde_json::Value;

fn pipeline() -> String {
    let image = image();
    let service = |name: &str, rest: &str| {
        format!("      {name}: {{ image: \"{image}\", command: [sh, -c, {rest} }}\n")
    };
    let works = service(
        "db",
        "'sleep 0.2; echo $A > /a; sleep 600'], variables: { A: b }, health: { run: grep b /a, interval: 1s }",
    );
    let fails =
        service("broken", "'echo last words; exit 7'], health: { run: 'true', timeout: 5s }");
    let container =
        format!("    container: {{ image: \"{image}\", pull: never, network: none }}\n");
    let until = "echo ready; grep -w db /etc/hosts; until test -e go; do sleep 0.02; done";
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  \
         works:\n{container}    services:\n{works}    run: {until}\n  \
         fails:\n{container}    services:\n{fails}    run: echo never; sleep 600\n  \
         dies:\n{container}    services:\n{works}    run: echo ready; sleep 600\n"
    )
}

/// The containers of an agent.
fn containers(world: &World) -> String {
    let attempts = world.site.agent_dir("fra", "mgmt01").join("state/attempts");
    let label = format!("label=garrison.agent={}", attempts.canonicalize().unwrap().display());
    let list = ["ps", "--all", "--format", "{{.Names}}", "--filter", label.as_str()];
    let output = Command::new("docker").args(list).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn services_run_beside_their_job_whatever_becomes_of_the_agent() {
    let mut world = World::start(&["fra"], &pipeline());
    let run = world.trigger();
    let ready = |job: usize| {
        let said = || world.garrison(&["logs", &format!("{run}.{job}")]).out.contains("\nready\n");
        ok(garrison::site::wait("the job to be ready", || said().then_some(())));
    };
    ready(0);
    ready(2);
    world.run_when(run, "have failed", |it| it["jobs"][1]["status"] == "infra_error");
    assert_eq!(containers(&world).lines().filter(|name| name.ends_with("-db")).count(), 2);

    ok(world.site.kill_agent("fra", "mgmt01"));
    let attempts = world.site.agent_dir("fra", "mgmt01").join("state/attempts");
    kill_runner(&attempts.join("1.2.1"));
    fs::write(attempts.join("1.0.1/work/go"), "").unwrap();
    ok(world.site.start_agent("fra", "mgmt01"));
    let detail = world.finished(run);
    let job = |index: usize| -> &Value { &detail["jobs"][index] };
    let log = world.log(run, 0);
    assert_eq!(job(0)["status"], "succeeded", "{log}\n{}", world.logs());
    assert!(log.contains("service db is healthy\n") && log.contains("127.0.0.1\tdb\n"), "{log}");

    let words = job(1)["detail"].as_str().unwrap();
    assert!(words.contains("service 'broken' ended with exit status 7"), "{words}");
    let log = world.log(run, 1);
    assert!(log.contains("the last 1 lines of service broken:\nlast words\n"), "{log}");

    assert_eq!(job(2)["status"], "lost");
    let gone = || containers(&world).is_empty().then_some(());
    ok(garrison::site::wait("all containers to be gone", gone));
}
