//! What the site allows on this management server, whatever the coordinator orders.
//!
//! Written by the site, by default in [`DEFAULT_PATH`], never by the coordinator:
//!
//! ```toml
//! [process]
//! allow = false           # jobs that run as processes of this host
//! repositories = ["*"]    # whose
//!
//! [container]
//! allow = true
//! images = ["*"]          # `*` stands for any characters
//! host_network = false
//!
//! [ssh]
//! allow = true
//! users = ["*"]
//! devices = ["*"]
//! jump = ["*"]            # devices through which others are reached
//! sudo = ["*"]            # users that scripts on devices may become
//! reboot = ["*"]          # devices that may be rebooted
//! keys = []               # private keys that log in, without a passphrase: Ed25519 or ECDSA, or
//!                         # RSA for devices that allow it; absolute paths, tried in this order, such
//!                         # as "/etc/garrison/keys/id_ed25519"; without one, no device is reached
//! secret_keys = true      # jobs may log in with a key of their own secrets instead
//! # new_host_keys = "/var/lib/garrison/host-keys"   # where DEVICE.pub holds the new host keys of a
//!                         # device that was reinstalled; without it, no job may take new ones
//!
//! [wait]
//! addresses = ["*"]       # which HOST:PORT probes connect to
//!
//! [mask]
//! files = []              # their contents must never leave this host in output
//! ```
//!
//! These values are the defaults. Privileged containers, host mounts and the engine's socket cannot
//! be allowed at all.

use std::path::{Path, PathBuf};
use std::{fs, io};

use pipelines::order::Order;
use pipelines::outcome::Outcome;
use pipelines::plan::{Container, Hop, HostKey, Network, Ssh, Task};
use pipelines::probe::Probe;
use serde::Deserialize;

/// Where the policy rests if nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/garrison/policy.toml";

/// A site's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    path: PathBuf,
    rules: Rules,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule in the policy, such as `process.allow`.
    pub rule: &'static str,
    /// What it says, and what to do.
    pub reason: String,
}

/// Why a policy cannot be used; without one, nothing may run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The policy, or a file that it names.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no policy; the source names line and column.
    #[error("{path}: {source}")]
    Parse {
        /// The policy.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rules {
    process: ProcessRules,
    container: ContainerRules,
    ssh: SshRules,
    wait: WaitRules,
    mask: MaskRules,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProcessRules {
    allow: bool,
    repositories: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ContainerRules {
    allow: bool,
    images: Vec<String>,
    host_network: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SshRules {
    allow: bool,
    users: Vec<String>,
    devices: Vec<String>,
    jump: Vec<String>,
    sudo: Vec<String>,
    reboot: Vec<String>,
    keys: Vec<AbsolutePath>,
    secret_keys: bool,
    new_host_keys: Option<AbsolutePath>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WaitRules {
    addresses: Vec<String>,
}

/// A path that means the same in the agent and in a runner.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
struct AbsolutePath(PathBuf);

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MaskRules {
    files: Vec<PathBuf>,
}

impl Policy {
    /// Reads the policy at `path`, or at [`DEFAULT_PATH`], which may be missing: then the defaults
    /// hold. A path that was given must be there, since a mistyped one would loosen the policy.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        match path {
            Some(path) => Self::parse(path, &read(path)?),
            None => Self::load_or_default(Path::new(DEFAULT_PATH)),
        }
    }

    fn load_or_default(path: &Path) -> Result<Self, Error> {
        match read(path) {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::parse(path, "")
            }
            text => Self::parse(path, &text?),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let path = path.to_owned();
        match toml::from_str(text) {
            Ok(rules) => Ok(Self { path, rules }),
            Err(source) => Err(Error::Parse { path, source }),
        }
    }

    /// Whether `order` may be carried out here.
    pub fn check(&self, order: &Order) -> Result<(), Refusal> {
        match &order.job.task {
            Task::Process => self.check_process(order.repository.as_str())?,
            Task::Container(container) => self.check_container(container)?,
            Task::Ssh(ssh) => self.check_ssh(ssh)?,
            // They change nothing here.
            Task::Render(_) | Task::Wait => {}
            Task::Gate(_) => return Err(not_for_agents()),
        }
        self.check_wait(&order.job.wait)
    }

    /// Where it rests, or would rest.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether any job may run in a container.
    pub fn allows_containers(&self) -> bool {
        self.rules.container.allow
    }

    /// Whether containers may use this host's network.
    pub fn allows_host_network(&self) -> bool {
        self.rules.container.host_network
    }

    /// The values that must never leave this host in output, read anew from their files: each
    /// file's whole content, trimmed.
    pub fn mask_values(&self) -> Result<Vec<String>, Error> {
        self.rules.mask.files.iter().map(|path| Ok(read(path)?.trim().to_owned())).collect()
    }

    /// Paths of the private keys that log in to devices, in the order in which they are tried.
    pub fn ssh_keys(&self) -> Vec<PathBuf> {
        self.rules.ssh.keys.iter().map(|AbsolutePath(path)| path.clone()).collect()
    }

    /// The folder in which `DEVICE.pub` holds the host keys of a device that was reinstalled, one a
    /// line; none if jobs may not take new ones.
    pub fn new_host_keys(&self) -> Option<PathBuf> {
        self.rules.ssh.new_host_keys.as_ref().map(|AbsolutePath(path)| path.clone())
    }

    fn check_process(&self, repository: &str) -> Result<(), Refusal> {
        let rules = &self.rules.process;
        self.require(rules.allow, "process.allow", "jobs may not run as processes of this host")?;
        self.require(
            matches_any(&rules.repositories, repository),
            "process.repositories",
            &format!("repository '{repository}' may not run processes on this host"),
        )
    }

    fn check_container(&self, container: &Container) -> Result<(), Refusal> {
        let rules = &self.rules.container;
        self.require(
            rules.allow,
            "container.allow",
            "jobs may not run in containers on this host",
        )?;
        let services = container.services.iter().map(|service| &service.image);
        for image in services.chain([&container.image]) {
            self.require(
                matches_any(&rules.images, image),
                "container.images",
                &format!("image '{image}' may not run on this host"),
            )?;
        }
        self.require(
            rules.host_network || container.network != Network::Host,
            "container.host_network",
            "containers may not use this host's network",
        )
    }

    fn check_ssh(&self, ssh: &Ssh) -> Result<(), Refusal> {
        let rules = &self.rules.ssh;
        self.require(rules.allow, "ssh.allow", "jobs may not reach devices from this host")?;
        let hops = ssh.jump.iter();
        for user in hops.clone().map(|hop| &hop.user).chain([&ssh.user]) {
            self.require(
                matches_any(&rules.users, user),
                "ssh.users",
                &format!("user '{user}' may not log in to devices from this host"),
            )?;
        }
        for Hop { device, .. } in hops {
            self.require(
                matches_any(&rules.jump, device.as_str()),
                "ssh.jump",
                &format!("no device may be reached through '{device}' from this host"),
            )?;
        }
        self.require(
            matches_any(&rules.devices, ssh.device.as_str()),
            "ssh.devices",
            &format!("device '{}' may not be reached from this host", ssh.device),
        )?;
        for user in ssh.sudo.iter() {
            self.require(
                matches_any(&rules.sudo, user),
                "ssh.sudo",
                &format!("scripts on devices may not become user '{user}'"),
            )?;
        }
        self.check_reboot(ssh)?;
        match ssh.key {
            Some(_) => self.require(
                rules.secret_keys,
                "ssh.secret_keys",
                "jobs may not log in to devices with keys of their own",
            ),
            None => self.require(
                !rules.keys.is_empty(),
                "ssh.keys",
                "no private key that logs in to devices is named",
            ),
        }
    }

    fn check_reboot(&self, ssh: &Ssh) -> Result<(), Refusal> {
        let Some(reboot) = &ssh.reboot else { return Ok(()) };
        let rules = &self.rules.ssh;
        self.require(
            matches_any(&rules.reboot, ssh.device.as_str()),
            "ssh.reboot",
            &format!("device '{}' may not be rebooted from this host", ssh.device),
        )?;
        self.require(
            reboot.host_key == HostKey::Pinned || rules.new_host_keys.is_some(),
            "ssh.new_host_keys",
            "no folder is named where new host keys of devices lie",
        )
    }

    fn check_wait(&self, probes: &[Probe]) -> Result<(), Refusal> {
        let rules = &self.rules.wait;
        probes.iter().filter_map(|probe| probe.check.address()).try_for_each(|address| {
            self.require(
                matches_any(&rules.addresses, &address),
                "wait.addresses",
                &format!("probes may not connect to {address} from this host"),
            )
        })
    }

    fn require(&self, allowed: bool, rule: &'static str, denied: &str) -> Result<(), Refusal> {
        if allowed {
            return Ok(());
        }
        let path = self.path.display();
        Err(Refusal { rule, reason: format!("{denied}; the site allows it by {rule} in {path}") })
    }
}

/// The coordinator gives no gate to an agent.
fn not_for_agents() -> Refusal {
    Refusal { rule: "gate", reason: "a gate waits for people, not for an agent".to_owned() }
}

impl From<Refusal> for Outcome {
    fn from(Refusal { rule, reason }: Refusal) -> Self {
        Outcome::Refused { rule: rule.to_owned(), reason }
    }
}

impl Default for ProcessRules {
    fn default() -> Self {
        Self { allow: false, repositories: any() }
    }
}

impl Default for ContainerRules {
    fn default() -> Self {
        Self { allow: true, images: any(), host_network: false }
    }
}

impl Default for SshRules {
    fn default() -> Self {
        Self {
            allow: true,
            users: any(),
            devices: any(),
            jump: any(),
            sudo: any(),
            reboot: any(),
            keys: Vec::new(),
            secret_keys: true,
            new_host_keys: None,
        }
    }
}

impl Default for WaitRules {
    fn default() -> Self {
        Self { addresses: any() }
    }
}

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(format!("the path {} is not absolute", path.display())),
        }
    }
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn matches_any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether `pattern` describes the whole of `text`; `*` stands for any characters, also none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use pipelines::id::RunId;
    use pipelines::plan::{Job, Pull, Reboot};

    use super::*;

    fn order(task: Task) -> Order {
        Order {
            version: pipelines::order::VERSION,
            attempt: RunId(1).job(0).attempt(1),
            partition: "fra-equ01".parse().unwrap(),
            pipeline: "deploy".parse().unwrap(),
            repository: "metal".parse().unwrap(),
            commit: "0".repeat(40),
            reference: "refs/heads/main".into(),
            job: Job::new("job".parse().unwrap(), "fra-equ01".parse().unwrap(), task, Vec::new()),
            source: None,
            artifacts: vec![],
            inventory: None,
        }
    }

    fn container(image: &str, network: Network) -> Order {
        let (pull, memory, millicpus) = (Pull::Always, None, None);
        let (image, services) = (image.into(), Vec::new());
        order(Task::Container(Container { image, pull, network, memory, millicpus, services }))
    }

    fn ssh(user: &str, device: &str) -> Order {
        order(Task::Ssh(Box::new(to(user, device))))
    }

    fn to(user: &str, device: &str) -> Ssh {
        Ssh::new(device.parse().unwrap(), "::1".into(), 22, user.into(), String::new())
    }

    fn policy(text: &str) -> Policy {
        Policy::parse(Path::new("policy.toml"), text).unwrap()
    }

    fn rule(policy: &Policy, order: &Order) -> Option<&'static str> {
        policy.check(order).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn the_default_refuses_processes_and_the_hosts_network() {
        let policy = policy("");
        assert_eq!(rule(&policy, &order(Task::Process)), Some("process.allow"));
        assert_eq!(rule(&policy, &container("alpine", Network::Bridge)), None);
        assert_eq!(
            rule(&policy, &container("alpine", Network::Host)),
            Some("container.host_network")
        );
        assert_eq!(rule(&policy, &ssh("root", "leaf01")), Some("ssh.keys"));
    }

    #[test]
    fn each_rule_refuses_by_its_name() {
        let policy = policy(
            r#"
            [process]
            allow = true
            repositories = ["other"]
            [container]
            images = ["registry.example.com/*", "alpine:3.*"]
            [ssh]
            users = ["deploy"]
            devices = ["leaf*"]
            keys = ["/etc/garrison/keys/id_ed25519"]
            "#,
        );
        assert_eq!(rule(&policy, &order(Task::Process)), Some("process.repositories"));
        assert_eq!(rule(&policy, &container("alpine:3.20", Network::None)), None);
        assert_eq!(rule(&policy, &container("alpine", Network::None)), Some("container.images"));
        let mut with_service = container("alpine:3.20", Network::None);
        if let Task::Container(container) = &mut with_service.job.task {
            let service = r#"{ "name": "db", "image": "postgres:15" }"#;
            container.services = vec![serde_json::from_str(service).unwrap()];
        }
        assert_eq!(rule(&policy, &with_service), Some("container.images"));
        assert_eq!(rule(&policy, &ssh("deploy", "leaf01")), None);
        assert_eq!(rule(&policy, &ssh("root", "leaf01")), Some("ssh.users"));
        assert_eq!(rule(&policy, &ssh("deploy", "spine01")), Some("ssh.devices"));
    }

    #[test]
    fn probes_connect_where_the_site_allows_it() {
        let waiting = |check: &str| {
            let mut order = order(Task::Wait);
            let probe = format!(r#"{{ "check": {check}, "interval_s": 5, "timeout_s": 60 }}"#);
            order.job.wait.push(serde_json::from_str(&probe).unwrap());
            order
        };
        let tcp = waiting(r#"{ "kind": "tcp", "address": "10.0.0.11:22" }"#);
        let http = waiting(r#"{ "kind": "http", "url": "https://[fd00::1]/", "status": ["200"] }"#);
        assert_eq!(rule(&policy(""), &tcp), None);
        let policy = policy("[wait]\naddresses = [\"10.0.0.*:22\"]");
        assert_eq!(rule(&policy, &tcp), None);
        assert_eq!(rule(&policy, &http), Some("wait.addresses"));
        let refusal = policy.check(&http).unwrap_err().reason;
        assert!(refusal.starts_with("probes may not connect to [fd00::1]:443"), "{refusal}");
    }

    #[test]
    fn each_rule_of_devices_refuses_by_its_name() {
        let policy = policy(
            r#"
            [ssh]
            users = ["deploy"]
            jump = ["mgmt*"]
            sudo = ["www-data"]
            reboot = ["leaf*"]
            secret_keys = false
            "#,
        );
        let rule = |ssh: Ssh| super::tests::rule(&policy, &order(Task::Ssh(Box::new(ssh))));
        assert_eq!(rule(to("deploy", "leaf01")), Some("ssh.keys"));
        let through = |user, device| Ssh { jump: to(user, device).way(), ..to("deploy", "leaf01") };
        assert_eq!(rule(through("deploy", "mgmt01")), Some("ssh.keys"));
        assert_eq!(rule(through("deploy", "spine01")), Some("ssh.jump"));
        assert_eq!(rule(through("root", "mgmt01")), Some("ssh.users"));
        let sudo = |user: &str| Ssh { sudo: Some(user.into()), ..to("deploy", "leaf01") };
        assert_eq!(rule(sudo("www-data")), Some("ssh.keys"));
        assert_eq!(rule(sudo("root")), Some("ssh.sudo"));
        let reboot = |device, host_key| Ssh {
            reboot: Some(Reboot { wait_s: 60, host_key, run: None }),
            ..to("deploy", device)
        };
        assert_eq!(rule(reboot("leaf01", HostKey::Pinned)), Some("ssh.keys"));
        assert_eq!(rule(reboot("spine01", HostKey::Pinned)), Some("ssh.reboot"));
        assert_eq!(rule(reboot("leaf01", HostKey::Renew)), Some("ssh.new_host_keys"));
        let key = Some("KEY".parse().unwrap());
        assert_eq!(rule(Ssh { key, ..to("deploy", "leaf01") }), Some("ssh.secret_keys"));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refusal = policy("").check(&order(Task::Process)).unwrap_err();
        assert_eq!(
            Outcome::from(refusal).to_string(),
            "refused by process.allow: jobs may not run as processes of this host; \
             the site allows it by process.allow in policy.toml"
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = Policy::parse(Path::new("policy.toml"), "[process]\nalow = true").unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("policy.toml: "), "{error}");
        assert!(error.contains("line 2") && error.contains("`allow`"), "{error}");
    }

    #[test]
    fn keys_are_absolute_paths() {
        let named = policy("[ssh]\nkeys = [\"/b\", \"/a\"]").ssh_keys();
        assert_eq!(named, [Path::new("/b"), Path::new("/a")]);
        let error = Policy::parse(Path::new("p"), "[ssh]\nkeys = [\"id\"]").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("line 2") && error.contains("id is not absolute"), "{error}");
    }

    #[test]
    fn only_the_default_file_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        assert!(Policy::load(Some(&path)).unwrap_err().to_string().contains("policy.toml"));
        assert_eq!(Policy::load_or_default(&path).unwrap().rules, Rules::default());
    }

    #[test]
    fn masked_files_are_read_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "secret\n").unwrap();
        let policy = policy(&format!("[mask]\nfiles = [{file:?}]"));
        assert_eq!(policy.mask_values().unwrap(), ["secret"]);
        fs::remove_file(&file).unwrap();
        assert!(policy.mask_values().is_err());
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("ab*bc", "abc", false),
            ("*b*", "abc", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xbyazc", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
