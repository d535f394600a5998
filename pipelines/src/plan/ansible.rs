//! Ansible in a job: the inventory that it is given, and the recap that it is asked for.

use serde::{Deserialize, Serialize};

use crate::name::PartitionName;

/// What a job's Ansible is given, and that it is asked what came of each host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ansible {
    /// The partition's devices are its inventory, and their host keys alone are good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inventory: bool,
}

impl Ansible {
    /// Names the inventory's file.
    pub const INVENTORY: &str = "ANSIBLE_INVENTORY";
    /// Has Ansible check host keys, whatever a file of its configuration says.
    pub const HOST_KEY_CHECKING: &str = "ANSIBLE_HOST_KEY_CHECKING";
    /// Names the file with the private key to log in with; a job has it as a secret of this name.
    pub const PRIVATE_KEY: &str = "ANSIBLE_PRIVATE_KEY_FILE";
    /// The variables of a job with an inventory that nobody else may set.
    pub const VARIABLES: [&str; 2] = [Self::INVENTORY, Self::HOST_KEY_CHECKING];
}

/// The devices of a partition, as they were when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsibleInventory {
    /// Which one.
    pub partition: PartitionName,
    /// A static inventory of Ansible, in YAML.
    pub hosts: String,
    /// OpenSSH's file of known hosts.
    pub known_hosts: String,
}
