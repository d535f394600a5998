//! A network namespace with one link to this host: an agent's host behind its firewall. The link can
//! be cut, slow, and lossy.

use std::net::Ipv4Addr;
use std::process::Command;

/// How the link is called inside.
pub const LINK: &str = "up0";

/// A namespace; removed when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    outer: String,
    address: Ipv4Addr,
}

impl Namespace {
    /// A namespace whose link is up.
    ///
    /// # Panics
    /// If there can be none: it takes root, and the program `ip` (Debian's iproute2).
    pub fn new() -> Namespace {
        let id = uuid::Uuid::new_v4().as_u128();
        // A network of four addresses, out of a range that nobody else here uses.
        let base = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 213, 0, 0)) + ((id as u32) & 0xFFFC));
        let [address, inside] = [1, 2].map(|host| Ipv4Addr::from(u32::from(base) + host));
        let tag = format!("{:010x}", id >> 88);
        let (name, outer) = (format!("garrison-{tag}"), format!("g-{tag}"));
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name, outer, address };
        let (name, outer) = (&namespace.name, &namespace.outer);
        ip(&["link", "add", outer, "type", "veth", "peer", "name", LINK, "netns", name]);
        ip(&["addr", "add", &format!("{address}/30"), "dev", outer]);
        ip(&["link", "set", outer, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{inside}/30"), "dev", LINK]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        namespace.up();
        namespace
    }

    /// This host's address, as it is reached from inside.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What starts a program inside.
    pub fn enter(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Mends the link.
    pub fn up(&self) {
        ip(&["-n", &self.name, "link", "set", LINK, "up"]);
    }

    /// Takes the link away.
    pub fn down(&self) {
        ip(&["-n", &self.name, "link", "set", LINK, "down"]);
    }

    /// Of what comes and goes over the link, loses this part at random.
    pub fn lose(&self, part: f64) {
        let part = part.to_string();
        for (chain, side) in [("INPUT", "--in-interface"), ("OUTPUT", "--out-interface")] {
            let random = ["-m", "statistic", "--mode", "random", "--probability", &part];
            self.iptables(&[&["-A", chain, side, LINK], &random[..], &["-j", "DROP"]].concat());
        }
    }

    /// Breaks each connection over the link that is used, and refuses new ones.
    pub fn refuse(&self) {
        let reset = ["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"];
        self.iptables(&[&["-A", "OUTPUT", "--out-interface", LINK], &reset[..]].concat());
    }

    /// Lets whatever comes and goes over the link vanish without a word.
    pub fn vanish(&self) {
        for (chain, side) in [("INPUT", "--in-interface"), ("OUTPUT", "--out-interface")] {
            self.iptables(&["-A", chain, side, LINK, "-j", "DROP"]);
        }
    }

    /// Takes back [`Namespace::lose`], [`Namespace::refuse`] and [`Namespace::vanish`].
    pub fn mend(&self) {
        self.iptables(&["-F"]);
    }

    /// Lets no more than this through the link in each direction, such as `20mbit`; what must wait
    /// is late by up to 300 ms.
    pub fn slow_down(&self, rate: &str) {
        let limit = ["root", "tbf", "rate", rate, "burst", "32k", "latency", "300ms"];
        run("tc", &[&["qdisc", "replace", "dev", &self.outer], &limit[..]].concat());
        run("tc", &[&["-n", &self.name, "qdisc", "replace", "dev", LINK], &limit[..]].concat());
    }

    fn iptables(&self, arguments: &[&str]) {
        ip(&[&["netns", "exec", &self.name, "iptables", "--wait"], arguments].concat());
    }
}

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with either of its ends; processes inside keep the namespace alive.
        let _ = Command::new("ip").args(["link", "del", &self.outer]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

/// Runs a program, which must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install iproute2"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {words}(this takes root)", arguments.join(" "));
}
