//! Commit statuses at Gitea and Forgejo: <https://docs.gitea.com/api/1.22/#tag/repository/operation/repoCreateStatus>.
//! They take what GitHub takes.

use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

use crate::secret::Secret;

pub(super) fn request(agent: &Agent, url: &str, token: &Secret) -> RequestBuilder<WithBody> {
    agent
        .post(url)
        .header("accept", "application/json")
        .header("authorization", format!("token {}", token.reveal()))
}
