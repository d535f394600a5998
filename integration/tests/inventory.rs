//! Ansible's inventories, from and to: what the real `ansible-inventory` makes of an original and of
//! what comes back is the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use integration::{cases, program};
use serde_json::Value;

/// A host as Ansible sees it.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    address: String,
    port: u64,
    user: String,
    groups: BTreeSet<String>,
}

/// What `ansible-inventory` says.
struct Said(Value);

impl Said {
    /// Asks it about an inventory.
    fn of(inventory: &Path, home: &Path) -> Said {
        let out = Command::new("ansible-inventory")
            .args(["--list", "-i"])
            .arg(inventory)
            .current_dir(home)
            .env_clear()
            .envs([("HOME", home.as_os_str()), ("PATH", "/usr/bin:/bin:/usr/local/bin".as_ref())])
            .envs([("ANSIBLE_INVENTORY_UNPARSED_FAILED", "true"), ("LC_ALL", "C.UTF-8")])
            .output();
        let out = out.expect("ansible-inventory is missing: run `apt-get install ansible-core`");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Said(serde_json::from_slice(&out.stdout).unwrap())
    }

    fn vars(&self, host: &str) -> BTreeMap<String, Value> {
        let vars = self.0["_meta"]["hostvars"][host].as_object();
        vars.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Its hosts; those that name no user have `user`.
    fn hosts(&self, user: &str) -> BTreeMap<String, Host> {
        let mut hosts = BTreeMap::new();
        for (name, _) in self.members("all", &mut BTreeSet::new()) {
            let vars = self.vars(&name);
            let text = |key: &str, default: &str| {
                vars.get(key).and_then(Value::as_str).unwrap_or(default).to_owned()
            };
            let port = vars.get("ansible_port").and_then(|port| {
                port.as_u64().or_else(|| port.as_str().and_then(|port| port.parse().ok()))
            });
            let groups = self.0.as_object().unwrap().keys();
            let groups =
                groups.filter(|group| !["_meta", "all", "ungrouped"].contains(&group.as_str()));
            let has_it =
                |group: &&String| self.members(group, &mut BTreeSet::new()).contains_key(&name);
            let host = Host {
                address: text("ansible_host", &name),
                port: port.unwrap_or(22),
                user: text("ansible_user", user),
                groups: groups.filter(has_it).cloned().collect(),
            };
            hosts.insert(name, host);
        }
        hosts
    }

    /// Hosts of a group and of those in it.
    fn members(&self, group: &str, seen: &mut BTreeSet<String>) -> BTreeMap<String, ()> {
        if !seen.insert(group.to_owned()) {
            return BTreeMap::new();
        }
        let list = |key: &str| self.0[group][key].as_array().cloned().unwrap_or_default();
        let own = list("hosts").into_iter().map(|host| (host.as_str().unwrap().to_owned(), ()));
        let mut members: BTreeMap<_, _> = own.collect();
        for child in list("children") {
            members.extend(self.members(child.as_str().unwrap(), seen));
        }
        members
    }
}

fn garrison(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(program()).args(arguments).args(paths).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Known hosts with a key of every host.
fn known_hosts(dir: &Path) -> PathBuf {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    let path = dir.join("known_hosts");
    fs::write(&path, format!("* {key}\n[*]:2222 {key}\n")).unwrap();
    path
}

/// Imports `original`, exports it in both forms, and has Ansible compare. Gives the inventory's text.
fn returns(original: &Path, options: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (ours, known) = (dir.path().join("fra.yaml"), known_hosts(dir.path()));
    let import = ["inventory", "import", "--partition", "fra", "--user", "nobody"];
    let out = garrison(
        &[&import, options].concat(),
        &["--known-hosts".as_ref(), &known, "--file".as_ref(), &ours, original],
    );
    let warnings = text(&out.stderr);
    assert!(out.status.success(), "{warnings}");

    let file = dir.path().join("static.yaml");
    let out = garrison(&["inventory", "export", "--file"], &[&file, &ours]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let script = dir.path().join("dynamic");
    let program = program();
    let lines = format!(
        "#!/bin/sh\nexec {} inventory export \"$@\" {}\n",
        program.display(),
        ours.display()
    );
    fs::write(&script, lines).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let before = Said::of(original, dir.path());
    for form in [&file, &script] {
        let after = Said::of(form, dir.path());
        assert_eq!(after.hosts(""), before.hosts("nobody"), "{}", form.display());
        for host in before.hosts("").keys() {
            same_variables(host, &before.vars(host), &after.vars(host), &warnings);
        }
    }
    let host = before.hosts("").into_keys().next().unwrap();
    let out = garrison(&["inventory", "export", "--host", &host], &[&ours]);
    let vars: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(vars["ansible_host"].is_string(), "{vars}");
    fs::read_to_string(ours).unwrap()
}

/// Each variable comes back, or a warning names it; none comes from nowhere.
fn same_variables(
    host: &str,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    warnings: &str,
) {
    for (name, value) in before {
        let told = warnings.contains(&format!("`{name}` ("));
        match (value, after.get(name)) {
            (_, None) => assert!(told, "{name} of {host} is lost in silence:\n{warnings}"),
            (Value::String(value), Some(back)) => assert_eq!(back, value, "{name} of {host}"),
            (Value::Number(value), Some(back)) if name != "ansible_port" && value.is_i64() => {
                assert_eq!(*back, value.to_string(), "{name} of {host}");
            }
            (Value::Array(_) | Value::Object(_) | Value::Null, Some(back)) => {
                panic!("{name} of {host} is {value}, and came back as {back}");
            }
            _ => {}
        }
    }
    let ours = ["ansible_host", "ansible_port", "ansible_user"];
    let from_nowhere = |name: &&String| {
        !before.contains_key(*name)
            && !name.starts_with("garrison_")
            && !ours.contains(&name.as_str())
    };
    let more: Vec<_> = after.keys().filter(from_nowhere).collect();
    assert!(more.is_empty(), "{host}: {more:?}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory").join(name)
}

#[test]
fn an_inventory_in_ini_form_comes_back() {
    let text = returns(&fixture("site/hosts"), &[]);
    for line in
        ["  release: \"1.10\"\n", "      motd: \"welcome # here\"\n", "      rack: \"r 2\"\n"]
    {
        assert!(text.contains(line), "{line}{text}");
    }
    // What the group's files say goes before the inventory, and the host's before the group's.
    for (host, asn) in [("leaf01", 11), ("leaf02", 12), ("leaf03", 13), ("spine-a", 21)] {
        let device = text.split(&format!("  {host}:\n")).nth(1).unwrap();
        assert!(device.contains(&format!("asn: \"42000000{asn}\"")), "{host}: {text}");
    }
}

#[test]
fn an_inventory_in_yaml_form_comes_back() {
    returns(&fixture("site.yaml"), &[]);
}

#[test]
fn a_folder_of_inventories_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("10-leaves", "[leaves]\nleaf01\nleaf02\n"),
        ("20-spines.yml", "spines: { hosts: { spine01: { ansible_host: 10.0.0.21 } } }\n"),
        ("30-racks.json", "{\"r1\": {\"hosts\": {\"leaf01\": {}, \"spine01\": {}}}}\n"),
        ("notes.txt", "not an inventory\n"),
        ("group_vars/all/users.yml", "ansible_user: admin\n"),
        ("host_vars/leaf02.json", "{ \"ansible_port\": 2222 }\n"),
    ] {
        let path = dir.path().join("site").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    returns(&dir.path().join("site"), &[]);
}

#[test]
fn a_group_can_be_a_role_and_hosts_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let known = known_hosts(dir.path());
    let arguments = [
        "inventory",
        "import",
        "--partition",
        "fra",
        "--skip",
        "spines",
        "--skip",
        "leaf01",
        "--role-group",
        "leaves=leaf",
        "--role-group",
        "mgmt_servers",
        "--known-hosts",
    ];
    let out = garrison(&arguments, &[&known, &fixture("site/hosts")]);
    let yaml = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(yaml.matches("    role: leaf\n").count(), 3, "{yaml}");
    assert_eq!(yaml.matches("    role: mgmt-servers\n").count(), 1, "{yaml}");
    for gone in ["spine", "leaf01", "leaves"] {
        assert!(!yaml.contains(gone), "{gone}: {yaml}");
    }
}

#[test]
fn inventories_of_real_sites_come_back() {
    let what = "inventories with files of mini-lab, metal-roles and ansible-common";
    let Some(cases) = cases::folder(2, what) else { return };
    returns(&cases.join("mini-lab/inventory-partition.v0.5.0.yaml"), &[]);

    let dir = tempfile::tempdir().unwrap();
    let hosts =
        "[spines]\nspine01 ansible_host=10.0.0.1\n[leaves]\nleaf01\n[mgmt_firewalls]\nfw01\n";
    fs::write(dir.path().join("hosts"), hosts).unwrap();
    for (from, to) in [
        ("metal-roles/sonic-spine-input.yaml", "host_vars/spine01.yaml"),
        ("metal-roles/mgmt-firewall-defaults.yaml", "group_vars/mgmt_firewalls.yaml"),
        ("metal-roles/image-cache-defaults.yaml", "group_vars/all.yaml"),
        ("metal-roles/ztp-config_db.json", "group_vars/spines.json"),
        ("ansible-common/vector-nested.yaml", "group_vars/leaves.yaml"),
    ] {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(cases.join(from), to).unwrap();
    }
    let text = returns(&dir.path().join("hosts"), &[]);
    assert!(text.contains("sonic_asn: \"420000000\""), "{text}");
}

#[test]
fn keys_come_from_hashed_known_hosts_and_none_is_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known_hosts");
    let keys = [1, 2, 3].map(|number| {
        let path = dir.path().join(format!("key{number}"));
        let mut keygen = Command::new("ssh-keygen");
        let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.expect("run `apt-get install openssh-client`").success());
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        public.split(' ').take(2).collect::<Vec<_>>().join(" ")
    });
    let lines = format!("10.0.0.1 {}\n10.0.0.1 {}\n[leaf02]:2222 {}\n", keys[0], keys[1], keys[2]);
    fs::write(&known, lines).unwrap();
    let hashed = Command::new("ssh-keygen").arg("-Hf").arg(&known).output().unwrap();
    assert!(hashed.status.success(), "{}", text(&hashed.stderr));
    assert!(fs::read_to_string(&known).unwrap().starts_with("|1|"));

    let hosts = dir.path().join("hosts");
    fs::write(
        &hosts,
        "[all:vars]\nansible_user=admin\n[a]\nleaf01 ansible_host=10.0.0.1\nleaf02:2222\n",
    )
    .unwrap();
    let import = ["inventory", "import", "--partition", "fra", "--known-hosts"];
    let out = garrison(&import, &[&known, &hosts]);
    let yaml = text(&out.stdout);
    for key in &keys {
        assert!(yaml.contains(key), "{key}\n{yaml}{}", text(&out.stderr));
    }

    fs::write(
        &hosts,
        "[a]\nleaf01 ansible_host=10.0.0.1 ansible_user=admin\nleaf03:2222 ansible_user=admin\n",
    )
    .unwrap();
    let ours = dir.path().join("fra.yaml");
    let out = garrison(&import, &[&known, &hosts, "--file".as_ref(), &ours]);
    let told = text(&out.stderr);
    assert_eq!((out.status.code(), ours.exists()), (Some(2), false), "{told}");
    assert!(told.contains("ssh-keyscan -p 2222 leaf03") && told.contains("hosts:3:1"), "{told}");
    assert!(!told.contains("leaf01"), "{told}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let known = known_hosts(dir.path());
    let ours = dir.path().join("fra.yaml");
    for (name, content, place, words) in [
        ("hosts", "[a]\nleaf[01:100] ansible_user=x\n", ":2:1", "same length"),
        ("hosts", "[a]\nleaf01 'x\n", ":2:1", "a quote is not closed"),
        ("hosts", "[a]\nleaf01 x\n", ":2:1", "is no variable"),
        ("hosts", "[a:b]\nleaf01\n", ":1:1", "no sections of the kind"),
        ("hosts", "[a b]\nleaf01\n", ":1:1", "no section"),
        ("hosts", "[a:vars]\nx=1\n", ":1:1", "no group `a`"),
        ("hosts", "[a:children]\n  b\n", ":2:3", "no group `b`"),
        ("hosts", "[a:children]\nb\n[b:children]\na\n", ":4:1", "in itself"),
        ("hosts", "leaf01\n", ":1:1", "which user"),
        ("hosts", "leaf01 ansible_user=x ansible_port=ssh\n", ":1:1", "no usable port"),
        ("hosts", "leaf01 ansible_user=\"{{ me }}\"\n", ":1:1", "a template"),
        ("hosts", "leaf01 ansible_user=x\nLeaf01 ansible_user=x\n", ":1:1", "both be called"),
        ("hosts", "leaf01 ansible_user=x ansible_host=a_b\n", "would be written:", "IP address"),
        ("hosts", "#!/bin/sh\n", "hosts\n", "a program"),
        ("a.yaml", "all:\n  hosts: [leaf01]\n", ":2:10", "must be a mapping"),
        ("a.yaml", "plugin: aws_ec2\n", ":1:1", "plugin"),
        ("a.yaml", "a: {\n", ":2:1", "P004"),
        ("a.json", "{\n", "a.json\n", "not JSON"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let import = ["inventory", "import", "--partition", "fra", "--known-hosts"];
        let out = garrison(&import, &[&known, "--file".as_ref(), &ours, &path]);
        let told = text(&out.stderr);
        assert_eq!((out.status.code(), ours.exists()), (Some(2), false), "{content}\n{told}");
        assert!(told.contains(place) && told.contains(words), "{content}\n{told}");
    }
}

#[test]
fn a_file_that_exists_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (known, ours) = (known_hosts(dir.path()), dir.path().join("fra.yaml"));
    fs::write(&ours, "mine").unwrap();
    let import = ["inventory", "import", "--partition", "fra", "--user", "x", "--known-hosts"];
    let out = garrison(&import, &[&known, "--file".as_ref(), &ours, &fixture("site.yaml")]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("exists already"));
    assert_eq!(fs::read_to_string(ours).unwrap(), "mine");
}

#[test]
fn roles_groups_and_labels_are_groups_of_ansible() {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join("fra.yaml");
    let device = |more: &str| {
        format!(
            "{{ address: 10.0.0.1, user: admin, host_key: ssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB, {more} }}"
        )
    };
    let yaml = format!(
        "partition: fra\ntimezone: Europe/Berlin\nlabels: {{ env: prod }}\nvariables: {{ N: \"no\" }}\ndevices:\n  \
         a: {}\n  \"01\": {}\n",
        device("role: mgmt-leaf, group: rack1, labels: { rack: r1, odd: true, os: 4.2.1 }"),
        device("variables: { X: \"a: b\" }"),
    );
    fs::write(&ours, yaml).unwrap();
    let file = dir.path().join("static.yaml");
    let out = garrison(&["inventory", "export", "--file"], &[&file, &ours]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said = Said::of(&file, dir.path());
    let hosts = said.hosts("");
    let groups: Vec<_> = hosts["a"].groups.iter().map(String::as_str).collect();
    // `os_4.2.1` is no name that a group can have.
    assert_eq!(groups, ["mgmt_leaf", "odd", "rack1", "rack_r1"]);
    assert!(hosts["01"].groups.is_empty());
    let vars = said.vars("01");
    for (name, value) in [
        ("X", "a: b"),
        ("N", "no"),
        ("garrison_partition", "fra"),
        ("garrison_timezone", "Europe/Berlin"),
    ] {
        assert_eq!(vars[name], *value, "{name}");
    }
    let out = garrison(&["inventory", "export", "--list"], &[&ours]);
    let list: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(list["_meta"]["hostvars"]["a"]["garrison_labels"]["os"], "4.2.1");
    assert_eq!(list["ungrouped"]["hosts"], serde_json::json!(["01"]));
    let out = garrison(&["inventory", "export", "--host", "b"], &[&ours]);
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn lint_checks_inventories_where_there_are_no_pipelines() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("partitions");
    fs::create_dir(&folder).unwrap();
    let lint = || {
        let arguments = ["lint", "--inventory", "partitions"];
        Command::new(program()).args(arguments).current_dir(dir.path()).output().unwrap()
    };
    fs::write(folder.join("fra.yaml"), "partition: fra\ndevices: {}\n").unwrap();
    assert_eq!(lint().status.code(), Some(0), "{}", text(&lint().stderr));
    fs::write(folder.join("fra.yaml"), "partition: muc\ntimezone: x\ndevices: {}\n").unwrap();
    let told = text(&lint().stdout);
    assert_eq!(lint().status.code(), Some(2), "{told}");
    assert!(told.contains("P070") && told.contains("P074"), "{told}");
}
