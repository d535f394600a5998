//! A site's management firewall in small: three network namespaces, the firewall between a server and
//! the world outside, which knows the firewall's public address alone.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::network::run;

/// The server's address, in the network behind the firewall.
pub const SERVER: &str = "10.212.0.2";

/// The firewall's public address.
pub const PUBLIC: &str = "198.51.100.1";

/// The port that it forwards to the server.
pub const PORT: u16 = 2222;

/// The namespaces; removed when this is dropped.
#[derive(Debug)]
pub struct Firewall {
    tag: String,
    /// Listens on the server.
    listener: Child,
}

impl Firewall {
    /// A firewall that forwards [`PORT`] of [`PUBLIC`] to the server, where something listens.
    ///
    /// # Panics
    /// If there can be none: it takes root, and Debian's iproute2 and iptables.
    pub fn new() -> Firewall {
        let id = uuid::Uuid::new_v4().as_u128();
        let tag = format!("{:08x}", id >> 96);
        let [server, firewall, outside] = NAMES.map(|name| named(&tag, name));
        for name in [&server, &firewall, &outside] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        for (other, own, inside, address) in [
            (&server, "in0", "10.212.0.1/24", "10.212.0.2/24"),
            (&outside, "out0", "198.51.100.1/24", "198.51.100.9/24"),
        ] {
            let pair = ["type", "veth", "peer", "name", "eth0", "netns", other];
            ip(&[&["-n", &firewall, "link", "add", own], &pair[..]].concat());
            ip(&["-n", &firewall, "addr", "add", inside, "dev", own]);
            ip(&["-n", &firewall, "link", "set", own, "up"]);
            ip(&["-n", other, "addr", "add", address, "dev", "eth0"]);
            ip(&["-n", other, "link", "set", "eth0", "up"]);
        }
        let by_bgp = ["default", "via", "10.212.0.1", "proto", "bgp"];
        ip(&[&["-n", &server, "route", "add"], &by_bgp[..]].concat());
        for (name, forwards) in [(&firewall, 1), (&server, 0)] {
            within(name, &["sysctl", "-q", &format!("net.ipv4.ip_forward={forwards}")]);
        }
        let port = PORT.to_string();
        let to = format!("{SERVER}:{PORT}");
        let matching = ["-d", PUBLIC, "-p", "tcp", "--dport", &port];
        let nat = ["iptables", "--wait", "-t", "nat", "-A", "PREROUTING"];
        let forward = ["-j", "DNAT", "--to-destination", &to];
        within(&firewall, &[&nat[..], &matching, &forward].concat());
        let listener = Command::new("ip")
            .args(["netns", "exec", &server, "python3", "-m", "http.server", &port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let firewall = Firewall { tag, listener: listener.expect("ip starts python3") };
        firewall.listens();
        firewall
    }

    /// Masquerades what comes from the server's network and goes back there.
    pub fn masquerade(&self) {
        let net = "10.212.0.0/24";
        let nat = ["iptables", "--wait", "-t", "nat", "-A", "POSTROUTING"];
        let rule = ["-s", net, "-d", SERVER, "-j", "MASQUERADE"];
        within(&named(&self.tag, "firewall"), &[&nat[..], &rule].concat());
    }

    /// What starts a program on the server.
    pub fn on_server(&self) -> [String; 4] {
        ["ip", "netns", "exec", &named(&self.tag, "server")].map(str::to_owned)
    }

    /// Whether somebody outside reaches the server by the public address.
    pub fn is_reached_from_outside(&self) -> bool {
        let outside = named(&self.tag, "outside");
        let dial = format!("exec 3<>/dev/tcp/{PUBLIC}/{PORT}");
        let within = ["netns", "exec", &outside, "timeout", "5", "bash", "-c", &dial];
        Command::new("ip").args(within).status().is_ok_and(|it| it.success())
    }

    fn listens(&self) {
        let server = named(&self.tag, "server");
        let listening = || {
            let listed =
                Command::new("ip").args(["netns", "exec", &server, "ss", "-ltnH"]).output();
            let listed = String::from_utf8_lossy(&listed.ok()?.stdout).into_owned();
            listed.contains(&format!(":{PORT} ")).then_some(())
        };
        crate::ok(garrison::site::wait("the server to listen", listening));
    }
}

const NAMES: [&str; 3] = ["server", "firewall", "outside"];

fn named(tag: &str, name: &str) -> String {
    format!("garrison-{tag}-{name}")
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

fn within(namespace: &str, command: &[&str]) {
    ip(&[&["netns", "exec", namespace], command].concat());
}

impl Default for Firewall {
    fn default() -> Firewall {
        Firewall::new()
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        for name in NAMES {
            let _ = Command::new("ip").args(["netns", "del", &named(&self.tag, name)]).status();
        }
    }
}

/// A DHCP server at the other end of a link of a network namespace.
#[derive(Debug)]
pub struct Dhcp {
    client: String,
    server: String,
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Dhcp {
    /// One that offers `10.211.0.50`, and says what to boot.
    ///
    /// # Panics
    /// If there can be none: it takes root, and Debian's iproute2 and dnsmasq-base.
    pub fn new() -> Dhcp {
        let id = uuid::Uuid::new_v4().as_u128();
        let [client, server] =
            ["client", "dhcp"].map(|name| named(&format!("{:08x}", id >> 96), name));
        for name in [&client, &server] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &client];
        ip(&[&["-n", &server, "link", "add", "lan0"], &pair[..]].concat());
        ip(&["-n", &server, "addr", "add", "10.211.0.1/24", "dev", "lan0"]);
        ip(&["-n", &server, "link", "set", "lan0", "up"]);
        ip(&["-n", &client, "link", "set", "eth0", "up"]);
        let folder = tempfile::Builder::new().prefix("garrison-").tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a log");
        let leases = format!("--dhcp-leasefile={}", folder.path().join("leases").display());
        let mut daemon = Command::new("ip");
        daemon.args(["netns", "exec", &server, "dnsmasq", "--keep-in-foreground", "--port=0"]);
        daemon.args(["--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-"]);
        daemon.args(["--log-dhcp", "--interface=lan0", "--bind-interfaces", &leases]);
        daemon.args(["--dhcp-range=10.211.0.50,10.211.0.50,1h", "--no-ping"]);
        daemon.args(["--dhcp-option=66,10.211.0.1", "--dhcp-option=67,onie-installer"]);
        daemon.args(["--dhcp-option=114,http://10.211.0.1/onie"]);
        daemon.arg("--dhcp-option=239,http://10.211.0.1/ztp.json");
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = daemon.spawn().expect("ip starts dnsmasq");
        let dhcp = Dhcp { client, server, daemon, folder };
        let starts = || dhcp.log().contains("sockets bound exclusively").then_some(());
        let started = garrison::site::wait("dnsmasq (apt-get install dnsmasq-base)", starts);
        started.unwrap_or_else(|failure| panic!("{failure}: {}", dhcp.log()));
        dhcp
    }

    /// What starts a program on the client, whose interface is `eth0`.
    pub fn on_client(&self) -> [String; 4] {
        ["ip", "netns", "exec", &self.client].map(str::to_owned)
    }

    /// What the server says.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends the server; its network stays.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) {
        self.daemon.kill().expect("it runs");
        self.daemon.wait().expect("it was our child");
    }
}

impl Default for Dhcp {
    fn default() -> Dhcp {
        Dhcp::new()
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}
