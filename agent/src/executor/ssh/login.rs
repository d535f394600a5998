//! What logs in to a device: the way there, and private keys.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipelines::plan::{Hop, Ssh};
use pipelines::secret::SecretName;
use russh::keys::{self, PrivateKey};

use crate::secrets::Given;

/// How long a device may take until its user is logged in, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(15);

/// The way to a device, and what opens its doors.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The hosts on the way, the nearest first.
    pub(crate) jumps: Vec<Hop>,
    /// The device itself.
    pub(crate) device: Hop,
    /// Tried in this order, at each host.
    pub(crate) keys: Vec<Key>,
    /// How long all of it may take.
    pub(crate) patience: Duration,
}

/// A private key. Its `Debug` shows where it comes from alone.
#[derive(Clone)]
pub(crate) struct Key {
    /// Its path, or the secret that it is.
    pub(super) name: String,
    pub(super) key: Arc<PrivateKey>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no key to log in to devices is named; name one by ssh.keys in the site's policy")]
    NoKeys,
    #[error(
        "cannot use the key {path}: {source}; ssh.keys in the site's policy must name readable \
         private keys without a passphrase: Ed25519, ECDSA, or RSA for devices that allow it"
    )]
    File { path: PathBuf, source: keys::Error },
    // The source could show a part of it, so it is left out.
    #[error(
        "the secret {0} is no private key without a passphrase: Ed25519, ECDSA, or RSA for devices \
         that allow it"
    )]
    Secret(SecretName),
}

impl Login {
    /// What logs in for a job: the key of its own among `secrets` if it names one, else those at
    /// `paths`.
    pub(crate) fn new(ssh: &Ssh, paths: &[PathBuf], secrets: &[Given]) -> Result<Login, Error> {
        let keys = match &ssh.key {
            Some(name) => vec![of_secret(name, secrets)?],
            None => of_files(paths)?,
        };
        Ok(Login { keys, ..Login::without_keys(ssh) })
    }

    /// The way to a device, for who does not log in.
    pub(super) fn without_keys(ssh: &Ssh) -> Login {
        let mut way = ssh.way();
        let device = way.pop().expect("the way to a device ends there");
        let patience = ssh.timeout_s.map_or(PATIENCE, |s| Duration::from_secs(s.into()));
        Login { jumps: way, device, keys: Vec::new(), patience }
    }
}

/// Whether a file holds a key that can log in; or why not, for people.
pub(crate) fn check_file(path: &Path) -> Result<(), String> {
    of_files(&[path.to_owned()]).map(|_| ()).map_err(|error| error.to_string())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn of_secret(name: &SecretName, secrets: &[Given]) -> Result<Key, Error> {
    let given = secrets.iter().find(|secret| secret.name == *name);
    let key = given.and_then(|given| {
        // Whoever sets a secret may have lost the last line's end.
        keys::decode_secret_key(&format!("{}\n", given.value.reveal().trim()), None).ok()
    });
    let key = Arc::new(key.ok_or_else(|| Error::Secret(name.clone()))?);
    Ok(Key { name: format!("secret {name}"), key })
}

fn of_files(paths: &[PathBuf]) -> Result<Vec<Key>, Error> {
    if paths.is_empty() {
        return Err(Error::NoKeys);
    }
    let load = |path: &PathBuf| match keys::load_secret_key(path, None) {
        Ok(key) => Ok(Key { name: path.display().to_string(), key: Arc::new(key) }),
        Err(source) => Err(Error::File { path: path.clone(), source }),
    };
    paths.iter().map(load).collect()
}
