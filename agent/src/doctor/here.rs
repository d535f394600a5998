//! Files of this host: policy, state directory, keys.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use super::{Finding, bytes, free};
use crate::config::Config;
use crate::executor::ssh::login;
use crate::policy::{self, Policy};

/// Rights of others, and of the group.
const OTHERS: u32 = 0o077;

pub(super) fn policy(policy: &Result<Policy, policy::Error>) -> Finding {
    match policy {
        Ok(policy) if policy.path().exists() => {
            Finding::ok("policy", policy.path().display().to_string())
        }
        Ok(policy) => {
            let found = format!("{} does not exist: the default holds", policy.path().display());
            Finding::ok("policy", found)
        }
        Err(error) => {
            let advice = "correct the file: without a policy no job may run";
            Finding::fail("policy", error.to_string(), advice)
        }
    }
}

/// The state directory: whose it is, and how much fits into it.
pub(super) fn state(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "state";
    let path = &config.state;
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let advice = "remove it, or name another directory by `state`";
            return vec![Finding::fail(CHECK, format!("{shown} is no directory"), advice)];
        }
        Err(error) => {
            let advice = "start the agent once with --join-token-file, which makes it";
            return vec![Finding::fail(CHECK, format!("{shown}: {error}"), advice)];
        }
    };
    let own = geteuid().as_raw();
    let owner = match metadata.uid() {
        uid if uid != own => {
            let found = format!("{shown} belongs to user {uid}, and this is user {own}");
            Finding::warn(
                CHECK,
                found,
                "run the doctor as the agent's user, which the directory must belong to",
            )
        }
        _ if metadata.mode() & 0o022 != 0 => {
            let found = format!(
                "{shown} has the mode {:o}: others may write to it",
                metadata.mode() & 0o7777
            );
            Finding::fail(CHECK, found, format!("close it: `chmod go-w {shown}`"))
        }
        _ => Finding::ok(CHECK, format!("{shown}, of user {own}")),
    };
    vec![owner, room(config)]
}

fn room(config: &Config) -> Finding {
    const CHECK: &str = "disk";
    let quota = config.log_quota();
    let free = match free(&config.state) {
        Ok(free) => free,
        Err(error) => return Finding::fail(CHECK, error, "mount the disk of the state directory"),
    };
    let found = format!("{} are free for the state directory", bytes(free));
    if free < quota.reserve {
        let reserve = bytes(quota.reserve);
        let advice = format!("make room: with less than {reserve} output of jobs is dropped");
        return Finding::fail(CHECK, found, advice);
    }
    if free < quota.agent {
        let found = format!("{found}, less than the {} of log_quota", bytes(quota.agent));
        let advice = "make room, or lower `log_quota`: without a link output waits here";
        return Finding::warn(CHECK, found, advice);
    }
    Finding::ok(CHECK, found)
}

/// What the policy names: keys, and files whose content is masked.
pub(super) fn files(policy: &Policy) -> Vec<Finding> {
    let keys = policy.ssh_keys();
    let mut found: Vec<_> = keys.iter().map(|path| key(path)).collect();
    if let Err(error) = policy.mask_values() {
        let advice = "correct `mask.files` of the policy: without them no job starts";
        found.push(Finding::fail("mask", error.to_string(), advice));
    }
    found
}

fn key(path: &Path) -> Finding {
    const CHECK: &str = "key";
    let shown = path.display();
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.mode() & 0o7777,
        Err(error) => {
            let advice = "put the key there, or remove it from `ssh.keys` of the policy";
            return Finding::fail(CHECK, format!("{shown}: {error}"), advice);
        }
    };
    if mode & OTHERS != 0 {
        let found = format!("{shown} has the mode {mode:o}: others may read it");
        return Finding::fail(CHECK, found, format!("close it: `chmod 600 {shown}`"));
    }
    match login::check_file(path) {
        Ok(()) => Finding::ok(CHECK, shown.to_string()),
        Err(error) => Finding::fail(CHECK, error, "make a key: `ssh-keygen -t ed25519`"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_key_that_others_may_read_is_told_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(key(&path).status, Status::Fail);
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = key(&path);
        assert!(open.found.ends_with("has the mode 640: others may read it"), "{open:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let odd = key(&path);
        assert!(odd.found.contains("cannot use the key"), "{odd:?}");
    }
}
