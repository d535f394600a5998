//! A job on a device, from trigger to verdict: a real sshd with a pinned host key.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use integration::sshd::Sshd;
use integration::{World, ok};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  switch:\n    \
                        ssh: { device: leaf01 }\n    run:\n      - echo \"on $GARRISON_PARTITION\"\n      \
                        - test -e CODE || exit 4\n";

fn world(dir: &Path, device: &Sshd, host_key: &str) -> World {
    let mut world = World::without_agents(&["fra"], PIPELINE);
    let inventory = format!(
        "partition: fra\ndevices:\n  leaf01: {{ address: 127.0.0.1, port: {}, user: root, host_key: \"{host_key}\" }}\n",
        device.port
    );
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory)]));
    let policy = format!("[ssh]\nkeys = [\"{}/user\"]\nusers = [\"root\"]\n", dir.display());
    ok(world.site.add_agent("fra", "mgmt01", 1, &policy));
    world
}

#[test]
fn a_job_on_a_device_gives_its_output_and_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    let detail = world.finished(world.trigger());
    assert_eq!(detail["jobs"][0]["detail"], "failed: exit status 4", "{detail:#}");
    let log = world.garrison(&["logs", "1.0", "--follow"]).out;
    assert!(log.contains("on fra\n"), "{log}");
}

#[test]
fn another_host_key_stops_the_job_with_both_fingerprints() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let user_key = fs::read_to_string(dir.path().join("user.pub")).unwrap();
    let world = world(dir.path(), &device, user_key.trim());
    let detail = world.finished(world.trigger());
    assert_eq!(detail["jobs"][0]["status"], "infra_error", "{detail:#}");
    let words = detail["jobs"][0]["detail"].as_str().unwrap();
    assert_eq!(words.matches("SHA256:").count(), 2, "{words}");
}

#[test]
fn a_device_gets_secrets_over_stdin_and_never_in_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    // What a shell expands by itself stands in nobody's arguments.
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  switch:\n    \
                    ssh: { device: leaf01 }\n    secrets: [ENABLE]\n    run:\n      \
                    - printf '[%s]\\n' \"$ENABLE\"\n      \
                    - words=$(cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' ')\n      \
                    - case $words in *\"$ENABLE\"*) exit 9 ;; esac\n      \
                    - test ${#ENABLE} = 29\n";
    ok(world.site.commit(&[(".garrison/deploy.yaml", pipeline)]));
    for (scope, value) in [
        (&["--partition", "fra"][..], "another"),
        (&["--partition", "fra", "--device", "leaf01"], "corr3ct 'horse\" $(st4ple) `x`"),
    ] {
        let arguments = [&["secrets", "set", "ENABLE"], scope].concat();
        let said = world.garrison_reads(&arguments, value.as_bytes());
        assert_eq!(said.code, 0, "{said:?}");
    }
    let detail = world.finished(world.trigger());
    let log = world.garrison(&["logs", "1.0", "--follow"]).out;
    assert_eq!(detail["status"], "succeeded", "{log}\n{detail:#}");
    assert!(log.contains("[[masked]]\n"), "{log}");
}

#[test]
fn variables_of_the_inventory_reach_the_device_and_any_pinned_key_may_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    let other = fs::read_to_string(dir.path().join("user.pub")).unwrap();
    let inventory = format!(
        "partition: fra\nvariables: {{ A: partition, B: partition, C: partition }}\ndevices:\n  leaf01:\n    \
         address: 127.0.0.1\n    port: {}\n    user: root\n    host_keys: [\"{}\", \"{}\"]\n    \
         variables: {{ B: device, C: device }}\n",
        device.port,
        other.trim(),
        device.host_key
    );
    let pipeline = "on: { manual: {} }\npartitions: [fra]\nvariables: { A: pipeline, D: pipeline }\njobs:\n  switch:\n    \
                    ssh: { device: leaf01 }\n    variables: { C: job }\n    run: echo \"$A $B $C $D\"\n";
    ok(world
        .site
        .commit(&[("partitions/fra.yaml", &inventory), (".garrison/deploy.yaml", pipeline)]));
    let detail = world.finished(world.trigger());
    assert_eq!(detail["status"], "succeeded", "{detail:#}");
    let log = world.garrison(&["logs", "1.0", "--follow"]).out;
    assert!(log.contains("partition device job pipeline\n"), "{log}");
}
