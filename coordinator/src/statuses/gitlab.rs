//! Commit statuses at GitLab: <https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit>.
//!
//! They are jobs of an external pipeline there, whose states only go forward: what has a state already
//! is not given it again, and keeps the words that it was given first.

use coordinator_core::run::Run;
use serde::Serialize;
use ureq::http::StatusCode;
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

use super::words::{State, Status};
use crate::outgoing::Answer;
use crate::secret::Secret;

/// A status as GitLab takes it.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    /// `pending`, `running`, `success`, `failed` or `canceled`.
    state: &'static str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    name: &'a str,
    /// The branch or tag; of a merge request GitLab looks for one that has the commit.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
}

impl<'a> Body<'a> {
    pub(super) fn new(run: &'a Run, status: &'a Status) -> Self {
        let name = |prefix| run.reference.strip_prefix(prefix);
        Body {
            state: match status.state {
                State::Waiting => "pending",
                State::Running => "running",
                State::Succeeded => "success",
                State::Failed | State::Invalid => "failed",
                State::Cancelled => "canceled",
            },
            description: &status.description,
            target_url: status.target_url.as_deref(),
            name: &status.context,
            reference: name("refs/heads/").or_else(|| name("refs/tags/")),
        }
    }
}

pub(super) fn request(agent: &Agent, url: &str, token: &Secret) -> RequestBuilder<WithBody> {
    agent.post(url).header("private-token", token.reveal())
}

/// What GitLab means by an answer, where that is not what others mean by it: a state that stands
/// already, and another request about the same commit that is not done yet.
pub(super) fn answer(status: StatusCode, body: &str) -> Option<Answer> {
    match status {
        StatusCode::BAD_REQUEST if body.contains("Cannot transition status via") => {
            Some(Answer::Taken)
        }
        StatusCode::CONFLICT => Some(Answer::Failed(status.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_stands_already_is_no_mistake() {
        let said = |status: u16, body: &str| answer(StatusCode::from_u16(status).unwrap(), body);
        let same =
            r#"{"message":"Cannot transition status via :run from :running (Reason(s): …)"}"#;
        assert_eq!(said(400, same), Some(Answer::Taken));
        assert_eq!(said(400, r#"{"message":"State is required"}"#), None);
        assert!(matches!(said(409, ""), Some(Answer::Failed(_))));
        assert_eq!(said(201, ""), None);
    }
}
