//! Named secrets: sealed as they come in, opened for the attempts whose orders declare them.
//!
//! Invariant: a value is in the request that sets it, in this process's memory, and in the answer to
//! an agent; never in an event, a log, an error or a `Debug`. What rests is sealed.

mod delivery;
mod master;
mod seal;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use coordinator_core::secret::{Sealed, SecretKey};
use pipelines::secret::Value;

use crate::store::view::{self, View};
use master::MasterKey;

/// The master key's file in the data directory, if the configuration names none.
const KEY_FILE: &str = "secrets.key";

/// Seals and opens; a clone is the same.
#[derive(Clone)]
pub struct Secrets {
    view: View,
    master: Arc<Mutex<Master>>,
}

/// The master key, as far as it is needed yet.
struct Master {
    path: PathBuf,
    /// Whether it may be made when it is first needed.
    is_own: bool,
    key: Option<Arc<MasterKey>>,
}

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The master key cannot be used.
    #[error(transparent)]
    Master(#[from] master::Error),
    /// There is no key, and what it sealed is there.
    #[error(
        "the master key {0} is gone, and secrets are sealed with it: put it back from where it was \
         kept; or make another with 'head -c 32 /dev/urandom', closed to others, and set every \
         secret again"
    )]
    Gone(PathBuf),
    /// It was sealed with another key.
    #[error(
        "secret {secret} is sealed with master key {sealed_with}, and {path} is {present}: put the \
         right key there and restart the coordinator, or set the secret again"
    )]
    OtherKey {
        /// Which secret.
        secret: Box<SecretKey>,
        /// The key that it needs.
        sealed_with: String,
        /// The present key's file.
        path: PathBuf,
        /// What that file holds.
        present: String,
    },
    /// What rests is not what was sealed.
    #[error("secret {0} was altered since it was sealed: set it again")]
    Altered(Box<SecretKey>),
    /// The view cannot be read.
    #[error(transparent)]
    View(#[from] view::Error),
}

impl Secrets {
    /// Sealing with the key in `key_file`, or with one of its own in the data directory, which is
    /// made when the first secret is set.
    ///
    /// # Errors
    /// A key file that is named and cannot be used, or one of its own that is no key.
    pub fn open(key_file: Option<&Path>, data: &Path, view: View) -> Result<Secrets, Error> {
        let (path, is_own) = match key_file {
            Some(path) => (path.to_owned(), false),
            None => (data.join(KEY_FILE), true),
        };
        let key = match MasterKey::read(&path) {
            Ok(key) => Some(Arc::new(key)),
            Err(error) if is_own && error.is_missing() => None,
            Err(error) => return Err(error.into()),
        };
        let master = Arc::new(Mutex::new(Master { path, is_own, key }));
        Ok(Secrets { view, master })
    }

    /// Seals a value as this version of a secret.
    pub fn seal(&self, key: &SecretKey, version: u64, value: &Value) -> Result<Sealed, Error> {
        Ok(seal::seal(&self.master(true)?.1, key, version, value))
    }

    /// Opens what was sealed as this version of a secret.
    fn open_sealed(&self, key: &SecretKey, version: u64, sealed: &Sealed) -> Result<Value, Error> {
        let (path, master) = self.master(false)?;
        if sealed.key != master.id() {
            return Err(Error::OtherKey {
                secret: Box::new(key.clone()),
                sealed_with: sealed.key.clone(),
                path,
                present: master.id().to_owned(),
            });
        }
        seal::open(&master, key, version, sealed)
            .ok_or_else(|| Error::Altered(Box::new(key.clone())))
    }

    /// The master key and its file; made if it may be, and nothing needs an older one.
    fn master(&self, may_make: bool) -> Result<(PathBuf, Arc<MasterKey>), Error> {
        let mut master = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        let path = master.path.clone();
        if let Some(key) = &master.key {
            return Ok((path, Arc::clone(key)));
        }
        // Somebody may have put it back meanwhile.
        let key = match MasterKey::read(&path) {
            Err(error) if error.is_missing() => {
                let sealed = self.view.secrets()?.into_iter().any(|it| it.sealed.is_some());
                if sealed || !may_make || !master.is_own {
                    return Err(Error::Gone(path));
                }
                MasterKey::make(&path)?
            }
            read => read?,
        };
        let key = Arc::new(key);
        master.key = Some(Arc::clone(&key));
        Ok((path, key))
    }
}

#[cfg(test)]
mod tests;
