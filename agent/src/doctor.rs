//! `garrison agent doctor`: tests on a management server what an agent needs there.
//!
//! It reads the agent's configuration as the agent does, and changes nothing: a running agent keeps its
//! session, no lease of the network is taken, no job is touched.

mod dhcp;
mod engine;
mod hairpin;
mod here;
mod link;
mod route;

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::identity::Identity;
use crate::policy::Policy;

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Jobs run, but not all of them, or not for long.
    Warn,
    /// It keeps jobs from running.
    Fail,
}

/// One thing that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tested, in a word or two.
    pub check: String,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do, if there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Finding {
        Finding { check: check.into(), status: Status::Ok, found: found.into(), advice: None }
    }

    fn warn(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check: check.into(), status: Status::Warn, found: found.into(), advice }
    }

    fn fail(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { status: Status::Fail, ..Finding::warn(check, found, advice) }
    }
}

/// Tests everything, in the order in which an agent needs it.
pub async fn examine(path: &Path) -> Vec<Finding> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            let advice = "correct the file; `garrison agent --check` reads it again";
            return vec![Finding::fail("configuration", error.to_string(), advice)];
        }
    };
    let mut found = vec![Finding::ok("configuration", path.display().to_string())];
    let policy = Policy::load(config.policy.as_deref());
    found.push(here::policy(&policy));
    found.extend(here::state(&config));
    match Identity::load(&config.state) {
        Ok(identity) => {
            found.push(link::certificate(&identity));
            found.extend(link::coordinator(&config, &identity).await);
        }
        Err(error) => {
            let advice = "jobs come only to an agent that has joined";
            found.push(Finding::fail("certificate", error.to_string(), advice));
            found.extend(link::way(&config).await);
        }
    }
    if let Ok(policy) = &policy {
        found.extend(engine::examine(policy).await);
        found.extend(here::files(policy));
    }
    let duties = &config.doctor;
    for address in &duties.hairpin {
        found.push(hairpin::examine(address).await);
    }
    for interface in &duties.dhcp {
        found.push(dhcp::examine(interface).await);
    }
    if let Some(protocol) = &duties.default_route {
        found.push(route::default(protocol).await);
    }
    if duties.forwarding {
        found.push(route::forwarding());
    }
    found
}

/// A size as people read it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = count;
    while rest >= 10 << 10 && unit + 1 < UNITS.len() {
        rest >>= 10;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

/// Free bytes of the file system that holds a path, for a user without rights of its own.
fn free(path: &Path) -> Result<u64, String> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|error| error.to_string())?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_a_unit_that_fits() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(8 << 30), "8192 MiB");
        assert_eq!(bytes(80 << 30), "80 GiB");
    }
}
