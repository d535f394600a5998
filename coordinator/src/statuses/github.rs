//! Commit statuses at GitHub: <https://docs.github.com/en/rest/commits/statuses>.

use serde::Serialize;
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

use super::words::{State, Status};
use crate::secret::Secret;

/// The API's version that this is written for.
const VERSION: &str = "2022-11-28";

/// A status as GitHub takes it, and Gitea and Forgejo do.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    /// `pending`, `success`, `failure` or `error`.
    state: &'static str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    context: &'a str,
}

impl<'a> From<&'a Status> for Body<'a> {
    fn from(status: &'a Status) -> Self {
        Body {
            state: match status.state {
                State::Waiting | State::Running => "pending",
                State::Succeeded => "success",
                State::Failed => "failure",
                State::Cancelled | State::Invalid => "error",
            },
            description: &status.description,
            target_url: status.target_url.as_deref(),
            context: &status.context,
        }
    }
}

pub(super) fn request(agent: &Agent, url: &str, token: &Secret) -> RequestBuilder<WithBody> {
    agent
        .post(url)
        .header("accept", "application/vnd.github+json")
        .header("authorization", format!("Bearer {}", token.reveal()))
        .header("x-github-api-version", VERSION)
}
