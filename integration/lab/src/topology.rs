//! What machines a partition has, how they are cabled, and which addresses they get: the out-of-band
//! network and the fabric of metal-stack's guide, each part twice.

use std::net::Ipv4Addr;

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Lets the partition be reached from outside.
    MgmtFirewall,
    /// Has an agent, and what switches need to start.
    MgmtServer,
    /// Connects the management ports of all switches to the management servers.
    MgmtSpine,
    /// Connects the BMCs of the workers.
    MgmtLeaf,
    /// Connects workers.
    Leaf,
    /// Connects leaves and exits.
    Spine,
    /// The way out of the fabric.
    Exit,
}

impl Role {
    /// All, in the order in which a partition is bootstrapped.
    pub const ALL: [Role; 7] = [
        Role::MgmtFirewall,
        Role::MgmtServer,
        Role::MgmtSpine,
        Role::MgmtLeaf,
        Role::Leaf,
        Role::Spine,
        Role::Exit,
    ];

    /// Its name in inventories.
    pub fn name(self) -> &'static str {
        match self {
            Role::MgmtFirewall => "mgmt-firewall",
            Role::MgmtServer => "mgmt-server",
            Role::MgmtSpine => "mgmt-spine",
            Role::MgmtLeaf => "mgmt-leaf",
            Role::Leaf => "leaf",
            Role::Spine => "spine",
            Role::Exit => "exit",
        }
    }

    /// What the names of such machines begin with.
    fn stem(self) -> &'static str {
        match self {
            Role::MgmtFirewall => "fw",
            Role::MgmtServer => "mgmt",
            Role::MgmtSpine => "mspine",
            Role::MgmtLeaf => "mleaf",
            Role::Leaf => "leaf",
            Role::Spine => "spine",
            Role::Exit => "exit",
        }
    }

    /// Whether it is provisioned by DHCP and ZTP.
    pub fn is_switch(self) -> bool {
        !matches!(self, Role::MgmtFirewall | Role::MgmtServer)
    }
}

/// Which machine of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What it is for.
    pub role: Role,
    /// Which of the two: 1 or 2.
    pub number: u8,
}

impl Place {
    /// All of a partition.
    pub fn all() -> impl Iterator<Item = Place> {
        Role::ALL.into_iter().flat_map(|role| [1, 2].map(|number| Place { role, number }))
    }

    /// Its name within the partition, such as `leaf01`.
    pub fn name(self) -> String {
        format!("{}0{}", self.role.stem(), self.number)
    }

    /// The last part of its address and of its number in BGP.
    fn octet(self) -> u8 {
        let row = Role::ALL.iter().position(|&role| role == self.role).unwrap_or_default();
        row as u8 * 10 + self.number
    }

    /// The address of its loopback.
    pub fn loopback(self, partition: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, partition, self.octet())
    }

    /// Its number in BGP: each machine has one of its own.
    pub fn asn(self, partition: u8) -> u32 {
        4_200_000_000 + u32::from(partition) * 1000 + u32::from(self.octet())
    }

    /// The hardware address of its management port.
    pub fn mac(self, partition: u8) -> String {
        format!("02:00:00:00:{partition:02x}:{:02x}", self.octet())
    }

    /// The hardware address of its port that leads to a neighbour.
    pub fn port_mac(self, partition: u8, neighbour: Place) -> String {
        format!("02:00:02:{partition:02x}:{:02x}:{:02x}", self.octet(), neighbour.octet())
    }

    /// The network of four addresses between its management port and what that is cabled to; none
    /// for machines without such a port.
    pub fn management(self, partition: u8) -> Option<Ipv4Addr> {
        self.managed_by()?;
        let row = self.octet() / 10;
        Some(Ipv4Addr::new(10, 0, partition, 128 + row * 8 + (self.number - 1) * 4))
    }

    /// What its management port is cabled to.
    pub fn managed_by(self) -> Option<Place> {
        let role = match self.role {
            Role::MgmtFirewall | Role::MgmtServer => return None,
            Role::MgmtSpine => Role::MgmtFirewall,
            Role::MgmtLeaf | Role::Leaf | Role::Spine | Role::Exit => Role::MgmtSpine,
        };
        Some(Place { role, number: self.number })
    }

    /// Its neighbours in BGP: each of the two machines of these roles, by a port of their name.
    pub fn neighbours(self) -> impl Iterator<Item = Place> {
        let roles: &[Role] = match self.role {
            Role::MgmtFirewall => &[Role::MgmtServer],
            Role::MgmtLeaf => &[Role::MgmtSpine],
            Role::MgmtServer => &[Role::MgmtFirewall, Role::MgmtSpine],
            Role::MgmtSpine => &[Role::MgmtServer, Role::MgmtLeaf],
            Role::Leaf | Role::Exit => &[Role::Spine],
            Role::Spine => &[Role::Leaf, Role::Exit],
        };
        roles.iter().flat_map(|&role| [1, 2].map(|number| Place { role, number }))
    }
}

/// The name of a management port.
pub const MANAGEMENT: &str = "mgmt0";

/// The port of a firewall that is outside.
pub const WAN: &str = "enp1s0";

/// The name of the port that leads to the management port of a machine.
pub fn leads_to(machine: Place) -> String {
    format!("m-{}", machine.name())
}
