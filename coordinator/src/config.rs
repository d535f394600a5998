//! The coordinator's configuration file, read and checked before anything is opened.

mod duration;
mod nats;
mod origin;
mod trigger;
mod webhook;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::Uri;
use pipelines::name::{ForgeName, PartitionName, RepositoryName};
use serde::Deserialize;

pub use self::duration::seconds;
pub use self::nats::{Login, Nats};
pub use self::origin::{NotAnOrigin, Origin};
pub use self::trigger::{Place, Trigger};
pub use self::webhook::{Topics, Webhook};

/// `coordinator.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory for the journal, logs, mirrors and the certificate authority. Back it up.
    pub data: PathBuf,
    /// First part of the identities in certificates. Changing it cuts off all agents.
    #[serde(default = "default_trust_domain")]
    pub trust_domain: String,
    /// Where agents connect.
    pub agents: Agents,
    /// Where people, programs and forges connect.
    pub http: Http,
    /// Repositories that pipelines may come from. Nothing else is ever fetched.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// Partitions, and who may deploy there.
    #[serde(default)]
    pub partitions: Vec<Partition>,
    /// Forges whose webhooks start runs.
    #[serde(default)]
    pub forges: Vec<Forge>,
    /// Where events are published; nowhere if left out.
    pub nats: Option<Nats>,
    /// Who is told of events by webhooks.
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
    /// How secrets are sealed.
    #[serde(default)]
    pub secrets: Secrets,
}

/// The listener for agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host names and addresses by which agents dial; they stand in the server's certificate.
    pub names: Vec<String>,
}

/// The listener for people, programs and forges.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes a free one. Only loopback: there is no TLS here yet.
    #[serde(default = "default_http")]
    pub listen: SocketAddr,
    /// Where people reach it through a TLS proxy. Without it the pages answer only to this host's
    /// own names: `localhost` and loopback addresses.
    pub url: Option<Origin>,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// How everything here calls it.
    pub name: RepositoryName,
    /// What `git fetch` understands: an `https://`, `ssh://` or `file://` URL, or a path.
    pub url: String,
    /// How old what is known of its branches may be, in seconds, where an inventory is read from
    /// it. Each webhook of its own makes it new.
    #[serde(default)]
    pub max_age_s: u32,
    /// Repositories whose pipelines may include files of it, at tags and commits. Whoever writes such
    /// pipelines can read its files by that.
    #[serde(default)]
    pub included_by: Vec<RepositoryName>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its name.
    pub name: PartitionName,
    /// Repositories whose pipelines may run here.
    pub repositories: Vec<RepositoryName>,
    /// Where its inventory is kept; none if its pipelines use no devices.
    pub inventory: Option<Inventory>,
}

/// Where a partition's inventory is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The repository.
    pub repository: RepositoryName,
    /// The branch, such as `main`.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// The file, relative to the repository's root.
    pub file: String,
}

/// A forge that sends webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forge {
    /// Last part of the webhooks' URL; changing it makes redelivered webhooks act again.
    pub name: ForgeName,
    /// What the webhooks look like.
    pub kind: ForgeKind,
    /// File with the secret that signs the webhooks, of at least 16 bytes; read at start. Of a GitLab
    /// its signing token (`whsec_…`), or the secret token that comes with each webhook. Others than
    /// its owner and group must not be able to read it.
    pub secret_file: PathBuf,
    /// Repositories whose webhooks are taken.
    pub repositories: Vec<ForgeRepository>,
    /// How its commits get a status of the runs that it started; they get none if left out.
    pub statuses: Option<Statuses>,
}

/// How a forge is told what became of its commits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statuses {
    /// File with a token that may write commit statuses; read at start. Others than its owner and
    /// group must not be able to read it.
    pub token_file: PathBuf,
    /// The forge's REST API: `https://HOST/api/v3` for GitHub Enterprise Server, `https://HOST/api/v4`
    /// for GitLab, `https://HOST/api/v1` for Gitea and Forgejo. If left out, that of github.com or
    /// gitlab.com.
    pub url: Option<String>,
    /// Certificates (PEM) of the authorities that the forge's certificate comes from; the well-known
    /// ones if left out.
    pub ca_file: Option<PathBuf>,
}

/// How secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// File with the master key, 32 random bytes; read at start. Others than its owner and group
    /// must not be able to read it. If left out, `secrets.key` in the data directory, which is made
    /// when the first secret is set.
    pub key_file: Option<PathBuf>,
}

/// The kinds of forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// github.com, or GitHub Enterprise Server.
    Github,
    /// gitlab.com, or one of your own, from 17.4 on.
    Gitlab,
    /// Gitea.
    Gitea,
    /// Forgejo, such as codeberg.org.
    Forgejo,
}

impl ForgeKind {
    /// As it stands in the configuration and in the webhooks' URL.
    pub fn name(self) -> &'static str {
        match self {
            ForgeKind::Github => "github",
            ForgeKind::Gitlab => "gitlab",
            ForgeKind::Gitea => "gitea",
            ForgeKind::Forgejo => "forgejo",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            ForgeKind::Github => "GitHub",
            ForgeKind::Gitlab => "GitLab",
            ForgeKind::Gitea => "Gitea",
            ForgeKind::Forgejo => "Forgejo",
        }
    }

    /// The REST API of the forge that everybody can use; none where there is no such one.
    fn public_api(self) -> Option<&'static str> {
        match self {
            ForgeKind::Github => Some("https://api.github.com"),
            ForgeKind::Gitlab => Some("https://gitlab.com/api/v4"),
            ForgeKind::Gitea | ForgeKind::Forgejo => None,
        }
    }
}

impl Forge {
    /// Where its REST API is; none if it must be configured and is not.
    pub fn api(&self) -> Option<&str> {
        let configured = self.statuses.as_ref()?.url.as_deref();
        configured.or_else(|| self.kind.public_api())
    }
}

/// A repository as a forge and as the coordinator call it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgeRepository {
    /// Its name under `[[repositories]]`.
    pub name: RepositoryName,
    /// The forge's name for it, such as `acme/infra`.
    pub full_name: String,
}

fn default_trust_domain() -> String {
    "garrison".to_owned()
}

fn default_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7080))
}

fn default_branch() -> String {
    "main".to_owned()
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the text shows where.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// What the file says does not fit together; all of it at once.
    #[error("{path}:\n{}", .problems.join("\n"))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let at = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: at(), source })?;
        let config: Config = toml::from_str(&text)
            .map_err(|source| Error::Parse { path: at(), source: Box::new(source) })?;
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { path: at(), problems }) }
    }

    /// The repository of that name.
    pub fn repository(&self, name: &RepositoryName) -> Option<&Repository> {
        self.repositories.iter().find(|repository| repository.name == *name)
    }

    /// The partition of that name.
    pub fn partition(&self, name: &PartitionName) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == *name)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.agents.names.is_empty() {
            problems.push("agents.names is empty: add the name by which agents dial".to_owned());
        }
        if !self.http.listen.ip().is_loopback() {
            problems.push(format!(
                "http.listen is {}, which others can reach without TLS: listen on 127.0.0.1 and \
                 put a TLS proxy before it",
                self.http.listen
            ));
        }
        let mut seen = BTreeSet::new();
        for repository in &self.repositories {
            if !seen.insert(&repository.name) {
                problems.push(format!("repository '{}' is listed twice", repository.name));
            }
            for name in repository.included_by.iter().filter(|it| self.repository(it).is_none()) {
                problems.push(format!(
                    "repository '{}' is included by '{name}', which is not listed: add it under \
                     [[repositories]]",
                    repository.name
                ));
            }
        }
        let mut seen = BTreeSet::new();
        for partition in &self.partitions {
            if !seen.insert(&partition.name) {
                problems.push(format!("partition '{}' is listed twice", partition.name));
            }
            let inventory = partition.inventory.iter().map(|inventory| &inventory.repository);
            for name in partition.repositories.iter().chain(inventory) {
                if self.repository(name).is_none() {
                    problems.push(format!(
                        "partition '{}' names repository '{name}', which is not listed: add it \
                         under [[repositories]]",
                        partition.name
                    ));
                }
            }
        }
        self.forge_problems(&mut problems);
        if let Some(nats) = &self.nats {
            nats.problems(&mut problems);
        }
        webhook::problems(self, &mut problems);
        problems
    }

    fn forge_problems(&self, problems: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for forge in &self.forges {
            if !names.insert(&forge.name) {
                problems.push(format!("forge '{}' is listed twice", forge.name));
            }
            match forge.api() {
                Some(url) if !is_private(url) => problems.push(format!(
                    "forge '{}': statuses.url is '{url}', over which the token would be read by \
                     others: use https://",
                    forge.name
                )),
                None if forge.statuses.is_some() => problems.push(format!(
                    "forge '{}': statuses.url is missing, such as 'https://git.example.org/api/v1'",
                    forge.name
                )),
                Some(_) | None => {}
            }
            let mut seen = BTreeSet::new();
            for ForgeRepository { name, full_name } in &forge.repositories {
                if self.repository(name).is_none() {
                    problems.push(format!(
                        "forge '{}' names repository '{name}', which is not listed: add it under \
                         [[repositories]]",
                        forge.name
                    ));
                }
                if !seen.insert(full_name.to_lowercase()) {
                    problems.push(format!("forge '{}' names {full_name} twice", forge.name));
                }
            }
        }
    }
}

/// Whether nobody on the way can read what is sent there.
fn is_private(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => {
            host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coordinator.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    const BASE: &str = "data = '/d'\n[agents]\nlisten = '0.0.0.0:7443'\nnames = ['c.example']\n\
                        [http]\n";

    #[test]
    fn a_small_file_is_enough() {
        let config = load(BASE).unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:7080");
        assert_eq!(config.trust_domain, "garrison");
        let config = load(&format!("{BASE}url = 'https://c.example/'\n")).unwrap();
        assert_eq!(config.http.url.unwrap().as_str(), "https://c.example");
        let error = load(&format!("{BASE}url = 'c.example'\n")).unwrap_err();
        assert!(error.contains("is not an address") && error.contains("line 6"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place() {
        let error = load(&format!("{BASE}lisen = '127.0.0.1:1'\n")).unwrap_err();
        assert!(error.contains("lisen") && error.contains("line 6"), "{error}");
    }

    #[test]
    fn a_forges_repositories_are_known_and_named_once() {
        let forge = "[[forges]]\nname = 'github'\nkind = 'github'\nsecret_file = '/s'\n\
                     repositories = [{ name = 'infra', full_name = 'acme/infra' }, \
                     { name = 'infra', full_name = 'Acme/Infra' }]\n";
        let error = load(&format!("{BASE}{forge}{forge}")).unwrap_err();
        for part in ["'infra', which is not listed", "Acme/Infra twice", "'github' is listed twice"]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
        let plain = format!("{BASE}{forge}statuses = {{ token_file = '/t', url = 'http://a' }}\n");
        assert!(load(&plain).unwrap_err().contains("use https://"));
        let known = "[[repositories]]\nname = 'infra'\nurl = '/u'\n";
        let forge = forge.replace("kind = 'github'", "kind = 'bitbucket'");
        let error = load(&format!("{BASE}{known}{forge}")).unwrap_err();
        assert!(error.contains("bitbucket") && error.contains("forgejo"), "{error}");
        let forge = "[[forges]]\nname = 'own'\nkind = 'gitea'\nsecret_file = '/s'\n\
                     repositories = []\nstatuses = { token_file = '/t' }\n";
        let error = load(&format!("{BASE}{forge}")).unwrap_err();
        assert!(error.contains("statuses.url is missing"), "{error}");
        let config = load(&format!("{BASE}{}", forge.replace("gitea", "gitlab"))).unwrap();
        assert_eq!(config.forges[0].api(), Some("https://gitlab.com/api/v4"));
    }

    #[test]
    fn everything_that_does_not_fit_is_said_at_once() {
        let text = "data = '/d'\n[agents]\nlisten = '0.0.0.0:1'\nnames = []\n\
                    [http]\nlisten = '0.0.0.0:80'\n\
                    [[partitions]]\nname = 'fra'\nrepositories = ['infra']\n\
                    [[partitions]]\nname = 'fra'\nrepositories = []\n";
        let error = load(text).unwrap_err();
        for part in ["agents.names", "without TLS", "'infra'", "listed twice"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
