//! The real `ansible-playbook` as a job's guest: the partition's devices as its inventory, host keys that are
//! checked on the whole way, and what came of each host.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use integration::sshd::{Sshd, make_key};
use integration::{World, ok};
use serde_json::{Value, json};

/// Makes a file on each device, once.
const PLAYBOOK: &str = r#"
- hosts: all
  gather_facts: false
  tasks:
    - name: make a file
      raw: "test -e {{ FOLDER }}/{{ inventory_hostname }} || { touch {{ FOLDER }}/{{ inventory_hostname }}; echo made; }"
      register: file
      changed_when: "'made' in file.stdout"
"#;

/// Two devices that let in who has the same key, the second one behind the first, and what runs there.
struct Lab {
    world: World,
    dir: tempfile::TempDir,
    _leaves: [Sshd; 2],
}

impl Lab {
    /// Runs the playbook; `pinned` are host keys that the inventory has instead of the devices' own.
    fn new(pinned: [Option<&str>; 2], files: &[(&str, &str)]) -> Lab {
        assert!(
            Command::new("ansible-playbook").arg("--version").output().is_ok(),
            "ansible-playbook is missing: run `deploy/install-test-needs`"
        );
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("user");
        make_key(&key);
        fs::create_dir(dir.path().join("made")).unwrap();
        let leaves = ["leaf01", "leaf02"].map(|name| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            Sshd::admitting(&folder, &key.with_extension("pub"))
        });
        let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  deploy:\n    process: {}\n    \
                        inventory: ansible\n    variables: { ANSIBLE_CALLBACK_PLUGINS: own }\n    \
                        secrets: [{ name: ANSIBLE_PRIVATE_KEY_FILE, as: file }]\n    \
                        run: ansible-playbook deploy.yaml\n";
        let world = World::start(&["fra"], pipeline);
        let device = |place: usize, more: &str| {
            let key = pinned[place].unwrap_or(&leaves[place].host_key);
            let port = leaves[place].port;
            format!(
                "{{ address: 127.0.0.1, port: {port}, user: root, host_key: \"{key}\"{more} }}\n"
            )
        };
        let inventory = format!(
            "partition: fra\nvariables: {{ FOLDER: \"{}/made\" }}\ndevices:\n  leaf01: {}  leaf02: {}",
            dir.path().display(),
            device(0, ""),
            device(1, ", jump: leaf01"),
        );
        let own = [("partitions/fra.yaml", inventory.as_str()), ("deploy.yaml", PLAYBOOK)];
        ok(world.site.commit(&[&own, files].concat()));
        let set = ["secrets", "set", "ANSIBLE_PRIVATE_KEY_FILE", "--partition", "fra", "--file"];
        let said = world.garrison(&[&set[..], &[key.to_str().unwrap()]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        Lab { world, dir, _leaves: leaves }
    }

    /// The file that the playbook makes for a device.
    fn made(&self, device: &str) -> PathBuf {
        self.dir.path().join("made").join(device)
    }

    /// Runs it: its recap, what people are told, and the log.
    fn run(&self) -> (Value, String, String) {
        let number = self.world.trigger();
        let detail = self.world.finished(number);
        let log = self.world.log(number, 0);
        let recap = recap(&detail);
        assert!(!recap.is_null(), "{log}\n{detail:#}");
        (recap, self.world.garrison(&["show", &number.to_string()]).out, log)
    }
}

fn recap(detail: &Value) -> Value {
    detail["jobs"][0]["attempts"].as_array().unwrap().last().unwrap()["recap"].clone()
}

/// A host key that no device has.
fn another_key() -> String {
    let dir = tempfile::tempdir().unwrap();
    make_key(&dir.path().join("other"));
    fs::read_to_string(dir.path().join("other.pub")).unwrap().trim().to_owned()
}

#[test]
fn a_playbook_changes_the_devices_of_its_partition_once_and_the_run_says_so() {
    // A plugin of the job's own, which the repository's configuration enables, is there as well.
    let own = "from ansible.plugins.callback import CallbackBase\n\n\nclass CallbackModule(CallbackBase):\n    \
               CALLBACK_TYPE = 'aggregate'\n    CALLBACK_NAME = 'mine'\n    CALLBACK_NEEDS_ENABLED = True\n\n    \
               def v2_playbook_on_stats(self, stats):\n        self._display.display('mine is here')\n";
    let config = "[defaults]\ncallbacks_enabled = mine\nhost_key_checking = False\n";
    let lab = Lab::new([None, None], &[("own/mine.py", own), ("ansible.cfg", config)]);
    let (recap, said, log) = lab.run();
    assert!(lab.made("leaf01").exists() && lab.made("leaf02").exists(), "{log}");
    let host = |host: &str| json!({ "host": host, "ok": 1, "changed": 1 });
    assert_eq!(recap, json!({ "hosts": [host("leaf01"), host("leaf02")] }), "{log}");
    assert!(said.contains("\n1.0 deploy: 2 hosts, 2 changed\n"), "{said}");
    assert!(log.contains("mine is here\n"), "{log}");
    let (recap, said, log) = lab.run();
    assert_eq!(recap["hosts"][1], json!({ "host": "leaf02", "ok": 1 }), "{log}");
    assert!(said.contains("\n2.0 deploy: 2 hosts, no change\n"), "{said}");
}

#[test]
fn a_device_with_another_host_key_is_refused() {
    let other = another_key();
    let lab = Lab::new([None, Some(&other)], &[]);
    let (recap, said, log) = lab.run();
    assert!(lab.made("leaf01").exists() && !lab.made("leaf02").exists(), "{log}");
    assert_eq!(recap["hosts"][1], json!({ "host": "leaf02", "unreachable": 1 }), "{log}");
    assert!(said.contains("1.0 deploy: 2 hosts, 1 changed, leaf02 unreachable\n"), "{said}");
    assert!(said.contains("\n  leaf02 unreachable at 'make a file': "), "{said}");
    assert!(said.contains("Host key verification failed"), "{said}");
}

#[test]
fn a_device_behind_a_host_with_another_host_key_is_not_reached() {
    let other = another_key();
    let lab = Lab::new([Some(&other), None], &[]);
    let (recap, said, log) = lab.run();
    assert!(!lab.made("leaf01").exists() && !lab.made("leaf02").exists(), "{log}");
    assert!(
        said.contains("1.0 deploy: 2 hosts, no change, leaf01 and leaf02 unreachable\n"),
        "{said}"
    );
    assert_eq!(recap["failures"].as_array().unwrap().len(), 2, "{recap:#}");
}

/// A site whose job runs these playbooks on its own host, with a secret.
fn at_home(run: &str, playbook: &str) -> World {
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  deploy:\n    process: {{}}\n    recap: ansible\n    \
         secrets: [TOKEN]\n    run: {run}\n"
    );
    let world = World::start(&["fra"], &pipeline);
    ok(world.site.commit(&[("play.yaml", playbook)]));
    let said = world.garrison_reads(&["secrets", "set", "TOKEN"], b"hunter2hunter2");
    assert_eq!(said.code, 0, "{said:?}");
    world
}

#[test]
fn several_calls_add_up_and_their_messages_are_masked() {
    let play = r#"
- hosts: all
  gather_facts: false
  tasks:
    - name: ask nicely
      fail: { msg: "the token {{ lookup('env', 'TOKEN') }} is not\n good" }
      when: inventory_hostname == "localhost"
    - name: "use {{ lookup('env', 'TOKEN') }}"
      fail: { msg: something quiet }
      no_log: true
"#;
    let once = "ansible-playbook --inventory localhost,other --connection local play.yaml";
    let world = at_home(&format!("\"{once} || {once} --check\""), play);
    let number = world.trigger();
    let detail = world.finished(number);
    let log = world.log(number, 0);
    let recap = recap(&detail);
    assert_eq!(detail["status"], "failed", "{log}");
    assert_eq!(recap["hosts"][0], json!({ "host": "localhost", "failed": 2 }), "{log}");
    let failures = recap["failures"].as_array().unwrap();
    assert_eq!(failures[0]["message"], "the token [masked] is not good", "{recap:#}");
    assert_eq!((&failures[0]["task"], failures.len()), (&json!("ask nicely"), 4), "{recap:#}");
    assert_eq!(failures[1]["message"], "hidden by no_log", "{recap:#}");
    assert_eq!(failures[1]["task"], "use [masked]", "{recap:#}");
    assert!(!detail.to_string().contains("hunter2") && !log.contains("hunter2"), "{detail:#}");
    assert!(!detail.to_string().contains("quiet"), "{detail:#}");
}

#[test]
fn what_had_come_until_a_cancel_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    \
         - {{ name: first, command: \"touch {0}/begun\" }}\n    \
         - {{ name: second, command: \"sh -c 'touch {0}/half; exec sleep 600'\" }}\n",
        dir.path().display()
    );
    let world =
        at_home("ansible-playbook --inventory localhost, --connection local play.yaml", &play);
    let number = world.trigger();
    ok(garrison::site::wait("the second task", || dir.path().join("half").exists().then_some(())));
    let said = world.garrison(&["cancel", &number.to_string()]);
    assert_eq!(said.code, 0, "{said:?}");
    let detail = world.finished(number);
    assert_eq!(detail["jobs"][0]["status"], "cancelled", "{detail:#}");
    let expected = json!({ "hosts": [{ "host": "localhost", "ok": 1, "changed": 1 }] });
    assert_eq!(recap(&detail), expected, "{}", world.log(number, 0));
}

#[test]
fn a_job_whose_ansible_never_began_has_no_recap() {
    let world = at_home("\"echo nonsense > $GARRISON_RECAP\"", "[]");
    let detail = world.finished(world.trigger());
    assert_eq!(
        (&detail["status"], recap(&detail)),
        (&json!("succeeded"), Value::Null),
        "{detail:#}"
    );
}
