//! A forge's REST API, as far as it sets commit statuses.

use std::sync::Arc;
use std::time::Duration;

use coordinator_core::event::Wall;
use coordinator_core::run::Run;
use ureq::Agent;

use super::words::Status;
use super::{gitea, github, gitlab};
use crate::config::{self, ForgeKind};
use crate::outgoing::{self, Answer};
use crate::secret::{self, Secret};

/// A connection to a forge's API. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Api {
    kind: ForgeKind,
    agent: Agent,
    /// Without a slash at its end.
    url: Arc<str>,
    token: Secret,
}

/// Why a forge's statuses cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] secret::Error),
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] outgoing::Error),
    /// It is not known where the API is.
    #[error("statuses.url is missing")]
    Url,
}

impl Api {
    /// Reads token and certificates; connects to nobody. A request gives up after `patience`.
    pub(super) fn open(
        forge: &config::Forge,
        statuses: &config::Statuses,
        patience: Duration,
    ) -> Result<Api, Error> {
        Ok(Api {
            kind: forge.kind,
            agent: outgoing::agent(statuses.ca_file.as_deref(), patience)?,
            url: forge.api().ok_or(Error::Url)?.trim_end_matches('/').into(),
            token: Secret::read(&statuses.token_file)?,
        })
    }

    /// Sets the status of a run's commit in the repository `full_name`. Blocks.
    pub(super) fn set(&self, full_name: &str, run: &Run, status: &Status, now: Wall) -> Answer {
        let Api { kind, agent, url, token } = self;
        let sent = match kind {
            ForgeKind::Github => {
                let url = format!("{url}/repos/{full_name}/statuses/{}", run.commit);
                github::request(agent, &url, token).send_json(github::Body::from(status))
            }
            ForgeKind::Gitlab => {
                let project = full_name.replace('/', "%2F");
                let url = format!("{url}/projects/{project}/statuses/{}", run.commit);
                gitlab::request(agent, &url, token).send_json(gitlab::Body::new(run, status))
            }
            ForgeKind::Gitea | ForgeKind::Forgejo => {
                let url = format!("{url}/repos/{full_name}/statuses/{}", run.commit);
                gitea::request(agent, &url, token).send_json(github::Body::from(status))
            }
        };
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let text = outgoing::text(&mut response);
        let own = match kind {
            ForgeKind::Gitlab => gitlab::answer(response.status(), &text),
            ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Forgejo => None,
        };
        let usual = || outgoing::answer(response.status(), response.headers(), &text, now);
        own.unwrap_or_else(usual)
    }
}
