//! Forges: whose webhooks are believed, and which repositories they may speak of.
//!
//! Invariant: a forge's secret is in its file and in this process, and in no message.

pub mod github;

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use pipelines::name::{ForgeName, RepositoryName};
use sha2::Sha256;

use crate::config::{self, ForgeKind};
use crate::secret::{self, Secret};

/// Shortest secret, in bytes.
const SHORTEST: usize = 16;

/// The forges of the configuration.
#[derive(Debug)]
pub struct Forges(Vec<Forge>);

/// One forge.
#[derive(Debug)]
pub struct Forge {
    config: config::Forge,
    secret: Secret,
}

/// Why a forge's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be had.
    #[error("forge '{forge}': {source}")]
    Secret {
        /// The forge.
        forge: ForgeName,
        /// Why not.
        source: secret::Error,
    },
    /// It could be guessed.
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
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.reveal().as_bytes())
            .expect("a key may have any length");
        mac.update(body);
        mac.verify_slice(signature).is_ok()
    }
}

fn read(config: &config::Forge) -> Result<Secret, Error> {
    let path = &config.secret_file;
    let failed = |source| Error::Secret { forge: config.name.clone(), source };
    let secret = Secret::read(path).map_err(failed)?;
    if secret.reveal().len() < SHORTEST {
        return Err(Error::Short(path.clone()));
    }
    Ok(secret)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A forge `github` with the repository `infra`, called `acme/infra` there.
    pub(crate) fn forge(secret: &str) -> Forge {
        Forge { config: config("/none".into()), secret: Secret::of(secret) }
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
            statuses: None,
        }
    }

    #[test]
    fn a_secret_must_be_long() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Forges::load(&[config(file.path().to_owned())])
        };
        let loaded = load("0123456789abcdef\n").unwrap();
        assert!(loaded.find("github", ForgeKind::Github).is_some());
        assert!(!format!("{loaded:?}").contains("0123456789abcdef"));
        assert!(matches!(load("short\n"), Err(Error::Short(_))));
        assert!(matches!(load(""), Err(Error::Secret { .. })));
    }
}
