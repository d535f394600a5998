//! What the agent hands to a runner through its stdin, and what never touches a disk.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use agent_core::lease::BootTime;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::secrets::Given;
use crate::spool::Quota;

/// The version of [`Handover`] that this build writes.
pub const VERSION: u32 = 1;

/// Most bytes of a handover.
const MOST: u64 = 64 << 20;

/// Secrets for one attempt. Its `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// [`VERSION`].
    pub version: u32,
    /// Values that must not come through in output.
    pub mask: Vec<String>,
    /// Paths of private keys that log in to devices.
    #[serde(default)]
    pub ssh_keys: Vec<PathBuf>,
    /// The folder of devices' new host keys; none if the site names none, or the agent is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_host_keys: Option<PathBuf>,
    /// From when the attempt's lease counts: µs of the host's boot; none without a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_base_us: Option<u64>,
    /// How much output may be kept; the usual if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_quota: Option<Quota>,
    /// What the host keeps for jobs; none if the agent is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// The job's secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Given>,
}

/// Why a runner did not start: it was not given all that it needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stdin cannot be read.
    #[error("cannot read the handover from stdin: {0}")]
    Read(#[from] io::Error),
    /// It is cut off, as when the agent died meanwhile, or no handover. The source could show a
    /// part of it, so it is left out.
    #[error("the handover on stdin is incomplete; nothing was started")]
    Incomplete,
    /// Written by a newer agent.
    #[error("the handover has version {0}; this build knows up to {VERSION}: upgrade the agent")]
    Version(u32),
}

impl Handover {
    /// A handover that asks to mask `mask`.
    pub fn new(mask: Vec<String>) -> Self {
        Self {
            version: VERSION,
            mask,
            ssh_keys: Vec::new(),
            new_host_keys: None,
            lease_base_us: None,
            log_quota: None,
            cache: None,
            secrets: Vec::new(),
        }
    }

    /// The same with keys for devices.
    #[must_use]
    pub fn with_ssh_keys(self, ssh_keys: Vec<PathBuf>) -> Self {
        Self { ssh_keys, ..self }
    }

    /// The same with a folder of devices' new host keys.
    #[must_use]
    pub fn with_new_host_keys(self, new_host_keys: Option<PathBuf>) -> Self {
        Self { new_host_keys, ..self }
    }

    /// The same with the job's secrets, which are masked too.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<Given>) -> Self {
        Self { secrets, ..self }
    }

    /// All values that must not come through in output.
    pub(crate) fn masked(&self) -> Vec<String> {
        let secrets = self.secrets.iter().map(|secret| secret.value.reveal().to_owned());
        self.mask.iter().cloned().chain(secrets).collect()
    }

    /// The same for an attempt whose lease counts from `base`, if it has one.
    #[must_use]
    pub fn with_lease(self, base: Option<BootTime>) -> Self {
        Self { lease_base_us: base.map(|base| base.0), ..self }
    }

    /// The same with a quota of output.
    #[must_use]
    pub fn with_log_quota(self, quota: Quota) -> Self {
        Self { log_quota: Some(quota), ..self }
    }

    /// The same with a cache.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a handover has only string keys")
    }

    /// Reads until the end of `input`; an object that is whole was not cut off.
    pub(crate) fn read(input: impl Read) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        input.take(MOST).read_to_end(&mut bytes)?;
        let handover: Self = serde_json::from_slice(&bytes).map_err(|_| Error::Incomplete)?;
        match handover.version {
            ..=VERSION => Ok(handover),
            newer => Err(Error::Version(newer)),
        }
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Handover {{ version: {}, ssh_keys: {:?}, lease_base_us: {:?}, mask: …, secrets: {:?} }}",
            self.version, self.ssh_keys, self.lease_base_us, self.secrets
        )
    }
}

#[cfg(test)]
mod tests {
    use pipelines::plan::Delivery;
    use pipelines::secret::Value;

    use super::*;

    #[test]
    fn a_handover_that_was_cut_anywhere_is_none() {
        let handover = Handover::new(vec!["hunter2".into()]).with_ssh_keys(vec!["/keys/id".into()]);
        let bytes = handover.to_bytes();
        assert_eq!(Handover::read(&bytes[..]).unwrap(), handover);
        for cut in 0..bytes.len() {
            assert!(matches!(Handover::read(&bytes[..cut]), Err(Error::Incomplete)), "{cut}");
        }
    }

    #[test]
    fn a_handover_without_keys_is_read() {
        let handover = Handover::read(&br#"{"version":1,"mask":[]}"#[..]).unwrap();
        assert_eq!(handover, Handover::new(vec![]));
    }

    #[test]
    fn nothing_of_a_handover_shows() {
        let secret = Given {
            name: "TOKEN".parse().unwrap(),
            delivery: Delivery::Variable,
            value: Value::new("hunter2".into()).unwrap(),
        };
        let handover = Handover::new(vec!["hunter2".into()]).with_secrets(vec![secret]);
        assert!(!format!("{handover:?}").contains("hunter2"));
        let error = Handover::read(&br#"{"version":1,"mask":"hunter2"}"#[..]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_newer_handover_is_refused() {
        let error = Handover::read(&br#"{"version":2,"mask":[]}"#[..]).unwrap_err();
        assert!(error.to_string().contains("upgrade"));
    }
}
