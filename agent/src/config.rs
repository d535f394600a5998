//! The agent's configuration file, read and checked before anything is opened.

mod duties;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipelines::label;
use pipelines::name::LabelName;
use pipelines::quantity;
use serde::Deserialize;

use crate::cache;
use crate::content;
use crate::spool::Quota;

pub use duties::Duties;

/// `agent.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The coordinator, such as `https://garrison.example.org:7443`.
    pub coordinator: String,
    /// Directory for the identity and for attempts. Losing it loses attempts that are not reported.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// The site's policy. Left out, it is `/etc/garrison/policy.toml`, and where there is no such
    /// file the default policy holds.
    pub policy: Option<PathBuf>,
    /// How many attempts run side by side.
    #[serde(default = "default_capacity")]
    pub capacity: u32,
    /// What jobs may ask of their agent by the key `agent`.
    #[serde(default)]
    pub labels: BTreeMap<LabelName, String>,
    /// Most output that is kept of one attempt: bytes, or a size such as `1GiB`.
    #[serde(default = "default_log_quota_attempt")]
    pub log_quota_attempt: Size,
    /// Most output that is kept of all attempts until the coordinator has it.
    #[serde(default = "default_log_quota")]
    pub log_quota: Size,
    /// Most bytes of what jobs keep by `cache`; what was used least recently goes first.
    #[serde(default = "default_cache_bytes")]
    pub cache_bytes: Size,
    /// Most bytes of source and artifacts that are kept; what was used least recently goes first.
    #[serde(default = "default_content_bytes")]
    pub content_bytes: Size,
    /// How long a program that an upgrade brought may take until the coordinator answers it; then
    /// the one before it runs again. A duration such as `2m`.
    #[serde(default = "default_upgrade_patience")]
    upgrade_patience: Time,
    /// What `garrison agent doctor` tests beside the agent itself; the agent does not read it.
    #[serde(default)]
    pub doctor: Duties,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct Size(pub u64);

/// A number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Time(u32);

impl TryFrom<String> for Time {
    type Error = String;
    fn try_from(text: String) -> Result<Time, String> {
        let time = quantity::duration(&text);
        time.map(Time).map_err(|error| format!("{error}: write a time such as \"2m\""))
    }
}

/// A size as it stands in the file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write bytes, or a size such as \"512MiB\" or \"1GiB\"")]
enum Written {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Written> for Size {
    type Error = String;
    fn try_from(written: Written) -> Result<Size, String> {
        match written {
            Written::Bytes(bytes) => Ok(Size(bytes)),
            Written::Text(text) => quantity::size(&text).map(Size).map_err(|error| {
                format!("{error}: write bytes, or a size such as \"512MiB\" or \"1GiB\"")
            }),
        }
    }
}

/// Less would not even hold what the runner itself says.
const LEAST_LOG_QUOTA: Size = Size(64 << 10);

fn default_log_quota_attempt() -> Size {
    Size(Quota::default().attempt)
}

fn default_log_quota() -> Size {
    Size(Quota::default().agent)
}

fn default_cache_bytes() -> Size {
    Size(cache::BYTES)
}

fn default_content_bytes() -> Size {
    Size(content::BYTES)
}

fn default_upgrade_patience() -> Time {
    Time(120)
}

fn default_state() -> PathBuf {
    "/var/lib/garrison-agent".into()
}

fn default_capacity() -> u32 {
    8
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text shows where.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, and what to write instead.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let at = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: at(), source })?;
        let config: Config = toml::from_str(&text)
            .map_err(|source| Error::Parse { path: at(), source: Box::new(source) })?;
        match config.problem() {
            Some(problem) => Err(Error::Invalid { path: at(), problem }),
            None => Ok(config),
        }
    }

    /// How much output may be kept.
    pub fn log_quota(&self) -> Quota {
        let (attempt, agent) = (self.log_quota_attempt.0, self.log_quota.0);
        Quota { attempt, agent, ..Quota::default() }
    }

    /// How long a program on trial may take to link.
    pub fn upgrade_patience(&self) -> Duration {
        Duration::from_secs(self.upgrade_patience.0.into())
    }

    /// Host and port of the coordinator.
    pub fn authority(&self) -> Option<(&str, u16)> {
        let authority = self.coordinator.strip_prefix("https://")?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && !host.contains('/')).then_some((host, port.parse().ok()?))
    }

    fn problem(&self) -> Option<String> {
        if self.authority().is_none() {
            return Some(format!(
                "coordinator is '{}': write it as https://HOST:PORT",
                self.coordinator
            ));
        }
        if self.capacity == 0 || self.capacity > 1000 {
            return Some(format!("capacity is {}: it must be from 1 to 1000", self.capacity));
        }
        if self.log_quota_attempt < LEAST_LOG_QUOTA || self.log_quota < self.log_quota_attempt {
            return Some(format!(
                "log_quota_attempt is {} bytes and log_quota {}: they must be at least 64KiB, and \
                 log_quota no less than log_quota_attempt",
                self.log_quota_attempt.0, self.log_quota.0
            ));
        }
        self.label_problem().or_else(|| self.doctor.problem())
    }

    fn label_problem(&self) -> Option<String> {
        if self.labels.len() > label::MAX_COUNT {
            let (count, most) = (self.labels.len(), label::MAX_COUNT);
            return Some(format!("there are {count} labels: write at most {most}"));
        }
        self.labels.iter().find_map(|(name, value)| {
            let error = label::check(value).err()?;
            Some(format!("label {name} is '{value}': {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_coordinator_is_all_that_is_needed() {
        let config = load("coordinator = 'https://[::1]:7443'").unwrap();
        assert_eq!(config.authority(), Some(("::1", 7443)));
        assert_eq!(config.capacity, 8);
        assert_eq!(config.cache_bytes, Size(10 << 30));
        assert_eq!(config.content_bytes, Size(10 << 30));
    }

    #[test]
    fn what_the_doctor_tests_is_checked() {
        let with = |text: &str| load(&format!("coordinator = 'https://h:1'\n[doctor]\n{text}"));
        let duties = with("hairpin = ['203.0.113.5:22']\ndhcp = ['eth1']\ndefault_route = 'bgp'");
        assert_eq!(duties.unwrap().doctor.default_route.as_deref(), Some("bgp"));
        for (text, words) in [
            ("hairpin = ['203.0.113.5']", "write HOST:PORT, such as 203.0.113.5:22"),
            ("dhcp = ['../eth1']", "write an interface, such as eth1"),
            ("dchp = []", "dchp"),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn labels_are_checked() {
        let with = |labels: &str| load(&format!("coordinator = 'https://h:1'\nlabels = {labels}"));
        let labels = with("{ site = 'north', rack = 'R1.7' }").unwrap().labels;
        assert_eq!(labels[&"rack".parse().unwrap()], "R1.7");
        let error = with("{ site = 'a b' }").unwrap_err();
        assert!(error.contains("label site is 'a b': it holds something else"), "{error}");
        let error = with("{ Site = 'north' }").unwrap_err();
        assert!(error.contains("line 2") && error.contains("may hold only a-z"), "{error}");
        let many: Vec<_> = (0..33).map(|it| format!("l{it} = 'x'")).collect();
        let error = with(&format!("{{ {} }}", many.join(", "))).unwrap_err();
        assert!(error.contains("33 labels: write at most 32"), "{error}");
    }

    #[test]
    fn quotas_are_bytes_or_sizes() {
        let with = |text: &str| load(&format!("coordinator = 'https://h:1'\n{text}"));
        assert_eq!(with("").unwrap().log_quota(), Quota::default());
        let quota = with("log_quota_attempt = 65536\nlog_quota = '1GiB'").unwrap().log_quota();
        assert_eq!((quota.attempt, quota.agent), (65_536, 1 << 30));
        for (text, words) in [
            ("log_quota = '1GB'", "known units: write bytes, or a size"),
            ("log_quota = 1.5", "write bytes, or a size"),
            ("log_quota = 65536", "no less than log_quota_attempt"),
            ("log_quota_attempt = 1", "at least 64KiB"),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_to_write() {
        let error = load("coordinator = 'host:1'").unwrap_err();
        assert!(error.ends_with("write it as https://HOST:PORT"), "{error}");
        let error = load("coordinator = 'https://h:1'\ncapacity = 0").unwrap_err();
        assert!(error.contains("from 1 to 1000"), "{error}");
        let error = load("coordinator = 'https://h:1'\ncapcity = 1").unwrap_err();
        assert!(error.contains("capcity") && error.contains("line 2"), "{error}");
    }
}
