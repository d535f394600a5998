//! A network namespace with one link to this host: an agent's host behind its firewall.

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
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What starts a program inside.
    pub fn enter(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Mends the link.
    pub fn up(&self) {
        ip(&["-n", &self.name, "link", "set", LINK, "up"]);
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
    let output = Command::new("ip").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("ip: {error}; apt-get install iproute2"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {words}(this takes root)", arguments.join(" "));
}
