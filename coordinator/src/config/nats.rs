//! `[nats]`: where events are published.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ::events::DUPLICATE_WINDOW;
use axum::http::Uri;
use serde::Deserialize;

use super::{Trigger, duration};

/// The stream of events, and how its servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Servers of one NATS, each `nats://HOST:PORT`, or `tls://HOST:PORT` to insist on TLS.
    pub urls: Vec<String>,
    /// The JetStream stream; it is made if there is none.
    #[serde(default = "default_stream")]
    pub stream: String,
    /// How long a stream that is made here keeps events, such as `7d`; at least `2m`.
    #[serde(default = "default_max_age", deserialize_with = "duration::deserialize")]
    pub max_age: Duration,
    /// How many servers keep each event of a stream that is made here: 1 to 5.
    #[serde(default = "default_replicas")]
    pub replicas: usize,
    /// How far back events are published to a stream that is new, or was emptied.
    #[serde(default = "default_retention", deserialize_with = "duration::deserialize")]
    pub retention: Duration,
    /// The user, with `password_file`.
    pub user: Option<String>,
    /// File with the user's password.
    pub password_file: Option<PathBuf>,
    /// File with a token, instead of a user.
    pub token_file: Option<PathBuf>,
    /// File with the seed of an NKey, instead of a user.
    pub nkey_file: Option<PathBuf>,
    /// Credentials file (`.creds`: a JWT and its NKey), instead of a user.
    pub credentials_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the servers' certificates come from; the system's
    /// own if left out. With it TLS is insisted on.
    pub ca_file: Option<PathBuf>,
    /// Streams whose messages start pipelines.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
}

/// As whom the coordinator logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login<'a> {
    /// As nobody.
    None,
    /// With a user and the password in a file.
    User(&'a str, &'a PathBuf),
    /// With the token in a file.
    Token(&'a PathBuf),
    /// With the NKey whose seed is in a file.
    Nkey(&'a PathBuf),
    /// With a credentials file.
    Credentials(&'a PathBuf),
}

fn default_stream() -> String {
    "GARRISON".to_owned()
}

fn default_max_age() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

fn default_replicas() -> usize {
    1
}

fn default_retention() -> Duration {
    Duration::from_secs(24 * 3600)
}

impl Nats {
    /// These servers, entered as nobody; all else as it is by default.
    pub fn at(urls: Vec<String>) -> Nats {
        Nats {
            urls,
            stream: default_stream(),
            max_age: default_max_age(),
            replicas: default_replicas(),
            retention: default_retention(),
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            credentials_file: None,
            ca_file: None,
            triggers: Vec::new(),
        }
    }

    /// As whom the coordinator logs in; none if the keys contradict each other.
    pub fn login(&self) -> Option<Login<'_>> {
        let Nats { user, password_file, token_file, nkey_file, credentials_file, .. } = self;
        match (user, password_file, token_file, nkey_file, credentials_file) {
            (None, None, None, None, None) => Some(Login::None),
            (Some(user), Some(file), None, None, None) => Some(Login::User(user, file)),
            (None, None, Some(file), None, None) => Some(Login::Token(file)),
            (None, None, None, Some(file), None) => Some(Login::Nkey(file)),
            (None, None, None, None, Some(file)) => Some(Login::Credentials(file)),
            _ => None,
        }
    }

    /// Adds what does not fit together, one sentence each.
    pub fn problems(&self, problems: &mut Vec<String>) {
        if self.urls.is_empty() {
            problems.push("nats.urls is empty: add nats://HOST:4222".to_owned());
        }
        for url in &self.urls {
            problems.extend(wrong(url).map(|why| format!("nats.urls: {why}")));
        }
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.stream.is_empty() || !self.stream.chars().all(in_name) {
            problems.push(format!(
                "nats.stream is '{}': a name has letters, digits, '-' and '_'",
                self.stream
            ));
        }
        if self.max_age < DUPLICATE_WINDOW {
            problems.push("nats.max_age is less than 2m, for which NATS must remember".to_owned());
        }
        if !(1..=5).contains(&self.replicas) {
            problems.push("nats.replicas must be from 1 to 5".to_owned());
        }
        let mut channels = BTreeSet::new();
        for trigger in &self.triggers {
            trigger.problems(problems);
            let Trigger { stream, channel, .. } = trigger;
            if !channels.insert((stream, channel)) {
                problems.push(format!(
                    "nats.triggers names stream '{stream}' with channel '{channel}' twice: give one \
                     of them another `channel`"
                ));
            }
        }
        if self.login().is_none() {
            problems.push(
                "[nats] needs one login: user and password_file, or one of token_file, nkey_file \
                 and credentials_file"
                    .to_owned(),
            );
        }
    }
}

/// What is wrong with a server's address. It is not shown where it may hold a password.
fn wrong(url: &str) -> Option<String> {
    if url.contains('@') {
        return Some(
            "an address holds a user or a token: take user and password_file, or token_file"
                .to_owned(),
        );
    }
    let uri: Option<Uri> = url.parse().ok();
    let is_server = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("nats" | "tls")) && uri.host().is_some()
    });
    (!is_server).then(|| format!("'{url}' is no address such as nats://nats.example.org:4222"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let nats: Nats = toml::from_str(text).unwrap();
        let mut problems = Vec::new();
        nats.problems(&mut problems);
        problems.join("\n")
    }

    #[test]
    fn one_address_is_enough() {
        let nats: Nats = toml::from_str("urls = ['nats://127.0.0.1:4222']").unwrap();
        assert_eq!((nats.stream.as_str(), nats.login()), ("GARRISON", Some(Login::None)));
        assert_eq!(problems("urls = ['tls://nats.example.org']\nmax_age = '2m'"), "");
    }

    #[test]
    fn what_does_not_fit_is_said_without_what_may_be_secret() {
        let said = problems(
            "urls = ['http://a', 'nats://ada:hunter2@b']\nstream = 'a.b'\nmax_age = '1s'\n\
             replicas = 0\nuser = 'ada'\n",
        );
        for part in ["'http://a'", "password_file", "'a.b'", "less than 2m", "1 to 5", "one login"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
        assert!(problems("urls = []").contains("is empty"));
        let two = "urls = ['nats://a']\ntoken_file = '/t'\nnkey_file = '/n'";
        assert!(problems(two).contains("one login"));
        let secret = toml::from_str::<Nats>("urls = []\npassword = 'hunter2'").unwrap_err();
        assert!(secret.message().contains("unknown field `password`"), "{secret}");
    }
}
