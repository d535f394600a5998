//! A job on a device: the way there, how to log in, and what is done around the script.

use serde::{Deserialize, Serialize};

use crate::name::DeviceName;
use crate::secret::SecretName;

/// A device and how to reach it, as the partition's inventory says, and what the job does there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// The device's name.
    pub device: DeviceName,
    /// Host name or IP address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// A pinned host key in OpenSSH's form, such as `ssh-ed25519 AAAA…`; empty if only authorities
    /// are pinned.
    pub host_key: String,
    /// Others that the device may show instead; agents of an older version know the first alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_host_keys: Vec<String>,
    /// Keys of authorities, in the same form, whose host certificates the device may show instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ca: Vec<String>,
    /// Whether RSA keys are good enough there, on both sides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rsa: bool,
    /// What understands the job's lines.
    #[serde(default, skip_serializing_if = "Kind::is_shell")]
    pub device_kind: Kind,
    /// The hosts through which it is reached, the nearest to the agent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jump: Vec<Hop>,
    /// The user that the script runs as, by `sudo`; none for the one who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<String>,
    /// Whether the script has a terminal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pty: bool,
    /// How long logging in may take, in seconds; none for the agent's own patience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// The secret of the job that is the private key to log in with; none for the agent's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretName>,
    /// Files that are put there before the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upload: Vec<Upload>,
    /// Files that are fetched when the script has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub download: Vec<Download>,
    /// The reboot behind all that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Reboot>,
}

/// A host on the way to a device, or the device itself, and how to log in there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Its name in the inventory.
    pub device: DeviceName,
    /// Host name or IP address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Its pinned host keys in OpenSSH's form.
    pub host_keys: Vec<String>,
    /// Keys of authorities, in the same form, whose host certificates it may show instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ca: Vec<String>,
    /// Whether RSA keys are good enough there, on both sides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rsa: bool,
}

/// What understands the lines of jobs on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A POSIX shell.
    #[default]
    Shell,
    /// A command line of the device's own: it gets each line as a request of its own.
    Cli,
}

impl Kind {
    /// Whether it is the usual one.
    pub fn is_shell(&self) -> bool {
        *self == Kind::Shell
    }
}

/// A file that is put onto a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its path in the job's working directory.
    pub from: String,
    /// Its path there, absolute or in the user's home; one that ends with `/` is a folder.
    pub to: String,
    /// Its permissions; none for 0755 if it can be executed here, else 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A file that is fetched from a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Its path there, absolute or in the user's home.
    pub from: String,
    /// Its path in the job's working directory; one that ends with `/` is a folder.
    pub to: String,
}

/// A reboot of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// How long the device may take until its user is logged in again, in seconds.
    pub wait_s: u32,
    /// Which host keys it may show then.
    #[serde(default, skip_serializing_if = "HostKey::is_pinned")]
    pub host_key: HostKey,
    /// The command that asks for it; none for `reboot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Which host keys a device may show behind a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKey {
    /// Those of the inventory.
    #[default]
    Pinned,
    /// Those too that the agent's host knows as new: see its policy.
    Renew,
}

impl HostKey {
    fn is_pinned(&self) -> bool {
        *self == HostKey::Pinned
    }
}

impl Ssh {
    /// A job on a device with a shell, and nothing beside its script.
    pub fn new(
        device: DeviceName,
        address: String,
        port: u16,
        user: String,
        host_key: String,
    ) -> Ssh {
        Ssh {
            device,
            address,
            port,
            user,
            host_key,
            more_host_keys: Vec::new(),
            host_ca: Vec::new(),
            rsa: false,
            device_kind: Kind::Shell,
            jump: Vec::new(),
            sudo: None,
            pty: false,
            timeout_s: None,
            key: None,
            upload: Vec::new(),
            download: Vec::new(),
            reboot: None,
        }
    }

    /// All host keys that the device may show.
    pub fn host_keys(&self) -> impl Iterator<Item = &str> {
        let all = std::iter::once(&self.host_key).chain(&self.more_host_keys);
        all.filter(|key| !key.is_empty()).map(String::as_str)
    }

    /// The way from the agent to the device, which is its last entry.
    pub fn way(&self) -> Vec<Hop> {
        let device = Hop {
            device: self.device.clone(),
            address: self.address.clone(),
            port: self.port,
            user: self.user.clone(),
            host_keys: self.host_keys().map(str::to_owned).collect(),
            host_ca: self.host_ca.clone(),
            rsa: self.rsa,
        };
        self.jump.iter().cloned().chain([device]).collect()
    }

    /// Whether files go from the job's working directory to the device, or the other way.
    pub fn has_files(&self) -> bool {
        !self.upload.is_empty() || !self.download.is_empty()
    }

    /// Whether an agent that knows of shells on devices alone would do it wrongly.
    pub(crate) fn is_more_than_a_shell(&self) -> bool {
        let plain = Ssh {
            more_host_keys: self.more_host_keys.clone(),
            timeout_s: self.timeout_s,
            ..Ssh::new(
                self.device.clone(),
                self.address.clone(),
                self.port,
                self.user.clone(),
                self.host_key.clone(),
            )
        };
        *self != plain
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;
    use crate::plan::{Job, Task};

    const OLD: &str = r#"{"device":"leaf01","address":"a","port":22,"user":"u","host_key":"k"}"#;

    #[test]
    fn one_host_key_is_written_as_it_was_before_there_could_be_more() {
        let ssh: Ssh = serde_json::from_str(OLD).unwrap();
        assert_eq!(ssh.host_keys().collect::<Vec<_>>(), ["k"]);
        assert_eq!(serde_json::to_string(&ssh).unwrap(), OLD);
        let ssh = Ssh { more_host_keys: vec!["l".into()], ..ssh };
        let again: Ssh = serde_json::from_slice(&serde_json::to_vec(&ssh).unwrap()).unwrap();
        assert_eq!(again.host_keys().collect::<Vec<_>>(), ["k", "l"]);
    }

    #[test]
    fn what_older_agents_would_leave_out_has_a_version_that_they_refuse() {
        let ssh: Ssh = serde_json::from_str(OLD).unwrap();
        let version = |ssh: &Ssh| {
            let task = Task::Ssh(Box::new(ssh.clone()));
            Order::version_of(&Job::new(
                "a".parse().unwrap(),
                "fra".parse().unwrap(),
                task,
                Vec::new(),
            ))
        };
        assert_eq!(version(&ssh), 1);
        assert_eq!(version(&Ssh { timeout_s: Some(60), ..ssh.clone() }), 1);
        let more = [
            Ssh { sudo: Some("root".into()), ..ssh.clone() },
            Ssh { pty: true, ..ssh.clone() },
            Ssh { key: Some("KEY".parse().unwrap()), ..ssh.clone() },
            Ssh { rsa: true, ..ssh.clone() },
            Ssh { device_kind: Kind::Cli, ..ssh.clone() },
            Ssh { jump: ssh.way(), ..ssh.clone() },
            Ssh {
                reboot: Some(Reboot { wait_s: 60, host_key: HostKey::Renew, run: None }),
                ..ssh.clone()
            },
            Ssh {
                upload: vec![Upload { from: "a".into(), to: "/b".into(), mode: Some(0o600) }],
                ..ssh
            },
        ];
        for ssh in more {
            assert_eq!(version(&ssh), 7, "{ssh:?}");
            let again: Ssh = serde_json::from_slice(&serde_json::to_vec(&ssh).unwrap()).unwrap();
            assert_eq!(again, ssh);
        }
    }

    #[test]
    fn a_device_without_pinned_keys_has_none() {
        let ssh: Ssh = serde_json::from_str(&OLD.replace("\"k\"", "\"\"")).unwrap();
        assert_eq!(ssh.host_keys().count(), 0);
        assert_eq!(ssh.way()[0].host_keys, [""; 0]);
    }
}
