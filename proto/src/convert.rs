//! Between the wire's messages and the vocabulary of `pipelines`.

use pipelines::id::AttemptId;
use pipelines::outcome::Progress;

use crate::v1;

/// A message that its sender should not have sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A required field is missing.
    #[error("message lacks '{0}'")]
    Missing(&'static str),
    /// An attempt's id is malformed.
    #[error(transparent)]
    Id(#[from] pipelines::id::Error),
    /// A verdict is malformed.
    #[error("verdict cannot be read: {0}")]
    Verdict(#[from] serde_json::Error),
    /// An instance is no UUID.
    #[error("instance is not a UUID: {0}")]
    Instance(#[from] uuid::Error),
}

/// Writes where an attempt is.
pub fn state(attempt: AttemptId, progress: &Progress) -> v1::AttemptState {
    use v1::attempt_state::State;
    let state = match progress {
        Progress::Accepted => State::Accepted(v1::Accepted {}),
        Progress::Running { started_us } => State::Running(v1::Running { started_us: *started_us }),
        Progress::Finished(verdict) => State::Finished(
            serde_json::to_vec(verdict).expect("a verdict has only string keys").into(),
        ),
    };
    v1::AttemptState { attempt: attempt.to_string(), state: Some(state) }
}

/// Reads where an attempt is.
pub fn progress(state: &v1::AttemptState) -> Result<(AttemptId, Progress), Error> {
    use v1::attempt_state::State;
    let attempt = state.attempt.parse()?;
    let progress = match state.state.as_ref().ok_or(Error::Missing("state"))? {
        State::Accepted(_) => Progress::Accepted,
        State::Running(running) => Progress::Running { started_us: running.started_us },
        State::Finished(verdict) => Progress::Finished(Box::new(serde_json::from_slice(verdict)?)),
    };
    Ok((attempt, progress))
}
