//! `[doctor]`: what a server needs of its site's management firewall, for `garrison agent doctor` to test.

use serde::Deserialize;

/// The table. What is left out is not tested.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Duties {
    /// `HOST:PORT` of this server's public address: the server must reach itself by it.
    pub hairpin: Vec<String>,
    /// Interfaces on which a DHCP server must offer a lease.
    pub dhcp: Vec<String>,
    /// The protocol that the default route must come by, such as `bgp`, or `any`.
    pub default_route: Option<String>,
    /// Whether this server must forward IPv4.
    pub forwarding: bool,
}

impl Duties {
    /// What cannot be meant, and what to write instead.
    pub(super) fn problem(&self) -> Option<String> {
        let is_address = |text: &String| {
            let (host, port) = text.rsplit_once(':').unwrap_or_default();
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if let Some(text) = self.hairpin.iter().find(|text| !is_address(text)) {
            return Some(format!(
                "doctor.hairpin is '{text}': write HOST:PORT, such as 203.0.113.5:22"
            ));
        }
        // They are names of files below /sys.
        let is_name = |text: &String| {
            (1..16).contains(&text.len()) && !text.contains(['/', ' ']) && !text.starts_with('.')
        };
        let odd = self.dhcp.iter().find(|text| !is_name(text));
        odd.map(|text| format!("doctor.dhcp is '{text}': write an interface, such as eth1"))
    }
}
