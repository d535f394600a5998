//! What of a partition is not as its playbooks would make it: the library's example of a partition, whose devices
//! are sshd of this host.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::sshd::{Sshd, make_key};
use integration::{World, ok};

use crate::desk::{LIBRARY, write};

/// What a job of the library runs in and where, instead of which the test has processes.
const INSIDE: &str = "agent: { place: inside }\n    container: { image: \"{{ variables.DEPLOYMENT_IMAGE }}\", network: host }";

/// The example as the partition `fra`, with the first device of each pair, and each of them on this sshd.
fn inventory(sshd: &Sshd) -> String {
    let example = fs::read_to_string(format!("{LIBRARY}/partitions/fra-equ01.yaml")).unwrap();
    let mut text = String::new();
    let (mut is_device, mut is_kept) = (false, true);
    for line in example.lines().filter(|line| !line.contains("device: mgmt02")) {
        is_device |= line == "devices:";
        if is_device && line.starts_with("  ") && !line.starts_with("   ") {
            is_kept = line.ends_with("01:");
        }
        let login = match line.trim_start().split(':').next().unwrap() {
            "address" => format!("    address: 127.0.0.1\n    port: {}", sshd.port),
            "user" => "    user: root".to_owned(),
            "host_key" | "host_ca" => format!("    host_key: \"{}\"", sshd.host_key),
            _ => line.to_owned(),
        };
        if is_kept {
            text += if is_device { &login } else { line };
            text += "\n";
        }
    }
    text.replace("partition: fra-equ01\n", "partition: fra\n")
}

/// What of this host the playbooks would change.
fn host() -> Vec<Option<String>> {
    let files = ["/etc/frr/frr.conf", "/etc/dnsmasq.conf", "/etc/sysctl.d/60-garrison.conf"];
    let read = |path: &&str| fs::read_to_string(path).ok();
    let mut found: Vec<_> = files.iter().map(read).collect();
    found.push(Path::new("/srv/www").exists().then(String::new));
    found
}

#[test]
fn drift_is_told_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("user");
    make_key(&key);
    let sshd = Sshd::admitting(dir.path(), &key.with_extension("pub"));
    let world = World::start(
        &["fra"],
        "on: { manual: {} }\npartitions: [fra]\njobs: { none: { process: {}, run: 'true' } }\n",
    );
    let repository = world.site.repository();
    let copied = Command::new("cp").args(["-rT", LIBRARY]).arg(&repository).status();
    assert!(copied.unwrap().success());
    // It is this very host that would be changed.
    let pipeline = fs::read_to_string(repository.join(".garrison/drift-check.yaml")).unwrap();
    assert!(
        pipeline.contains("playbooks/{{ matrix.playbook }}.yaml --check --diff\n"),
        "{pipeline}"
    );
    let include = ".garrison/include/partition.yaml";
    let text = fs::read_to_string(repository.join(include)).unwrap();
    assert!(text.contains(INSIDE), "{text}");
    write(&repository, include, &text.replace(INSIDE, "process: {}"));
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory(&sshd))]));
    let set = ["secrets", "set", "ANSIBLE_PRIVATE_KEY_FILE", "--partition", "fra", "--file"];
    let said = world.garrison(&[&set[..], &[key.to_str().unwrap()]].concat());
    assert_eq!(said.code, 0, "{said:?}");

    let before = host();
    let said = world.garrison(&["trigger", "drift-check", "--repository", "infra", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let run = said.json()["id"].as_u64().unwrap();
    let logs: String = (0..3).map(|job| world.log(run, job)).collect();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{logs}");
    let shown = world.garrison(&["show", &run.to_string()]).out;
    for told in [
        "drift (playbook=mgmt-firewalls): 1 host, would change 1\n",
        "drift (playbook=mgmt-servers): 1 host, would change 1\n",
        "drift (playbook=switches): 5 hosts, would change 5\n",
    ] {
        assert!(shown.contains(told), "{shown}");
    }
    assert!(logs.contains("+hostname leaf01\n"), "the difference is in the log: {logs}");
    assert_eq!(host(), before);
}
