//! What an operator writes down of a partition: its inventory, as garrison reads it.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::network::{Outside, bmc_network, server_network, worker_mac, worker_network};
use crate::topology::{MANAGEMENT, Place, Role, WAN, leads_to};

/// What is particular to one partition's inventory.
#[derive(Debug)]
pub struct Site<'a> {
    /// Its name.
    pub partition: &'a str,
    /// Which one it is; see [`Place::loopback`].
    pub number: u8,
    /// The image for Ansible.
    pub image: &'a str,
    /// The public key that devices let in.
    pub deploy_key: &'a str,
    /// The public key of the authority that signs host keys.
    pub host_ca: &'a str,
    /// Where agents reach the coordinator, such as `https://10.214.3.1:7443`.
    pub coordinator: &'a str,
    /// The host keys that the firewalls are going to have, in their order.
    pub firewalls: [&'a str; 2],
}

/// The inventory's text.
pub fn text(site: &Site<'_>, outside: &Outside) -> String {
    let Site { partition, number, image, deploy_key, host_ca, coordinator, firewalls } = site;
    let number = *number;
    let mut text = format!(
        "partition: {partition}\nlabels: {{ kind: partition }}\ntimezone: Europe/Berlin\n\
         windows: {{ maintenance: [{{ from: \"00:00\", to: \"24:00\" }}] }}\n\
         variables:\n  DEPLOYMENT_IMAGE: {image}\n  INSTALLER_IMAGE: {image}\n  \
         MIRROR: {3}\n  NAMESERVERS: {3}\n  TIMESERVERS: {3}\n  DEPLOY_KEY: \"{deploy_key}\"\n  \
         NETWORK: 10.0.{number}.0/24\n  ADMINS: \"{2}/32 {3}/32\"\n  SERVERS: \"{0} {1}\"\n  IMAGES: {0}\n  BMC_USER: admin\n  IPMI_CIPHER: \"3\"\n  COORDINATOR: \"{coordinator}\"\n\
         agents:\n  \
         mgmt01: {{ device: mgmt01, labels: {{ place: inside }} }}\n  \
         mgmt02: {{ device: mgmt02, labels: {{ place: inside }} }}\ndevices:\n",
        server(1).loopback(number),
        server(2).loopback(number),
        outside.host(),
        outside.control(),
    );
    for place in Place::all() {
        let key = match place.role {
            Role::MgmtFirewall => {
                format!("host_key: \"{}\"", firewalls[usize::from(place.number - 1)].trim())
            }
            _ => format!("host_ca: \"{}\"", host_ca.trim()),
        };
        let address = match (place.role, place.management(number)) {
            (Role::MgmtFirewall, _) => outside.firewall(number, place),
            (_, Some(network)) => host(network, 2),
            (_, None) => place.loopback(number),
        };
        let _ = writeln!(
            text,
            "  {}:\n    address: {address}\n    user: admin\n    {key}\n    role: {}\n    group: {}\n    variables:",
            place.name(),
            place.role.name(),
            group(place),
        );
        for (name, value) in variables(place, number, outside) {
            let _ = writeln!(text, "      {name}: \"{value}\"");
        }
        if place.role == Role::MgmtServer {
            let firewall = outside.firewall(number, Place { role: Role::MgmtFirewall, ..place });
            let _ = writeln!(
                text,
                "  {}-outside:\n    address: {firewall}\n    port: {}\n    user: admin\n    \
                 host_ca: \"{}\"\n    role: mgmt-server-outside\n    \
                 variables: {{ SERVER: {0}, UPLINKS: \"{3}\" }}",
                place.name(),
                forwarded(place),
                host_ca.trim(),
                uplinks(place),
            );
        }
    }
    text
}

/// What the library's table of BMCs says of a partition's workers, of which one is cabled to each management leaf.
pub(crate) fn bmcs(partition: &str, number: u8) -> String {
    let line = |worker| {
        let leaf = Place { role: Role::MgmtLeaf, number: worker }.name();
        let (mac, address) = (worker_mac(number, worker), host(worker_network(number, worker), 2));
        format!("{partition} {leaf} worker0{worker} {mac} {address} admin\n")
    };
    [1, 2].map(line).concat()
}

fn server(number: u8) -> Place {
    Place { role: Role::MgmtServer, number }
}

/// An address of a network of four.
pub(crate) fn host(network: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network) + number)
}

/// The redundancy group of a machine: the two of its role.
fn group(place: Place) -> String {
    format!("{}s", place.role.name())
}

/// The port of its firewall that leads to a management server's sshd.
pub fn forwarded(server: Place) -> u16 {
    2210 + u16::from(server.number)
}

fn variables(place: Place, number: u8, outside: &Outside) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("ASN", place.asn(number).to_string()),
        ("LOOPBACK", place.loopback(number).to_string()),
        ("NEIGHBOURS", spaced(place.neighbours().map(Place::name))),
    ];
    if matches!(place.role, Role::MgmtServer | Role::MgmtSpine | Role::MgmtLeaf) {
        variables.push(("UPLINKS", uplinks(place)));
    }
    // What its ports are called and which addresses they have, and who gets which by DHCP there.
    let mut addresses = Vec::new();
    let mut leases = Vec::new();
    for other in Place::all().filter(|other| other.managed_by() == Some(place)) {
        if let Some(network) = other.management(number) {
            addresses.push(format!("{}={}/30", leads_to(other), host(network, 1)));
        }
    }
    match place.role {
        Role::MgmtFirewall => {
            let own = server(place.number);
            let bmc = bmc_network(number, place.number);
            let first = server_network(number, place.number);
            addresses.push(format!("{WAN}={}/24", outside.firewall(number, place)));
            variables.push(("WAN", WAN.to_owned()));
            addresses.push(format!("{}={}/30", own.name(), host(first, 1)));
            addresses.push(format!("bmc={}/30", host(bmc, 1)));
            leases.extend([host(first, 2), host(bmc, 2)].map(|it| it.to_string()));
            variables.push(("GATEWAY", outside.host().to_string()));
            let forwards = format!(
                "tcp:{}={}:22 udp:623={}:623",
                forwarded(own),
                host(first, 2),
                host(bmc, 2)
            );
            variables.push(("FORWARDS", forwards));
        }
        Role::MgmtServer => {
            let port = |other: Place| format!("{}={}", other.name(), place.port_mac(number, other));
            variables.push(("PORTS", spaced(place.neighbours().map(port))));
            variables.push(("INSTALL_PORT", format!("fw0{}", place.number)));
            variables.push(("INSTALL_DISK", "/dev/sda".to_owned()));
            variables.push(("UNNUMBERED", "true".to_owned()));
        }
        role => {
            if role == Role::MgmtSpine {
                variables.push(("UNNUMBERED", "true".to_owned()));
            }
            if role == Role::MgmtLeaf {
                addresses.push(format!("bmc={}/30", host(worker_network(number, place.number), 1)));
            }
            variables.push(("MAC", place.mac(number)));
            variables.push(("PORT", MANAGEMENT.to_owned()));
        }
    }
    if !addresses.is_empty() {
        variables.push(("ADDRESSES", spaced(addresses.into_iter())));
    }
    if !leases.is_empty() {
        variables.push(("LEASES", spaced(leases.into_iter())));
    }
    variables
}

/// The two of its neighbours that come up before it: they stand in that order.
fn uplinks(place: Place) -> String {
    spaced(place.neighbours().take(2).map(Place::name))
}

fn spaced(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
