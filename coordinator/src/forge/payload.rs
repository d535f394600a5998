//! What is read of payloads in the same way, whichever forge they are of.

use pipelines::name::RepositoryName;
use serde::de::DeserializeOwned;

use super::{Error, Forge, Hook};
use crate::git::is_hash;

/// Longest branch name, login and other text taken from a payload, in bytes.
const TEXT: usize = 1024;

/// A push as all forges tell it.
pub(super) struct Push {
    pub(super) repository: RepositoryName,
    pub(super) reference: String,
    pub(super) before: String,
    /// All zeros if it deleted what it is about.
    pub(super) after: String,
    pub(super) login: Option<String>,
}

impl Push {
    /// What it says.
    pub(super) fn hook(self) -> Result<Hook, Error> {
        let kinds = [("branch", "refs/heads/"), ("tag", "refs/tags/")];
        let named = |(kind, prefix)| Some((kind, self.reference.strip_prefix(prefix)?));
        let Some((kind, name)) = kinds.into_iter().find_map(named) else {
            return Ok(ignored(format!("{} is neither branch nor tag", cut(&self.reference))));
        };
        let after = commit(&self.after, "after")?;
        let before = self.before.to_ascii_lowercase();
        if is_none(&after) {
            return Ok(ignored(format!("{kind} {} was deleted", cut(name))));
        }
        // As the forge sends it that somebody tries a webhook out with.
        if before == after {
            return Ok(Hook::Ping);
        }
        Ok(Hook::Push {
            commit: after,
            before: Some(before).filter(|it| is_hash(it) && !is_none(it)),
            login: login(self.login),
            reference: short(self.reference, "reference")?,
            repository: self.repository,
        })
    }
}

/// Whether the hash stands for no commit at all.
fn is_none(hash: &str) -> bool {
    hash.bytes().all(|digit| digit == b'0')
}

pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Payload(error.to_string()))
}

pub(super) fn known(forge: &Forge, full_name: &str) -> Result<RepositoryName, Error> {
    let known = forge.repository(full_name).cloned();
    known.ok_or_else(|| Error::UnknownRepository(cut(full_name)))
}

/// A commit's hash, which stands at `key`.
pub(super) fn commit(text: &str, key: &str) -> Result<String, Error> {
    let commit = text.to_ascii_lowercase();
    if is_hash(&commit) { Ok(commit) } else { Err(Error::Payload(format!("'{key}' is no commit"))) }
}

/// A name that must not be cut.
pub(super) fn short(text: String, what: &str) -> Result<String, Error> {
    if text.len() > TEXT {
        Err(Error::Payload(format!("the {what} is too long")))
    } else {
        Ok(text)
    }
}

pub(super) fn login(login: Option<String>) -> String {
    login.map_or_else(|| "unknown".to_owned(), |login| cut(&login))
}

/// An event that nothing is made of.
pub(super) fn unwanted(event: &str) -> Hook {
    ignored(format!(
        "events of kind {:?} start nothing",
        event.chars().take(64).collect::<String>()
    ))
}

/// A pull request to which nothing happened that concerns its commits.
pub(super) fn unchanged(action: &str, number: u64) -> Hook {
    ignored(format!("{} changes no commit of pull request {number}", cut(action)))
}

fn ignored(reason: String) -> Hook {
    Hook::Ignored { reason }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT / 4).collect()
}

/// The bytes that hex digits stand for.
pub(super) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let pair = |&[high, low]: &[u8; 2]| Some((digit(high)? * 16 + digit(low)?) as u8);
    if rest.is_empty() { pairs.iter().map(pair).collect() } else { None }
}
