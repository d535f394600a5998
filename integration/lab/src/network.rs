//! The network namespaces of a site's machines, and the cables between them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use garrison::exit::Failure;

use crate::topology::{MANAGEMENT, Place, Role, WAN, leads_to};

/// What lies outside of all partitions: a network with this host, and the firewalls.
#[derive(Debug, Clone)]
pub struct Outside {
    /// What the names of the site's namespaces and of its bridge begin with.
    pub tag: String,
    /// The third part of its addresses.
    third: u8,
}

impl Outside {
    /// A network that nothing else here uses.
    pub fn new() -> Result<Outside, Failure> {
        let taken = said("ip", &["-4", "-oneline", "address"])?;
        let is_free = |third: &u8| !taken.contains(&format!(" 10.214.{third}."));
        let third = std::iter::repeat_with(rand::random::<u8>).take(1000).find(is_free);
        let third =
            third.ok_or_else(|| Failure::internal("no network of 10.214.0.0/16 is free"))?;
        let tag = format!("lab{:06x}", rand::random::<u32>() >> 8);
        let outside = Outside { tag, third };
        let bridge = &outside.tag;
        let (address, stranger) = (outside.host(), outside.stranger());
        batch(&format!(
            "link add {bridge} type bridge\naddress add {address}/24 dev {bridge}\n\
             address add {stranger}/24 dev {bridge}\nlink set {bridge} up\n"
        ))?;
        Ok(outside)
    }

    /// This host's address.
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.third, 1)
    }

    /// Another address of this host, of nobody who administers anything.
    pub fn stranger(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.third, 250)
    }

    /// The address of the machine that stands beside the coordinator.
    pub fn control(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.third, 2)
    }

    /// A firewall's address outside.
    pub fn firewall(&self, partition: u8, firewall: Place) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.third, partition * 10 + firewall.number)
    }

    /// A machine's namespace.
    pub fn namespace(&self, partition: u8, machine: Place) -> String {
        format!("{}-{partition}-{}", self.tag, machine.name())
    }

    /// Makes the namespaces of a partition, and cables them.
    pub fn cable(&self, partition: u8) -> Result<(), Failure> {
        let namespace = |machine| self.namespace(partition, machine);
        let mut text = String::new();
        for machine in Place::all() {
            let _ = writeln!(text, "netns add {}", namespace(machine));
        }
        for (number, machine) in Place::all().enumerate() {
            let own = namespace(machine);
            // Each cable has two ends and is made by one of them.
            for other in machine.neighbours().filter(|other| machine.name() < other.name()) {
                let (port, far) = (other.name(), machine.name());
                let (mac, peer) =
                    (machine.port_mac(partition, other), other.port_mac(partition, machine));
                let theirs = namespace(other);
                let _ = writeln!(
                    text,
                    "link add {port} netns {own} address {mac} type veth \
                     peer name {far} address {peer} netns {theirs}"
                );
            }
            if let Some(other) = machine.managed_by() {
                let (mac, port, theirs) =
                    (machine.mac(partition), leads_to(machine), namespace(other));
                let _ = writeln!(
                    text,
                    "link add {MANAGEMENT} netns {own} address {mac} type veth peer name {port} netns {theirs}"
                );
            }
            if machine.role == Role::MgmtFirewall {
                text.push_str(&self.plug(&format!("{partition}{number}"), &own));
                let bmc = self.bmc(partition, machine.number);
                let _ = writeln!(
                    text,
                    "netns add {bmc}\nlink add bmc netns {own} type veth peer name {LAN} netns {bmc}"
                );
            }
            if machine.role == Role::MgmtLeaf {
                let [worker, bmc] = self.worker(partition, machine.number);
                let mac = worker_mac(partition, machine.number);
                let _ = writeln!(
                    text,
                    "netns add {worker}\nnetns add {bmc}\n\
                     link add bmc netns {own} type veth peer name {LAN} address {mac} netns {bmc}"
                );
            }
        }
        batch(&text)
    }

    /// The namespace of the BMC of a management server.
    pub fn bmc(&self, partition: u8, server: u8) -> String {
        format!("{}-{partition}-bmc0{server}", self.tag)
    }

    /// The namespaces of a worker and of its BMC, which is cabled to the management leaf of its number.
    pub fn worker(&self, partition: u8, number: u8) -> [String; 2] {
        ["worker", "wbmc"].map(|kind| format!("{}-{partition}-{kind}0{number}", self.tag))
    }

    /// Makes the namespace of a machine that stands outside of all partitions.
    pub fn place(&self, name: &str) -> Result<String, Failure> {
        let namespace = format!("{}-{name}", self.tag);
        batch(&format!("netns add {namespace}\n{}", self.plug("c", &namespace)))?;
        Ok(namespace)
    }

    /// What cables a namespace with the outside; `cable` tells it from the others.
    fn plug(&self, cable: &str, namespace: &str) -> String {
        let (bridge, port) = (&self.tag, format!("{}{cable}", &self.tag[3..]));
        format!(
            "link add {port} type veth peer name {WAN} netns {namespace}\n\
             link set {port} master {bridge} up\n"
        )
    }
}

/// The port of a BMC.
const LAN: &str = "lan";

/// The network of four addresses between a firewall and the BMC of its management server.
pub(crate) fn bmc_network(partition: u8, server: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, partition, 192 + (server - 1) * 4)
}

/// The network of four addresses between a firewall and its management server.
pub(crate) fn server_network(partition: u8, server: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, partition, 208 + (server - 1) * 4)
}

/// The network of four addresses between a management leaf and the BMC of its worker.
pub(crate) fn worker_network(partition: u8, leaf: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, partition, 216 + (leaf - 1) * 4)
}

/// The hardware address of a worker's BMC.
pub(crate) fn worker_mac(partition: u8, number: u8) -> String {
    format!("02:00:00:01:{partition:02x}:{number:02x}")
}

/// Whether a port answers who comes from this address of this host.
pub fn answers(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> bool {
    const CONNECT: &str = "import socket, sys; own, to, port = sys.argv[1:]; \
                           socket.create_connection((to, int(port)), 2, (own, 0))";
    let words = [from.to_string(), to.to_string(), port.to_string()];
    let [from, to, port] = words.each_ref().map(String::as_str);
    said("python3", &["-c", CONNECT, from, to, port]).is_ok()
}

/// Runs `ip` with a command a line.
fn batch(commands: &str) -> Result<(), Failure> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::usage(format!("ip: {error}; apt-get install iproute2")))?;
    ip.stdin.take().ok_or_else(|| Failure::internal("no pipe"))?.write_all(commands.as_bytes())?;
    let output = ip.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::internal(format!("ip: {words}(this takes root)"))),
    }
}

/// What a program prints.
pub(crate) fn said(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::usage(format!("{program}: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::internal(format!("{program} {}: {words}", arguments.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
