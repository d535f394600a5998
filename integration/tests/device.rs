//! A job on a device, from trigger to verdict: a real sshd with a pinned host key.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use garrison::site::Port;
use integration::sshd::Sshd;
use integration::{World, ok};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

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

/// A TLS server on loopback, ended with this.
struct Tls(Child);

impl Tls {
    /// One that proves to be `localhost` by the authority whose certificate is left in `dir`.
    fn start(dir: &Path, port: u16) -> Tls {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = names.signed_by(&key, &authority).unwrap();
        for (name, pem) in [
            ("ca.pem", authority.pem()),
            ("tls.pem", certificate.pem()),
            ("tls.key", key.serialize_pem()),
        ] {
            fs::write(dir.join(name), pem).unwrap();
        }
        let server = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-cert", "tls.pem", "-key", "tls.key"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Tls(server.expect("openssl: run `deploy/install-test-needs`"))
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_job_waits_for_its_device_and_for_what_the_commits_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    let port = Port::reserve(Ipv4Addr::LOCALHOST).unwrap();
    let _tls = Tls::start(dir.path(), port.number());
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  switch:\n    ssh: {{ device: leaf01 }}\n    \
         run: 'true'\n    wait:\n      - ssh: {{}}\n      \
         - {{ run: echo state Established, output: 'Established$' }}\n      \
         - {{ tls: \"localhost:{}\", ca: files/ca.pem, interval: 1s, timeout: 20s }}\n  \
         named:\n    wait: [{{ ssh: {{ device: leaf01 }} }}]\n",
        port.number(),
    );
    let authority = fs::read_to_string(dir.path().join("ca.pem")).unwrap();
    ok(world.site.commit(&[(".garrison/deploy.yaml", &pipeline), ("files/ca.pem", &authority)]));
    let run = world.trigger();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.log(run, 0));
    for passed in ["ssh leaf01", "run `echo state Established`", "tls localhost:"] {
        let log = world.log(run, 0);
        assert!(log.contains(&format!("wait: {passed}")), "{log}");
    }
}

#[test]
fn files_go_from_the_commit_to_a_device_and_come_back_as_artifacts() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    let policy = format!(
        "[process]\nallow = true\n[ssh]\nkeys = [\"{}/user\"]\nsudo = []\n",
        dir.path().display()
    );
    // It is read for each order.
    fs::write(world.site.agent_dir("fra", "mgmt01").join("policy.toml"), policy).unwrap();
    let there = dir.path().join("there").display().to_string();
    fs::create_dir(&there).unwrap();
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  build:\n    process: {{}}\n    \
         run: echo built > image\n    artifacts: {{ paths: [image] }}\n  switch:\n    needs: [build]\n    \
         ssh: {{ device: leaf01 }}\n    upload:\n      - {{ from: image, to: {there}/, mode: \"0600\" }}\n      \
         - {{ from: \"{{{{ device.name }}}}.conf\", to: {there}/conf }}\n    \
         run: cat {there}/image {there}/conf > {there}/both\n    \
         download: [{{ from: {there}/both, to: \"logs/{{{{ device.name }}}}\" }}]\n    \
         artifacts: {{ paths: [logs/] }}\n  read:\n    process: {{}}\n    needs: [switch]\n    \
         run: cat logs/leaf01\n  root:\n    ssh: {{ device: leaf01, sudo: true }}\n    run: id\n"
    );
    ok(world.site.commit(&[(".garrison/deploy.yaml", &pipeline), ("leaf01.conf", "configured\n")]));
    let run = world.trigger();
    let detail = world.finished(run);
    let job = |name: &str| {
        let jobs = detail["jobs"].as_array().unwrap();
        let place = jobs.iter().position(|job| job["name"] == name).unwrap();
        (jobs[place].clone(), place)
    };
    let (switch, place) = job("switch");
    let log = world.log(run, place);
    assert_eq!(switch["status"], "succeeded", "{log}\n{detail:#}");
    assert!(log.contains("uploaded image to ") && log.contains("artifacts: 1 files, "), "{log}");
    let log = world.log(run, job("read").1);
    assert!(log.ends_with("built\nconfigured\n"), "{log}");
    let (root, _) = job("root");
    assert_eq!(root["status"], "refused", "{detail:#}");
    assert!(root["detail"].as_str().unwrap().contains("by ssh.sudo in "), "{root:#}");
}

#[test]
fn ssh_itself_takes_the_known_hosts_of_an_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let world = world(dir.path(), &device, &device.host_key);
    let (inventory, known) = (dir.path().join("fra.yaml"), dir.path().join("known_hosts"));
    let export = |key: &str| {
        let text = format!(
            "partition: fra\ndevices:\n  leaf01: {{ address: 127.0.0.1, port: {}, user: root, {key} }}\n",
            device.port
        );
        fs::write(&inventory, text).unwrap();
        let [inventory, known] = [&inventory, &known].map(|path| path.to_str().unwrap());
        let said =
            world.garrison(&["inventory", "export", "--known-hosts", "--file", known, inventory]);
        assert_eq!(said.code, 0, "{said:?}");
    };
    let log_in = || {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-F",
            "/dev/null",
            "-i",
        ]);
        ssh.arg(dir.path().join("user")).args(["-p", &device.port.to_string(), "-o"]);
        ssh.arg(format!("UserKnownHostsFile={}", known.display()));
        ssh.args(["root@127.0.0.1", "true"]).output().unwrap()
    };
    export(&format!("host_key: \"{}\"", device.host_key));
    let out = log_in();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let other = fs::read_to_string(dir.path().join("user.pub")).unwrap();
    export(&format!("host_key: \"{}\"", other.trim()));
    assert!(!log_in().status.success());
    export(&format!("host_ca: \"{}\"", other.trim()));
    let lines = fs::read_to_string(&known).unwrap();
    let names = format!("[leaf01]:{0},[127.0.0.1]:{0}", device.port);
    assert!(lines.starts_with(&format!("@cert-authority {names} ssh-ed25519 ")), "{lines}");
}

#[test]
fn an_agents_own_host_is_rebooted_by_another_agent_if_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let device = Sshd::start(dir.path());
    let mut world = world(dir.path(), &device, &device.host_key);
    let policy = format!("[ssh]\nkeys = [\"{}/user\"]\n", dir.path().display());
    ok(world.site.add_agent("fra", "mgmt02", 1, &policy));
    let inventory = |agents: &str| {
        format!(
            "partition: fra\nagents: {agents}\ndevices:\n  leaf01: {{ address: 127.0.0.1, port: {}, \
             user: root, host_key: \"{}\" }}\n",
            device.port, device.host_key
        )
    };
    let pair = inventory("{ mgmt01: { device: leaf01 }, mgmt02: {} }");
    let asked = dir.path().join("asked");
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  update:\n    ssh: {{ device: leaf01 }}\n    \
         run: echo updated\n    reboot: {{ wait: 10s, run: \"touch {}\" }}\n",
        asked.display()
    );
    ok(world.site.commit(&[("partitions/fra.yaml", &pair), (".garrison/deploy.yaml", &pipeline)]));
    let detail = world.finished(world.trigger());
    let job = &detail["jobs"][0];
    assert_eq!((&job["agent"], &job["status"]), (&"mgmt02".into(), &"infra_error".into()));
    // All of this runs on one host, which the agent sees by its boot id.
    let words = job["detail"].as_str().unwrap();
    assert!(words.contains("leaf01 is not rebooted: it is the host of this agent"), "{words}");
    assert!(!asked.exists());

    let alone = inventory("{ mgmt01: { device: leaf01 } }");
    ok(world.site.commit(&[("partitions/fra.yaml", &alone)]));
    let said = world.garrison(&["trigger", "deploy", "--repository", "infra"]);
    assert!(said.code == 1 && format!("{said:?}").contains("P123"), "{said:?}");
}
