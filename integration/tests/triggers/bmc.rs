//! The library's `metal-bmc`, with a BMC that `ipmi_sim` simulates.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration::{World, ok};
use serde_json::{Value, json};

use crate::queue::{Queue, event, now};

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/library");
const MACHINE: &str = "e0ab02d2-27cd-5a5e-8efc-080ba80cf258";
const PARTITION: &str = "fra-equ01";

/// What `ipmi_sim` asks for its chassis: its power is a file, and each change a line.
const CHASSIS: &str = "#!/bin/bash\n\
    dir=$1 verb=$2\nshift 2\nwhile [ $# -gt 0 ]; do\n  case $verb/$1 in\n    \
    get/power) echo \"power:$(cat \"$dir/power\")\"; shift ;;\n    \
    set/power) echo \"$2\" > \"$dir/power\"; echo \"power $2\" >> \"$dir/changes\"; shift 2 ;;\n    \
    set/*) echo \"${1} $2\" >> \"$dir/changes\"; shift 2 ;;\n    \
    *) echo \"$1 is not known\"; exit 1 ;;\n  esac\ndone\n";

/// A BMC; it is ended when it is dropped.
struct Bmc {
    dir: PathBuf,
    port: u16,
    simulator: Child,
}

impl Bmc {
    fn start(dir: &Path) -> Bmc {
        let dir = dir.join("bmc");
        fs::create_dir_all(dir.join("state")).unwrap();
        fs::write(dir.join("power"), "0\n").unwrap();
        fs::write(dir.join("changes"), "").unwrap();
        let chassis = dir.join("chassis");
        fs::write(&chassis, CHASSIS).unwrap();
        fs::set_permissions(&chassis, fs::Permissions::from_mode(0o755)).unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lan = format!(
            "name \"machine\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    \
             priv_limit admin\n    allowed_auths_admin none md5\n    \
             guid a123456789abcdefa123456789abcde0\n  endlan\n  chassis_control \"{} {}\"\n  \
             user 1 true \"\" \"\" user 10 none md5\n  \
             user 2 true \"metal\" \"hunter2hunter2\" admin 10 none md5\n",
            chassis.display(),
            dir.display(),
        );
        fs::write(dir.join("lan.conf"), lan).unwrap();
        let commands = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 \
                        persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        fs::write(dir.join("commands"), commands).unwrap();
        let simulator = Command::new("ipmi_sim")
            .arg("-c")
            .arg(dir.join("lan.conf"))
            .arg("-f")
            .arg(dir.join("commands"))
            .arg("-s")
            .arg(dir.join("state"))
            .arg("-n")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ipmi_sim is missing: apt-get install openipmi");
        Bmc { dir, port, simulator }
    }

    fn is_on(&self) -> bool {
        fs::read_to_string(self.dir.join("power")).unwrap().trim() == "1"
    }

    /// What was done to the chassis.
    fn changes(&self) -> Vec<String> {
        let changes = fs::read_to_string(self.dir.join("changes")).unwrap();
        changes.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
    }
}

fn command(machine: &str, command: &str) -> Value {
    // With all that upstream sends, of which the password is nobody's business here.
    let ipmi = json!({ "address": "192.0.2.66:623", "user": "metal", "password": "upstreams" });
    json!({ "type": "command", "cmd": { "target": machine, "cmd": command, "ipmi": ipmi } })
}

#[test]
fn a_command_from_the_queue_switches_a_machine_on_once_and_a_stale_one_is_refused() {
    let world = World::start(
        &[PARTITION],
        "on: { manual: {} }\npartitions: [fra-equ01]\njobs:\n  \
                             one: { process: {}, run: date }\n",
    );
    let bmc = Bmc::start(world.dir.path());
    let read = |path: &str| fs::read_to_string(Path::new(LIBRARY).join(path)).unwrap();
    // The site's one agent has no labels.
    let place = "    agent: { place: inside }\n";
    let pipeline = read(".garrison/metal-bmc.yaml");
    assert!(pipeline.contains(place));
    fs::create_dir_all(world.site.repository().join("files")).unwrap();
    let script = world.site.repository().join("files/bmc");
    fs::copy(Path::new(LIBRARY).join("files/bmc"), script).unwrap();
    let inventory = format!(
        "partition: {PARTITION}\nlabels: {{ kind: partition }}\nvariables: {{ IPMI_CIPHER: \"3\" }}\n\
         devices: {{}}\n"
    );
    ok(world.site.commit(&[
        (".garrison/metal-bmc.yaml", &pipeline.replace(place, "")),
        (
            "files/bmcs.txt",
            &format!(
                "{PARTITION} mleaf01 {MACHINE} 02:00:00:01:01:01 127.0.0.1:{} metal\n",
                bmc.port
            ),
        ),
        (&format!("partitions/{PARTITION}.yaml"), &inventory),
    ]));
    let set = ["secrets", "set", "IPMI_PASSWORD", "--partition", PARTITION];
    let said = world.garrison_reads(&set, b"hunter2hunter2");
    assert_eq!(said.code, 0, "{said:?}");
    let triggers = "[[nats.triggers]]\nstream = 'METAL'\nsubject = '{partition}-machine'\ntopic = \
                    'machine'\n";
    let mut world = world;
    // Its pipelines are looked at anew.
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    let mut queue = Queue::of(world, "", triggers);
    let subject = format!("{PARTITION}-machine");

    // Nobody wants updates; a stale command is refused.
    queue.publish(&subject, "0", &json!({ "type": "update" }));
    let stale = event("1", "machine", now() - 600_000_000, command(MACHINE, "ON"));
    queue.publish(&subject, "1", &stale);
    queue.dealt_with(2);
    let letters = queue.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].reason.contains("300 s is `max_age`"), "{letters:?}");
    assert!(!bmc.is_on() && queue.runs().is_empty());

    // The same one twice switches it on once, also when the coordinator is killed between.
    let on = event("2", "machine", now(), command(MACHINE, "ON"));
    queue.publish(&subject, "2a", &on);
    queue.runs_are(1);
    ok(queue.world.site.kill_coordinator());
    queue.publish(&subject, "2b", &on);
    ok(queue.world.site.start_coordinator());
    queue.dealt_with(4);
    queue.wait("the machine to be on", || bmc.is_on().then_some(()));
    succeeded(&queue, 1);

    // In their order, with NATS killed between.
    queue.publish(&subject, "3", &command(MACHINE, "PXE"));
    queue.nats.kill();
    queue.nats.start();
    queue.publish(&subject, "4", &command(MACHINE, "OFF"));
    queue.dealt_with(6);
    succeeded(&queue, 3);
    assert!(!bmc.is_on());
    let changes = bmc.changes();
    let power: Vec<_> = changes.iter().filter(|it| it.starts_with("power")).collect();
    assert_eq!(power, ["power 1", "power 0"], "{changes:?}");
    assert!(changes.iter().any(|it| it.starts_with("boot ")), "{changes:?}");

    // A machine of nobody fails, what cannot be a machine starts nothing, and an unknown command is wanted by nobody.
    queue.publish(&subject, "5", &command("machine-of-nobody", "ON"));
    queue.publish(&subject, "6", &command("../x; id", "ON"));
    queue.publish(&subject, "7", &command(MACHINE, "EXPLODE"));
    queue.dealt_with(9);
    let run = queue.started(4)[0]["id"].as_u64().unwrap();
    assert_eq!(queue.world.finished(run)["status"], "failed");
    assert!(queue.world.log(run, 0).contains("no BMC of machine 'machine-of-nobody'"));
    let letters = queue.letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(
        letters.iter().any(|it| it.reason.contains("`bmc-../x; id` cannot be used")),
        "{letters:?}"
    );

    // One whose turn comes too late does nothing, whatever kept it waiting.
    let late = [
        "sent=2026-01-02T03:04:05Z".to_owned(),
        format!("machine={MACHINE}"),
        "command=ON".to_owned(),
    ];
    let mut arguments = vec!["trigger", "metal-bmc", "--repository", "infra", "-o", "json"];
    arguments.extend(late.iter().flat_map(|input| ["--input", input]));
    let run = queue.world.garrison(&arguments).json()["id"].as_u64().unwrap();
    assert_eq!(queue.world.finished(run)["status"], "failed");
    assert!(queue.world.log(run, 0).contains("s old, and 300 s is the most"));
    assert!(!bmc.is_on());
    let said = queue.world.garrison(&["runs", "-o", "json"]).out;
    assert!(!said.contains("upstreams"), "{said}");
}

/// Waits for the ends of so many runs.
fn succeeded(queue: &Queue, count: usize) {
    for run in queue.started(count) {
        let id = run["id"].as_u64().unwrap();
        let detail = queue.world.finished(id);
        assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", queue.world.log(id, 0));
    }
}
