//! The agent's configuration file, read and checked before anything is opened.

use std::path::{Path, PathBuf};

use serde::Deserialize;

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
        (self.capacity == 0 || self.capacity > 1000)
            .then(|| format!("capacity is {}: it must be from 1 to 1000", self.capacity))
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
