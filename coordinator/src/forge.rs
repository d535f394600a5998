//! Forges: whose webhooks are believed, which repositories they may speak of, and what they say.
//!
//! [`Forge::envelope`] reads the headers, [`Forge::open`] the body: first its seal, then its JSON.
//! Invariant: a forge's secret is in its file and in this process, and in no message.

mod envelope;
mod github;
mod gitlab;
mod payload;

use std::path::PathBuf;

use coordinator_core::event::Wall;
use hmac::{Hmac, KeyInit, Mac};
use pipelines::name::{ForgeName, RepositoryName};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub use self::envelope::Envelope;
use crate::config::{self, ForgeKind};
use crate::secret::{self, Secret};
use crate::signing::{self, Key};

/// Shortest secret, in bytes.
const SHORTEST: usize = 16;

/// The forges of the configuration.
#[derive(Debug)]
pub struct Forges(Vec<Forge>);

/// One forge.
#[derive(Debug)]
pub struct Forge {
    config: config::Forge,
    seal: Seal,
}

/// How a forge shows that a webhook is its own.
#[derive(Debug)]
enum Seal {
    /// By the HMAC-SHA-256 of the body under the secret, in hex.
    Hmac(Secret),
    /// By the secret itself.
    Token(Secret),
    /// By a signature of Standard Webhooks.
    Signature(Key),
}

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// The webhook was just set up, or is tried out.
    Ping,
    /// Commits came to a branch, or a tag was set.
    Push {
        /// The repository, as the coordinator calls it.
        repository: RepositoryName,
        /// Full git reference.
        reference: String,
        /// The new head, in hex.
        commit: String,
        /// The head before, in hex; none of a new branch.
        before: Option<String>,
        /// Who pushed.
        login: String,
    },
    /// A pull request was opened, or its commits or its branch changed.
    PullRequest {
        /// The repository that it is to be merged into, as the coordinator calls it.
        repository: RepositoryName,
        /// Its number.
        number: u64,
        /// Where the forge keeps its head: a full git reference.
        reference: String,
        /// Its head, in hex.
        commit: String,
        /// The branch that it is to be merged into, without `refs/heads/`.
        branch: String,
        /// The head of that branch, in hex, if the forge tells it.
        base: Option<String>,
        /// Who opened or changed it.
        login: String,
    },
    /// Nothing that starts a run.
    Ignored {
        /// Why not.
        reason: String,
    },
}

/// Why a webhook is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A header is missing.
    #[error("the header {name} is missing: is this {}?", .kind.title())]
    Header {
        /// Which one.
        name: &'static str,
        /// Who should have sent it.
        kind: ForgeKind,
    },
    /// A delivery cannot be told from others.
    #[error("{0} is no delivery's id")]
    Delivery(&'static str),
    /// The signature or the token is another's, or of another body, or too old.
    #[error(
        "the signature is wrong: give the webhook the same secret as the coordinator, and keep both \
         clocks right"
    )]
    Signature,
    /// The body is no such event.
    #[error("the payload cannot be read: {0}")]
    Payload(String),
    /// The repository is not one of the forge's.
    #[error("repository '{0}' is not listed under this forge in the coordinator's configuration")]
    UnknownRepository(String),
}

/// Why a forge's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
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
    /// It is cut off, or was typed by hand.
    #[error("{0} holds no signing token as GitLab makes it: 'whsec_' and 32 bytes in base64")]
    Token(PathBuf),
}

impl Forges {
    /// Reads the secrets.
    pub fn load(forges: &[config::Forge]) -> Result<Forges, Unusable> {
        let forges: Result<_, _> = forges
            .iter()
            .map(|config| Ok(Forge { seal: read(config)?, config: config.clone() }))
            .collect();
        Ok(Forges(forges?))
    }

    /// The forge of that name, whose kind has this name too.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Forge> {
        let is_meant = |it: &&Forge| it.name().as_str() == name && it.kind().name() == kind;
        self.0.iter().find(is_meant)
    }
}

impl Forge {
    /// Its name.
    pub fn name(&self) -> &ForgeName {
        &self.config.name
    }

    /// Its kind.
    pub fn kind(&self) -> ForgeKind {
        self.config.kind
    }

    /// What the coordinator calls the repository that the forge calls `full_name`.
    pub fn repository(&self, full_name: &str) -> Option<&RepositoryName> {
        let mut repositories = self.config.repositories.iter();
        let own = repositories.find(|it| it.full_name.eq_ignore_ascii_case(full_name))?;
        Some(&own.name)
    }

    /// What a webhook says; `body` is as it came.
    ///
    /// # Errors
    /// If it is not the forge's own, or cannot be read. Nothing of the body is looked at before its
    /// seal.
    pub fn open(&self, envelope: &Envelope<'_>, body: &[u8], now: Wall) -> Result<Hook, Error> {
        if !self.has_sealed(envelope, body, now) {
            return Err(Error::Signature);
        }
        match self.config.kind {
            ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Forgejo => {
                github::read(self, envelope.event, body)
            }
            ForgeKind::Gitlab => gitlab::read(self, envelope.event, body),
        }
    }

    /// Takes the same time wherever seals differ.
    fn has_sealed(&self, envelope: &Envelope<'_>, body: &[u8], now: Wall) -> bool {
        let Envelope { delivery, timestamp, seal, .. } = envelope;
        match &self.seal {
            Seal::Hmac(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
                    .expect("a key may have any length");
                mac.update(body);
                payload::bytes(seal).is_some_and(|seal| mac.verify_slice(&seal).is_ok())
            }
            Seal::Token(secret) => secret.reveal().as_bytes().ct_eq(seal.as_bytes()).into(),
            Seal::Signature(key) => key.is_signed(delivery, timestamp, body, seal, now),
        }
    }
}

fn read(config: &config::Forge) -> Result<Seal, Unusable> {
    let path = &config.secret_file;
    let failed = |source| Unusable::Secret { forge: config.name.clone(), source };
    let secret = Secret::read(path).map_err(failed)?;
    if secret.reveal().len() < SHORTEST {
        return Err(Unusable::Short(path.clone()));
    }
    Ok(match config.kind {
        ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Forgejo => Seal::Hmac(secret),
        ForgeKind::Gitlab if secret.reveal().starts_with(signing::PREFIX) => {
            let key = Key::read(secret.reveal());
            Seal::Signature(key.ok_or_else(|| Unusable::Token(path.clone()))?)
        }
        ForgeKind::Gitlab => Seal::Token(secret),
    })
}

#[cfg(test)]
mod tests;
