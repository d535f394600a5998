//! One command on 50 devices, each an sshd of its own on this host: beside parallel `ssh` for the time, and
//! beside Ansible for the CPU time of the side that asks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use garrison::client::Client;
use garrison::site::{Site, wait_within};
use integration::sshd::{Sshd, make_key};
use integration::{ok, program};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

use super::idle::cpu_ticks_of_all;
use super::{compared, trigger};

const DEVICES: usize = 50;

/// Each way is measured so often; the middle one counts.
const TIMES: usize = 5;

/// Most sessions at a time that `ssh` is tried with.
const PARALLEL: [usize; 2] = [10, 50];

pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("user");
    make_key(&key);
    let start = |n: usize| {
        let folder = dir.path().join(format!("device-{n}"));
        fs::create_dir(&folder).unwrap();
        Sshd::admitting(&folder, &dir.path().join("user.pub"))
    };
    let devices: Vec<Sshd> = (0..DEVICES).map(start).collect();
    let site = site(dir.path(), &devices);
    let client = ok(site.client());
    let pids = [site.agent_pid("fra", "mgmt01").unwrap(), site.coordinator_pid().unwrap()];
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    // The first one has the source packed, and is not counted.
    for time in 0..=TIMES {
        let before: u64 = pids.iter().map(|pid| cpu_ticks_of_all(*pid)).sum();
        let begun = Instant::now();
        trigger(&client, "main");
        let done = || is_done(&client, time as u64 + 1).then_some(());
        ok(wait_within(Duration::from_secs(60), "the run's end", done));
        let took = begun.elapsed().as_secs_f64();
        let after: u64 = pids.iter().map(|pid| cpu_ticks_of_all(*pid)).sum();
        if time > 0 {
            wall.push(took);
            cpu.push((after - before) as f64 / 100.0);
        }
    }
    let peers = Peers::new(dir.path(), &devices, &key);
    let ways = PARALLEL.map(|parallel| {
        let times = measured(|| peers.ssh(parallel));
        (
            format!("xargs -P{parallel} ssh"),
            times.into_iter().map(|(wall, _)| wall).collect::<Vec<_>>(),
        )
    });
    let best = ways.into_iter().min_by(|a, b| middle(&a.1).total_cmp(&middle(&b.1)));
    let (name, times): (String, Vec<f64>) = best.unwrap();
    compared("ssh", "fanout_50_s", "s", &sorted(wall), &name, middle(&times));
    let ansible = measured(|| peers.ansible()).into_iter().map(|(_, cpu)| cpu).collect::<Vec<_>>();
    let name = "ansible -m raw -f 50";
    compared("ssh", "fanout_50_client_cpu_s", "s", &sorted(cpu), name, middle(&ansible));
}

/// Whether this run is there and has ended.
fn is_done(client: &Client, run: u64) -> bool {
    let runs: Value = ok(client.get("/api/v1/runs?limit=1"));
    runs[0]["id"] == run && !runs[0]["finished_us"].is_null()
}

/// A site with these devices and one job for each.
fn site(dir: &Path, devices: &[Sshd]) -> Site {
    let entries: String = (0..)
        .zip(devices)
        .map(|(n, it)| it.entry(&format!("leaf{n:02}"), ", role: leaf"))
        .collect();
    let inventory = format!("partition: fra\ndevices:\n{entries}");
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  all: { devices: { role: leaf }, ssh: {}, run: 'true' }\n";
    let mut site = ok(Site::new(&dir.join("site"), &program(), &["fra"]));
    ok(site.commit(&[(".garrison/bench.yaml", pipeline), ("partitions/fra.yaml", &inventory)]));
    site.set_max_age(3600);
    ok(site.start_coordinator());
    let policy = format!("[ssh]\nkeys = [\"{}/user\"]\n", dir.display());
    ok(site.add_agent("fra", "mgmt01", DEVICES as u32, &policy));
    site
}

/// What others need to know of the devices, in files.
struct Peers {
    ports: String,
    inventory: PathBuf,
    options: Vec<String>,
}

impl Peers {
    fn new(dir: &Path, devices: &[Sshd], key: &Path) -> Peers {
        let (known, inventory) = (dir.join("known_hosts"), dir.join("hosts"));
        let (mut keys, mut hosts, mut ports) = (String::new(), String::new(), String::new());
        for (n, Sshd { port, host_key, .. }) in devices.iter().enumerate() {
            let _ = writeln!(keys, "[127.0.0.1]:{port} {host_key}");
            let _ = writeln!(hosts, "leaf{n:02} ansible_host=127.0.0.1 ansible_port={port}");
            let _ = writeln!(ports, "{port}");
        }
        fs::write(&known, keys).unwrap();
        fs::write(&inventory, hosts).unwrap();
        let options = ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-i"];
        let options = options.map(str::to_owned).into_iter();
        let key = [key.display().to_string(), "-o".to_owned()];
        let known = format!("UserKnownHostsFile={}", known.display());
        Peers { ports, inventory, options: options.chain(key).chain([known]).collect() }
    }

    fn ssh(&self, parallel: usize) {
        let mut xargs = Command::new("xargs");
        xargs.args(["-P", &parallel.to_string(), "-I", "{}", "ssh", "-p", "{}"]);
        xargs.args(&self.options).args(["root@127.0.0.1", "true"]);
        let mut child = xargs.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), self.ports.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn ansible(&self) {
        let mut ansible = Command::new("ansible");
        ansible.args(["all", "-m", "raw", "-a", "true", "-u", "root", "-f", &DEVICES.to_string()]);
        ansible.arg("-i").arg(&self.inventory).arg("--ssh-common-args").arg(self.options.join(" "));
        ansible.env("ANSIBLE_SSH_ARGS", "").stdout(Stdio::null());
        assert!(ansible.status().unwrap().success(), "install ansible-core");
    }
}

/// Seconds of time and of CPU time, each time it is done.
fn measured(mut act: impl FnMut()) -> Vec<(f64, f64)> {
    let once = |_| {
        let (before, begun) = (children_s(), Instant::now());
        act();
        (begun.elapsed().as_secs_f64(), children_s() - before)
    };
    (0..TIMES).map(once).collect()
}

/// CPU time of all children that have ended.
fn children_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |it: nix::sys::time::TimeVal| it.tv_sec() as f64 + it.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

fn middle(times: &[f64]) -> f64 {
    sorted(times.to_vec())[times.len() / 2]
}
