//! Forges: whose webhooks are believed, and which repositories they may speak of.
//!
//! Invariant: a forge's secret is in its file and in this process, and in no message.

pub mod github;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use pipelines::name::{ForgeName, RepositoryName};
use sha2::Sha256;

use crate::config::{self, ForgeKind};

/// Shortest secret, in bytes.
const SHORTEST: usize = 16;

/// Permission bits of everybody else.
const OTHERS: u32 = 0o007;

/// The forges of the configuration.
#[derive(Debug)]
pub struct Forges(Vec<Forge>);

/// One forge.
#[derive(Debug)]
pub struct Forge {
    config: config::Forge,
    secret: Secret,
}

/// Its `Debug` shows nothing of it.
struct Secret(Vec<u8>);

/// Why a forge's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the secret of forge '{forge}' from {path}: {source}")]
    Read {
        /// The forge.
        forge: ForgeName,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is open to everybody.
    #[error("{0} holds a secret, and everybody may read it: chmod o-rwx {0}")]
    Open(PathBuf),
    /// The secret could be guessed.
    #[error(
        "{0} holds fewer than {SHORTEST} bytes: make a secret with 'openssl rand -hex 32' and give \
         it to the forge too"
    )]
    Short(PathBuf),
}

impl Forges {
    /// Reads the secrets.
    pub fn load(forges: &[config::Forge]) -> Result<Forges, Error> {
        let forges: Result<_, _> = forges
            .iter()
            .map(|config| Ok(Forge { secret: read(config)?, config: config.clone() }))
            .collect();
        Ok(Forges(forges?))
    }

    /// The forge of that name and kind.
    pub fn find(&self, name: &str, kind: ForgeKind) -> Option<&Forge> {
        self.0.iter().find(|forge| forge.name().as_str() == name && forge.config.kind == kind)
    }
}

impl Forge {
    /// Its name.
    pub fn name(&self) -> &ForgeName {
        &self.config.name
    }

    /// What the coordinator calls the repository that the forge calls `full_name`.
    pub fn repository(&self, full_name: &str) -> Option<&RepositoryName> {
        let mut repositories = self.config.repositories.iter();
        let own = repositories.find(|it| it.full_name.eq_ignore_ascii_case(full_name))?;
        Some(&own.name)
    }

    /// Whether `signature` is the HMAC-SHA-256 of `body` under the forge's secret; takes the same
    /// time wherever they differ.
    fn signed(&self, body: &[u8], signature: &[u8]) -> bool {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret.0).expect("a key may have any length");
        mac.update(body);
        mac.verify_slice(signature).is_ok()
    }
}

fn read(config: &config::Forge) -> Result<Secret, Error> {
    let path = &config.secret_file;
    let failed = |source| Error::Read { forge: config.name.clone(), path: path.clone(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(Error::Open(path.clone()));
    }
    let secret = fs::read(path).map_err(failed)?.trim_ascii().to_vec();
    if secret.len() < SHORTEST {
        return Err(Error::Short(path.clone()));
    }
    Ok(Secret(secret))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A forge `github` with the repository `infra`, called `acme/infra` there.
    pub(crate) fn forge(secret: &str) -> Forge {
        Forge { config: config("/none".into()), secret: Secret(secret.into()) }
    }

    fn config(secret_file: PathBuf) -> config::Forge {
        config::Forge {
            name: "github".parse().unwrap(),
            kind: ForgeKind::Github,
            secret_file,
            repositories: vec![config::ForgeRepository {
                name: "infra".parse().unwrap(),
                full_name: "acme/infra".into(),
            }],
        }
    }

    #[test]
    fn a_secret_must_be_long_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let load = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Forges::load(&[config(path.clone())])
        };
        let loaded = load("0123456789abcdef\n", 0o640).unwrap();
        assert!(loaded.find("github", ForgeKind::Github).is_some());
        assert!(!format!("{loaded:?}").contains("0123456789abcdef"));
        assert!(matches!(load("0123456789abcdef", 0o644), Err(Error::Open(_))));
        assert!(matches!(load("short\n", 0o600), Err(Error::Short(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Forges::load(&[config(path)]), Err(Error::Read { .. })));
    }
}
