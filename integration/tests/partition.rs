//! The library on a whole partition: fourteen machines that come out of their boxes, the pipelines that an
//! operator copies, and people at consoles. One story, since a partition takes its time to come up.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use garrison::site::{wait, wait_within};
use integration::{ok, program};
use lab::network::answers;
use lab::operator::Operator;
use lab::topology::{Place, Role};
use lab::{Lab, PATIENCE, Partition};
use serde_json::Value;

const PARTITION: &str = "fra-equ01";

/// The jobs of a name in what is to be seen of a run.
fn jobs<'d>(detail: &'d Value, name: &str) -> Vec<&'d Value> {
    let jobs = detail["jobs"].as_array().unwrap().iter();
    let found: Vec<&Value> = jobs.filter(|job| job["name"] == name).collect();
    assert!(!found.is_empty(), "no {name} in {detail:#}");
    found
}

/// The first attempt of a job about a device.
fn attempt<'d>(detail: &'d Value, name: &str, device: &str) -> &'d Value {
    let job = jobs(detail, name).into_iter().find(|job| job["device"] == device);
    &job.unwrap_or_else(|| panic!("no {name} for {device} in {detail:#}"))["attempts"][0]
}

/// Since when the agents on the management servers have had their sessions.
fn sessions(operator: &Operator) -> Vec<u64> {
    let agents: Vec<Value> = ok(ok(operator.site.client()).get("/api/v1/agents"));
    let inside = agents.iter().filter(|agent| {
        agent["partition"] == PARTITION
            && agent["name"] != "outside"
            && agent["status"] == "connected"
    });
    inside.map(|agent| agent["since_us"].as_u64().unwrap()).collect()
}

fn succeeded(detail: &Value, operator: &Operator) {
    let story = || operator.story(detail["id"].as_u64().unwrap());
    assert_eq!(detail["status"], "succeeded", "{}", story());
    for job in detail["jobs"].as_array().unwrap() {
        for attempt in job["attempts"].as_array().unwrap() {
            assert_eq!(attempt["log_complete"], true, "{job:#}");
        }
    }
}

/// What a machine says of its sessions of BGP.
fn established(partition: &Partition, name: &str) -> String {
    ok(ok(partition.machine(name)).console("bgp-established"))
}

#[test]
fn a_partition_comes_up_from_nothing_and_is_kept() {
    let dir = tempfile::Builder::new().prefix("garrison-lab-").tempdir().unwrap();
    let mut lab = ok(Lab::new(dir.path(), &[PARTITION]));
    let operator = ok(Operator::start(&lab, &program()));

    let run = ok(operator.bootstrap(&lab, &lab.partitions[0]));
    // While the partition comes up, there is a new version of the program outside.
    ok(operator.control.console(
        "cp /usr/local/bin/garrison /tmp/next\nprintf next >> /tmp/next\nmv /tmp/next /usr/local/bin/garrison",
    ));
    let done = |name: &'static str| {
        move |detail: &Value| jobs(detail, name).iter().all(|job| job["status"] == "succeeded")
    };
    let detail = ok(operator.when(run, "have its firewalls", done("firewalls")));
    let begun = attempt(&detail, "firewalls", "fw01")["started_us"].as_u64().unwrap();
    // The job that reconfigured them cut the agents' own way, and went on.
    ok(wait_within(PATIENCE, "the agents to be back", || {
        let since = sessions(&operator);
        (since.len() == 2 && since.iter().all(|&since| since > begun)).then_some(())
    }));
    let detail = ok(operator.finished(run));
    succeeded(&detail, &operator);
    for (server, other) in [("mgmt01", "mgmt02"), ("mgmt02", "mgmt01")] {
        assert_eq!(attempt(&detail, "servers-restarted", server)["agent"], other, "{detail:#}");
    }
    let versions = "sha256sum < /usr/local/bin/garrison; pgrep -f 'garrison agent' >/dev/null";
    let wanted = ok(operator.control.console(versions));
    let partition = &lab.partitions[0];
    for server in ["mgmt01", "mgmt02"] {
        assert_eq!(ok(ok(partition.machine(server)).console(versions)), wanted);
    }
    assert_eq!(jobs(&detail, "doctor").len(), 2, "{detail:#}");
    for name in partition.machines.keys() {
        let said = established(partition, name);
        assert!(said.starts_with("established: "), "{name}: {said}");
    }

    firewalls_let_in_those_who_administer_alone(&lab);
    a_second_run_changes_nothing(&lab, &operator);
    what_somebody_changed_by_hand_is_told(&lab, &operator);
    the_servers_watch_over_all(&operator);
    the_servers_hold_an_image(&lab, &operator);
    a_worker_is_switched_on_and_off(&lab, &operator);
    a_switch_waits_for_its_partner(&mut lab, &operator);
    pairs_are_updated_one_after_the_other(&lab, &operator);
}

/// Also one that has just started.
fn firewalls_let_in_those_who_administer_alone(lab: &Lab) {
    let partition = &lab.partitions[0];
    let firewall = ok(partition.machine("fw02"));
    let place = Place { role: Role::MgmtFirewall, number: 2 };
    let address = lab.outside.firewall(partition.number, place);
    let (own, stranger) = (lab.outside.host(), lab.outside.stranger());
    // Its own sshd, and that of the management server behind it.
    let all_is_well = || {
        let is_well = |port| answers(own, address, port) && !answers(stranger, address, port);
        is_well(22) && is_well(2212)
    };
    assert!(all_is_well());
    let boot = || firewall.console("cat /proc/sys/kernel/random/boot_id");
    let before = ok(boot());
    // Its console ends with it.
    drop(firewall.run("reboot"));
    ok(wait("fw02 to have started", || (boot().ok()? != before).then_some(())));
    ok(wait("its rules", || all_is_well().then_some(())));
}

/// It finds one management leaf that cannot be worked at, which a person waives, so that the fabric has its
/// turn all the same; made good, the run is, too.
fn a_second_run_changes_nothing(lab: &Lab, operator: &Operator) {
    let machine = |name: &str| ok(lab.partitions[0].machine(name));
    let leaf = machine("mleaf02");
    let routing =
        || ["fw01", "fw02", "mgmt01", "mgmt02"].map(|it| ok(machine(it).console("pidof bgpd")));
    let before = routing();
    ok(leaf.console("mv /etc/frr /etc/frr.away\ntouch /etc/frr"));
    let arguments = ["--limit", PARTITION, "--input", "restart=false"];
    let run = ok(operator.trigger("bootstrap-partition", &arguments));
    for gate in ["firewalls-loaded", "servers-booted"] {
        ok(operator.at_gate(run, gate));
        ok(operator.acknowledge(run, gate));
    }
    let gate = "mgmt-leaves-waived";
    ok(operator.at_gate(run, gate));
    ok(operator.garrison(&["approve", &run.to_string(), gate, "--comment", "mleaf02 is repaired"]));
    let detail = ok(operator.finished(run));
    assert_eq!(detail["status"], "failed", "{}", operator.story(run));
    let failed: Vec<_> =
        detail["jobs"].as_array().unwrap().iter().filter(|it| it["status"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{}", operator.story(run));
    assert_eq!(failed[0]["device"], "mleaf02", "{failed:#?}");
    assert!(
        jobs(&detail, "established").iter().all(|it| it["status"] == "succeeded"),
        "{detail:#}"
    );

    ok(leaf.console("rm /etc/frr\nmv /etc/frr.away /etc/frr"));
    ok(operator.garrison(&["retry", &run.to_string()]));
    let detail = ok(operator.finished(run));
    succeeded(&detail, operator);
    // Each machine once, and nothing of it changed.
    let hosts = hosts(&detail);
    assert_eq!(hosts.len(), 14, "{hosts:#?}");
    assert!(hosts.iter().all(|host| host["changed"].is_null()), "{hosts:#?}");
    assert_eq!(routing(), before, "FRR was restarted");
}

/// What the playbooks of a run did at each machine.
fn hosts(detail: &Value) -> Vec<&Value> {
    let jobs = detail["jobs"].as_array().unwrap().iter();
    let last = jobs.filter_map(|job| job["attempts"].as_array()?.last());
    let recaps = last.filter_map(|attempt| attempt["recap"]["hosts"].as_array());
    recaps.flatten().collect()
}

fn what_somebody_changed_by_hand_is_told(lab: &Lab, operator: &Operator) {
    let leaf = ok(lab.partitions[0].machine("leaf01"));
    ok(leaf.console("echo '! by hand' >> /etc/frr/frr.conf"));
    let run = ok(operator.trigger("drift-check", &[]));
    let detail = ok(operator.finished(run));
    succeeded(&detail, operator);
    let hosts = hosts(&detail);
    assert_eq!(hosts.len(), 14, "{hosts:#?}");
    let mut changed = hosts.iter().filter(|host| !host["changed"].is_null());
    assert_eq!(changed.next().unwrap()["host"], "leaf01", "{hosts:#?}");
    assert!(changed.next().is_none(), "{hosts:#?}");
    let shown = ok(operator.garrison(&["show", &run.to_string()]));
    assert!(shown.contains("drift (playbook=switches): 10 hosts, would change 1\n"), "{shown}");
    assert!(
        shown.contains("drift (playbook=mgmt-servers): 2 hosts, would change none\n"),
        "{shown}"
    );
    let logs: String =
        (0..3).map(|job| ok(operator.garrison(&["logs", &format!("{run}.{job}")]))).collect();
    assert!(logs.contains("-! by hand\n"), "{logs}");
    // It is there as it was.
    assert!(ok(leaf.console("cat /etc/frr/frr.conf")).ends_with("! by hand\n"));
}

/// Their exporters answer, and so does all that they look at: switches, and BMCs of workers.
fn the_servers_watch_over_all(operator: &Operator) {
    let run = ok(operator.trigger("management-servers", &[]));
    let detail = ok(operator.finished(run));
    succeeded(&detail, operator);
    assert_eq!(jobs(&detail, "healthy").len(), 2, "{detail:#}");
}

fn the_servers_hold_an_image(lab: &Lab, operator: &Operator) {
    let checksum = ok(operator.control.console(
        "mkdir -p /srv/www/os; echo an image > /srv/www/os/sonic.bin; sha256sum < /srv/www/os/sonic.bin",
    ));
    let (checksum, _) = checksum.split_once(' ').unwrap();
    let list = format!("{checksum}  http://images.lab/os/sonic.bin\n");
    ok(operator.site.commit(&[("files/images.txt", &list)]));
    let run = ok(operator.trigger("image-cache", &[]));
    succeeded(&ok(operator.finished(run)), operator);
    for server in ["mgmt01", "mgmt02"] {
        let server = ok(lab.partitions[0].machine(server));
        assert_eq!(ok(server.console("cat /srv/www/images/os/sonic.bin")), "an image\n");
    }
}

fn a_worker_is_switched_on_and_off(lab: &Lab, operator: &Operator) {
    let command = |command: &str| {
        let command = format!("command={command}");
        let inputs = ["--input", "machine=worker01", "--input", &command];
        let run = ok(operator.trigger("metal-bmc", &inputs));
        succeeded(&ok(operator.finished(run)), operator);
    };
    let worker = &lab.partitions[0].workers[0];
    assert!(worker.run("true").is_err(), "it is on already");
    command("ON");
    ok(worker.insist("true"));
    command("OFF");
    assert!(worker.run("true").is_err(), "it is still on");
}

fn a_switch_waits_for_its_partner(lab: &mut Lab, operator: &Operator) {
    ok(ok(lab.partitions[0].machine_mut("leaf02")).pull_plug());
    let run = ok(update(operator, &["leaf01"]));
    let detail = ok(operator.finished(run));
    assert_eq!(detail["status"], "failed", "{detail:#}");
    assert_eq!(jobs(&detail, "partner")[0]["status"], "failed", "{detail:#}");
    assert_eq!(jobs(&detail, "reset")[0]["attempts"], serde_json::json!([]), "{detail:#}");
    // It has its configuration on its disk, and comes back with it.
    ok(ok(lab.partitions[0].machine_mut("leaf02")).plug_in());
    ok(wait("leaf02 to be back", || {
        let said = lab.partitions[0].machine("leaf02").ok()?.console("bgp-established").ok()?;
        said.starts_with("established: ").then_some(())
    }));
}

fn pairs_are_updated_one_after_the_other(lab: &Lab, operator: &Operator) {
    let key = |name: &str| {
        let switch = ok(lab.partitions[0].machine(name));
        ok(switch.console("cat /proc/sys/kernel/random/boot_id /etc/ssh/ssh_host_ed25519_key.pub"))
    };
    let pairs = pairs();
    let switches: Vec<&str> = pairs.iter().flatten().copied().collect();
    let before: Vec<String> = switches.iter().map(|name| key(name)).collect();
    let run = ok(update(operator, &switches));
    let detail = ok(operator.finished(run));
    succeeded(&detail, operator);
    for [first, second] in pairs {
        let time = |name, switch, key: &str| attempt(&detail, name, switch)[key].as_u64().unwrap();
        let well = time("healthy", first, "finished_us");
        let begun = time("partner", second, "started_us");
        assert!(well <= begun, "{detail:#}");
    }
    for (name, before) in switches.iter().zip(before) {
        let now = key(name);
        // Another boot, and another host key.
        assert!(
            now.lines().zip(before.lines()).all(|(now, before)| now != before),
            "{now}{before}"
        );
        assert!(established(&lab.partitions[0], name).starts_with("established: "));
        let image = ok(ok(lab.partitions[0].machine(name)).console("cat /run/chassis/image"));
        assert_eq!(image, "an image\n");
    }
}

/// The switches that are updated: the leaves, or all where there is time.
fn pairs() -> Vec<[&'static str; 2]> {
    let leaves = ["leaf01", "leaf02"];
    match std::env::var("GARRISON_SWITCHES").as_deref() {
        Ok("all") => vec![
            leaves,
            ["spine01", "spine02"],
            ["exit01", "exit02"],
            ["mleaf01", "mleaf02"],
            ["mspine01", "mspine02"],
        ],
        _ => vec![leaves],
    }
}

/// Updates switches to an image that the management server has.
fn update(operator: &Operator, switches: &[&str]) -> Result<u64, garrison::exit::Failure> {
    let limits = switches.iter().map(|switch| format!("{PARTITION}/{switch}"));
    let limits: Vec<String> = limits.collect();
    let mut arguments = vec!["--input", "image=os/sonic.bin"];
    for limit in &limits {
        arguments.extend(["--limit", limit]);
    }
    operator.trigger("switch-update", &arguments)
}
