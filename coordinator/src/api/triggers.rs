//! `/api/v1/triggers`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use coordinator_core::event::{Answer, Ask};
use coordinator_core::trigger::{self, Cause, TriggerId};
use uuid::Uuid;

use super::types::{NewTrigger, Trigger, Triggered};
use super::{Body, Caller, Failure, Shared};
use crate::driver::AskError;
use crate::git;

/// How long a request waits for a pending trigger.
const WAIT: Duration = Duration::from_secs(30);

pub(super) async fn create(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Body(body): Body<NewTrigger>,
) -> Result<(StatusCode, Json<Triggered>), Failure> {
    if api.config.repository(&body.repository).is_none() {
        return Err(Failure::not_found(format!(
            "repository '{}' is not in the coordinator's configuration",
            body.repository
        )));
    }
    let reference = full(&body.reference).ok_or_else(|| {
        Failure::invalid(format!("'{}' is no branch or reference", body.reference))
    })?;
    let ask = Ask::Trigger {
        key: body.key.unwrap_or_else(|| Uuid::new_v4().to_string()),
        repository: body.repository,
        reference,
        cause: Cause::Manual { pipeline: body.pipeline, inputs: body.inputs, limit: body.limit },
    };
    match api.driver.ask(actor, ask).await? {
        Answer::Triggered { trigger, new } => {
            let status = if new { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok((status, Json(Triggered { trigger: trigger.0, new })))
        }
        Answer::Done | Answer::Enrolled(_) => Err(AskError::Stopped.into()),
    }
}

pub(super) async fn show(
    State(api): State<Shared>,
    Caller(_): Caller,
    Path(id): Path<u64>,
) -> Result<Json<Trigger>, Failure> {
    // The watch begins before the look, so that nothing falls between them.
    let mut changes = api.driver.watch();
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let trigger = api.view.trigger(TriggerId(id))?;
        let trigger =
            trigger.ok_or_else(|| Failure::not_found(format!("there is no trigger {id}")))?;
        let waited = if trigger.state == trigger::State::Pending {
            tokio::time::timeout_at(deadline, changes.recv()).await.is_ok()
                && !api.stop.is_cancelled()
        } else {
            false
        };
        if !waited {
            return Ok(Json(view(trigger)));
        }
    }
}

fn view(trigger: trigger::Trigger) -> Trigger {
    let (status, runs, reason) = match trigger.state {
        trigger::State::Pending => ("pending", Vec::new(), None),
        trigger::State::Resolved { runs } => ("resolved", runs, None),
        trigger::State::Failed { reason } => ("failed", Vec::new(), Some(reason)),
    };
    Trigger { id: trigger.id.0, status: status.to_owned(), runs, reason }
}

/// A full reference, or a commit's full hash: another name without `refs/` is a branch.
pub(super) fn full(reference: &str) -> Option<String> {
    let sound =
        |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(['.']);
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    if reference.contains(forbidden) || reference.contains("..") || reference.contains("@{") {
        return None;
    }
    if !reference.split('/').all(sound) {
        return None;
    }
    if reference.starts_with("refs/") || git::is_hash(reference) {
        return Some(reference.to_owned());
    }
    Some(format!("refs/heads/{reference}"))
}

#[cfg(test)]
mod tests {
    use super::full;

    #[test]
    fn a_name_is_a_branch_unless_it_says_otherwise() {
        assert_eq!(full("main").as_deref(), Some("refs/heads/main"));
        assert_eq!(full("refs/tags/v1").as_deref(), Some("refs/tags/v1"));
        let hash = "a".repeat(40);
        assert_eq!(full(&hash), Some(hash));
        for bad in ["", "a b", "--upload-pack=x", "a..b", "a//b", "a^", "x@{1}", "a:b"] {
            assert_eq!(full(bad), None, "{bad}");
        }
    }
}
