//! `garrison agent doctor` with a real agent and coordinator, and with the real faults that it is for.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use garrison::site::OPEN_POLICY;
use integration::clock::Clock;
use integration::disk::SmallDisk;
use integration::firewall::{Dhcp, Firewall, PORT, PUBLIC};
use integration::{Said, World, ok, program};
use serde_json::Value;

const PIPELINE: &str =
    "on: { manual: {} }\npartitions: [fra]\njobs:\n  one: { process: {}, run: echo one }\n";

/// How one check stands, what was found, and what to do.
#[derive(Debug)]
struct Found {
    status: String,
    found: String,
    advice: String,
}

/// Runs the doctor for a configuration, started `within` something.
fn doctor(within: &[String], config: &Path, env: &[(&str, String)]) -> Said {
    let program = program().display().to_string();
    let mut words = within.iter().map(String::as_str).chain([program.as_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["agent", "doctor", "--output", "json", "--config"]).arg(config);
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    Said::from(command.envs(env).output().unwrap())
}

/// What it says of one check.
fn check(said: &Said, name: &str) -> Found {
    let json = said.json();
    let findings = json["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no check {name}: {said:?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Found { status: text("status"), found: text("found"), advice: text("advice") }
}

fn world() -> World {
    World::start(&["fra"], PIPELINE)
}

fn config(world: &World) -> PathBuf {
    world.site.agent_dir("fra", "mgmt01").join("agent.toml")
}

fn write_private(path: &Path, mode: u32) {
    let _ = fs::remove_file(path);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    assert!(keygen.status().unwrap().success());
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_healthy_agent_is_called_so_and_left_alone() {
    let world = world();
    let session = |world: &World| {
        let agents: Value = ok(ok(world.site.client()).get("/api/v1/agents"));
        (agents[0]["since_us"].clone(), agents[0]["status"].clone())
    };
    let before = session(&world);
    let said = doctor(&[], &config(&world), &[]);
    assert_eq!(said.code, 0, "{said:?}");
    for name in [
        "configuration",
        "policy",
        "state",
        "certificate",
        "name",
        "tcp",
        "tls",
        "coordinator",
        "clock",
        "docker",
    ] {
        assert_eq!(check(&said, name).status, "ok", "{name}: {said:?}");
    }
    let certificate = check(&said, "certificate").found;
    assert!(certificate.starts_with("of partition fra, valid for "), "{certificate}");
    let version = check(&said, "coordinator").found;
    assert_eq!(version, format!("garrison {} answers", env!("CARGO_PKG_VERSION")));
    let networks = check(&said, "networks");
    assert!(networks.found.contains("the host's is not allowed"), "{networks:?}");
    assert_eq!(session(&world), before);
    assert!(!world.logs().contains("no link"), "{}", world.logs());

    let mut command = Command::new(program());
    let text = Said::from(
        command.args(["agent", "doctor", "--config"]).arg(config(&world)).output().unwrap(),
    );
    assert!(text.out.contains("\nok    coordinator    garrison "), "{text:?}");
}

#[test]
fn an_agent_that_cannot_reach_its_coordinator_is_told_where_it_ends() {
    let mut world = world();
    let path = config(&world);
    ok(world.site.stop_coordinator());
    let said = doctor(&[], &path, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    let tcp = check(&said, "tcp");
    assert_eq!(tcp.status, "fail");
    assert!(
        tcp.found.contains("refused") && tcp.advice.starts_with("start the coordinator"),
        "{tcp:?}"
    );
    assert!(!said.out.contains("\"tls\""), "{said:?}");

    let text = fs::read_to_string(&path).unwrap();
    let elsewhere = path.with_file_name("elsewhere.toml");
    let port = text.split('"').nth(1).unwrap().rsplit(':').next().unwrap().to_owned();
    let url = format!("https://no-such-host.invalid:{port}");
    fs::write(&elsewhere, text.replace(text.split('"').nth(1).unwrap(), &url)).unwrap();
    let name = check(&doctor(&[], &elsewhere, &[]), "name");
    assert_eq!(name.status, "fail");
    assert!(name.advice.contains("/etc/hosts"), "{name:?}");
}

#[test]
fn one_that_was_cut_off_is_told_so() {
    let world = world();
    let said = world.garrison(&["agents", "revoke", "fra/mgmt01"]);
    assert_eq!(said.code, 0, "{said:?}");
    let coordinator = check(&doctor(&[], &config(&world), &[]), "coordinator");
    assert_eq!(coordinator.status, "fail");
    assert!(coordinator.found.contains("agent fra/mgmt01 is revoked"), "{coordinator:?}");
}

#[test]
fn another_coordinator_at_the_address_is_not_taken_for_this_agents() {
    let (one, other) = (world(), world());
    let address = |world: &World| {
        let text = fs::read_to_string(config(world)).unwrap();
        text.split('"').nth(1).unwrap().to_owned()
    };
    let path = config(&one).with_file_name("elsewhere.toml");
    let text = fs::read_to_string(config(&one)).unwrap();
    fs::write(&path, text.replace(&address(&one), &address(&other))).unwrap();
    let tls = check(&doctor(&[], &path, &[]), "tls");
    assert_eq!(tls.status, "fail");
    assert!(tls.found.contains("is not this agent's coordinator"), "{tls:?}");
}

#[test]
fn a_wrong_clock_is_told_by_how_much() {
    let world = world();
    let clock = Clock::new(&world.site.dir().join("clock"));
    for (shift, status, words) in [
        ("+20s", "warn", " s ahead of the coordinator's"),
        ("-90s", "fail", " s behind the coordinator's"),
    ] {
        clock.shift(shift);
        let found = check(&doctor(&[], &config(&world), &clock.env()), "clock");
        assert_eq!(found.status, status, "{found:?}");
        assert!(found.found.ends_with(words) && found.advice.contains("NTP"), "{found:?}");
    }
    clock.shift("+400d");
    let said = doctor(&[], &config(&world), &clock.env());
    assert_eq!(check(&said, "certificate").status, "fail", "{said:?}");
}

#[test]
fn a_small_disk_is_told_against_the_quota() {
    let world = world();
    let disk = SmallDisk::mount("300m");
    let state = world.site.agent_dir("fra", "mgmt01").join("state");
    let copied = Command::new("cp").arg("-a").arg(&state).arg(disk.path()).status();
    assert!(copied.unwrap().success());
    let path = config(&world).with_file_name("small.toml");
    let text = fs::read_to_string(config(&world)).unwrap();
    let (old, new) = (state.display().to_string(), disk.path().join("state").display().to_string());
    fs::write(&path, text.replace(&old, &new)).unwrap();
    let small = check(&doctor(&[], &path, &[]), "disk");
    assert_eq!(small.status, "warn");
    assert!(small.found.ends_with("less than the 8192 MiB of log_quota"), "{small:?}");

    let ballast = disk.fill(100 << 20);
    let said = doctor(&[], &path, &[]);
    let full = check(&said, "disk");
    assert_eq!((full.status.as_str(), said.code), ("fail", 1), "{full:?}");
    assert!(full.advice.contains("output of jobs is dropped"), "{full:?}");
    drop(ballast);

    fs::set_permissions(disk.path().join("state"), Permissions::from_mode(0o777)).unwrap();
    let open = check(&doctor(&[], &path, &[]), "state");
    assert!(open.status == "fail" && open.found.contains("others may write to it"), "{open:?}");
}

#[test]
fn what_the_policy_needs_is_looked_at() {
    let world = world();
    let dir = world.site.agent_dir("fra", "mgmt01");
    let nowhere = [("DOCKER_HOST", "unix:///nowhere/docker.sock".to_owned())];
    let docker = check(&doctor(&[], &config(&world), &nowhere), "docker");
    assert_eq!(docker.status, "fail");
    assert!(
        docker.found.contains("cannot reach the Docker engine at unix:///nowhere"),
        "{docker:?}"
    );

    let key = dir.join("id_ed25519");
    write_private(&key, 0o644);
    let policy = format!("{OPEN_POLICY}[container]\nallow = false\n[ssh]\nkeys = [{key:?}]\n");
    fs::write(dir.join("policy.toml"), &policy).unwrap();
    let said = doctor(&[], &config(&world), &nowhere);
    assert_eq!(check(&said, "docker").status, "ok", "{said:?}");
    let open = check(&said, "key");
    assert!(open.status == "fail" && open.advice.contains("chmod 600"), "{open:?}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let said = doctor(&[], &config(&world), &nowhere);
    assert_eq!((check(&said, "key").status.as_str(), said.code), ("ok", 0), "{said:?}");

    fs::write(dir.join("policy.toml"), "[contaner]\n").unwrap();
    let said = doctor(&[], &config(&world), &nowhere);
    assert_eq!((check(&said, "policy").status.as_str(), said.code), ("fail", 1), "{said:?}");
    let missing = doctor(&[], &dir.join("none.toml"), &nowhere);
    assert_eq!((check(&missing, "configuration").status.as_str(), missing.code), ("fail", 1));
}

/// A configuration of an agent that has not joined, with these duties.
fn duties(folder: &Path, doctor: &str) -> PathBuf {
    let path = folder.join("agent.toml");
    let state = folder.join("state");
    let text =
        format!("coordinator = 'https://127.0.0.1:1'\nstate = {state:?}\n[doctor]\n{doctor}\n");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_firewall_that_only_forwards_is_told_from_one_that_masquerades_too() {
    let firewall = Firewall::new();
    let folder = tempfile::tempdir().unwrap();
    let duties = duties(
        folder.path(),
        &format!("hairpin = ['{PUBLIC}:{PORT}']\ndefault_route = 'bgp'\nforwarding = true"),
    );
    assert!(firewall.is_reached_from_outside());
    let said = doctor(&firewall.on_server(), &duties, &[]);
    let hairpin = check(&said, "hairpin");
    assert_eq!((hairpin.status.as_str(), said.code), ("fail", 1), "{said:?}");
    assert!(
        hairpin.advice.contains("masquerade") && hairpin.advice.contains("hairpin NAT"),
        "{hairpin:?}"
    );
    let route = check(&said, "default route");
    assert_eq!((route.status.as_str(), route.found.as_str()), ("ok", "via 10.212.0.1 by bgp"));
    assert_eq!(check(&said, "forwarding").found, "IPv4 is not forwarded");

    firewall.masquerade();
    let hairpin = check(&doctor(&firewall.on_server(), &duties, &[]), "hairpin");
    assert_eq!(hairpin.status, "ok", "{hairpin:?}");
    assert!(firewall.is_reached_from_outside());
}

#[test]
fn a_lease_is_offered_and_never_taken() {
    let mut dhcp = Dhcp::new();
    let folder = tempfile::tempdir().unwrap();
    let duties = duties(folder.path(), "dhcp = ['eth0', 'eth7']\ndefault_route = 'any'");
    let said = doctor(&dhcp.on_client(), &duties, &[]);
    let found = check(&said, "dhcp eth0");
    assert_eq!(found.status, "ok", "{found:?}\n{}", dhcp.log());
    let expected = "10.211.0.1 offers 10.211.0.50, tftp server 10.211.0.1, boot file onie-installer, \
                    default-url http://10.211.0.1/onie, ztp http://10.211.0.1/ztp.json";
    assert_eq!(found.found, expected);
    assert_eq!(check(&said, "dhcp eth7").found, "there is no such interface");
    assert_eq!(check(&said, "default route").found, "there is none");
    assert!(
        dhcp.log().contains("DHCPOFFER") && !dhcp.log().contains("DHCPREQUEST"),
        "{}",
        dhcp.log()
    );

    dhcp.stop();
    let silent = check(&doctor(&dhcp.on_client(), &duties, &[]), "dhcp eth0");
    assert_eq!(
        (silent.status.as_str(), silent.found.as_str()),
        ("fail", "no server offers a lease")
    );
}
