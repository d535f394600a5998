//! What sessions ask of the writer.

use std::sync::Arc;

use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use tokio::sync::oneshot;

use super::file::Found;
use super::frames::Frames;
use super::live::Reports;
use super::{Appended, Ended, Error};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        attempt: AttemptId,
        frames: Frames,
        found: Option<Found>,
        reports: Arc<Reports>,
        answer: oneshot::Sender<Result<Answer<Appended>, Error>>,
    },
    End {
        attempt: AttemptId,
        end: LogEnd,
        found: Option<Found>,
        reports: Arc<Reports>,
        answer: EndAnswer,
    },
    Close,
}

pub(super) type EndAnswer = oneshot::Sender<Result<Answer<Ended>, Error>>;

/// What the writer answers.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Done(T),
    /// There is a file that the writer does not know: ask again with what is in it.
    Unknown,
}
