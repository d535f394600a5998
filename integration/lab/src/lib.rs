//! A simulated site of metal-stack's kind: partitions of two management firewalls, management
//! servers, management spines and leaves, leaves, spines and exits. Each machine is real daemons
//! (FRR, sshd, dnsmasq, nginx, dockerd, the agent …) in namespaces of its own, out of its box at
//! first: firewalls wait for somebody at their console, servers are switched off and empty, switches
//! ask by DHCP for their configuration. Two workers are switched off; their BMCs ask for addresses.
//!
//! It takes root, and what `deploy/install-test-needs` installs.

pub mod inventory;
pub mod machine;
pub mod network;
pub mod operator;
pub mod proxy;
pub mod topology;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use garrison::exit::Failure;
use garrison::site::wait_within;

use machine::{Factory, Machine};
use network::Outside;
use topology::{MANAGEMENT, Place, Role};

/// Ends whatever a lab left behind, whoever made it and however that ended.
const TAKE_DOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/machine/take-down");

/// How long a machine may take to do what it was told.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The lab; dropping it switches everything off and removes its files.
pub struct Lab {
    dir: PathBuf,
    /// The network outside of all partitions.
    pub outside: Outside,
    /// The partitions, in the order in which they were asked for.
    pub partitions: Vec<Partition>,
    /// Takes everything down when its stdin closes, which is when this process ends.
    watchdog: Child,
}

/// A partition of the lab.
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Which one it is, from 1 on; the third part of its addresses.
    pub number: u8,
    /// Its machines by name.
    pub machines: BTreeMap<String, Machine>,
    /// Its workers, switched off, whose BMCs are cabled to the management leaves.
    pub workers: [Machine; 2],
}

impl Lab {
    /// A lab in `dir` with these partitions, cabled, and out of its box. Firewalls and switches are
    /// switched on.
    pub fn new(dir: &Path, partitions: &[&str]) -> Result<Lab, Failure> {
        let outside = Outside::new()?;
        let watchdog = Command::new(TAKE_DOWN)
            .arg(&outside.tag)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A signal for everything that was started from a terminal is not for it.
            .process_group(0)
            .spawn()?;
        let mut lab = Lab { dir: dir.to_owned(), outside, partitions: Vec::new(), watchdog };
        for (number, name) in (1..).zip(partitions) {
            let partition = lab.unpack(name, number)?;
            lab.partitions.push(partition);
        }
        Ok(lab)
    }

    /// Its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What machines know of names.
    fn hosts(&self) -> String {
        format!(
            "{} garrison.lab\n{} registry.lab images.lab\n",
            self.outside.host(),
            self.outside.control()
        )
    }

    fn unpack(&self, name: &str, number: u8) -> Result<Partition, Failure> {
        self.outside.cable(number)?;
        let hosts = self.hosts();
        let mut machines = BTreeMap::new();
        for place in Place::all() {
            let (own, dir) = (place.name(), self.dir.join(name).join(place.name()));
            let namespace = self.outside.namespace(number, place);
            let mut machine = match place.role {
                Role::MgmtServer => {
                    let port = format!("fw0{}", place.number);
                    let factory = Factory { hosts: &hosts, services: &[], port: &port };
                    let bmc = self.outside.bmc(number, place.number);
                    Machine::with_bmc(&own, dir, [namespace, bmc], &factory)?
                }
                role => {
                    let services: &[_] = if role.is_switch() { &["dhcp", "ztp"] } else { &[] };
                    let factory = Factory { hosts: &hosts, services, port: MANAGEMENT };
                    Machine::new(&own, dir, namespace, &factory)?
                }
            };
            machine.plug_in()?;
            machines.insert(own, machine);
        }
        let workers = [self.unpack_worker(name, number, 1)?, self.unpack_worker(name, number, 2)?];
        Ok(Partition { name: name.to_owned(), number, machines, workers })
    }

    /// A worker without a disk: only its BMC answers.
    fn unpack_worker(&self, name: &str, number: u8, worker: u8) -> Result<Machine, Failure> {
        let own = format!("worker0{worker}");
        let factory = Factory { hosts: &self.hosts(), services: &[], port: "" };
        let namespaces = self.outside.worker(number, worker);
        let dir = self.dir.join(name).join(&own);
        let mut machine = Machine::with_bmc(&own, dir, namespaces, &factory)?;
        machine.plug_in()?;
        Ok(machine)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.partitions.clear();
        drop(self.watchdog.stdin.take());
        // It has nothing to say that would change what is to be done.
        let _ = self.watchdog.wait();
    }
}

impl Partition {
    /// A machine of it.
    pub fn machine(&self, name: &str) -> Result<&Machine, Failure> {
        self.machines.get(name).ok_or_else(|| self.unknown(name))
    }

    /// A machine of it, to switch on and off.
    pub fn machine_mut(&mut self, name: &str) -> Result<&mut Machine, Failure> {
        let unknown = self.unknown(name);
        self.machines.get_mut(name).ok_or(unknown)
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<&str> = self.machines.keys().map(String::as_str).collect();
        Failure::usage(format!(
            "no machine '{name}' in {}; there are {}",
            self.name,
            names.join(", ")
        ))
    }
}

/// Tries until it succeeds; at the end of the patience, the last failure counts.
fn insist<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut last = None;
    let done =
        wait_within(PATIENCE, "it to succeed", || attempt().map_err(|it| last = Some(it)).ok());
    done.map_err(|late| last.unwrap_or(late))
}
