//! `/api/v1/attempts/{id}/log`.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use coordinator_core::actor::{Actor, Role};
use coordinator_core::attempt;
use futures::{Stream, StreamExt, stream};
use pipelines::id::AttemptId;
use proto::log::Stream as Source;
use proto::v1::Frame;
use serde::Deserialize;

use super::types::LogFrame;
use super::{Api, Caller, Failure, Shared};
use crate::logs::{self, Followed, Follower};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// First byte of output wanted.
    #[serde(default)]
    offset: u64,
    /// Whether to go on until the log is complete.
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The output's bytes.
    #[default]
    Text,
    /// One [`LogFrame`] a line.
    Json,
}

pub(super) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<AttemptId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    check_seen(&api, &caller.0, id)?;
    if !query.follow {
        return Ok(answer(query.format, reading(&api, id, query.offset)));
    }
    let stop = api.stop.clone().cancelled_owned();
    let frames = following(api, id, query.offset).filter_map(async |followed| match followed {
        Ok(Followed::Frames(frames)) => Some(Ok(frames)),
        // What differs cannot be taken back from a stream: it comes again from its start.
        Ok(Followed::Restarted) => None,
        Err(error) => Some(Err(error)),
    });
    Ok(answer(query.format, frames.take_until(stop)))
}

/// What has arrived of an attempt's output, as it is.
pub(crate) fn text(api: &Api, actor: &Actor, id: AttemptId) -> Result<Response, Failure> {
    check_seen(api, actor, id)?;
    Ok(answer(Format::Text, reading(api, id, 0)))
}

fn answer(format: Format, frames: impl Stream<Item = Frames> + Send + 'static) -> Response {
    let kind = match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Json => "application/x-ndjson",
    };
    let bytes = move |frames: Vec<Frame>| Bytes::from(encode(format, frames));
    let body = Body::from_stream(frames.map(move |frames| frames.map(bytes)));
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body)
        .into_response()
}

/// Refuses an attempt that the actor may not know of.
pub(crate) fn check_seen(api: &Api, actor: &Actor, id: AttemptId) -> Result<(), Failure> {
    let record = api.view.attempt(id)?.ok_or_else(|| missing(id))?;
    if actor.may(Role::View, &record.agent.partition) { Ok(()) } else { Err(missing(id)) }
}

/// There is none, or the caller may not know of it.
pub(crate) fn missing(id: AttemptId) -> Failure {
    Failure::not_found(format!("there is no attempt {id}"))
}

type Frames = Result<Vec<Frame>, logs::Error>;

/// What has arrived.
fn reading(api: &Api, id: AttemptId, offset: u64) -> impl Stream<Item = Frames> + use<> {
    let follower = api.logs.follow(id, offset);
    stream::try_unfold(follower, |mut follower| async move {
        loop {
            match follower.arrived().await? {
                Some(Followed::Frames(frames)) => return Ok(Some((frames, follower))),
                // It differed from what its runner wrote, and comes again from its start.
                Some(Followed::Restarted) => {}
                None => return Ok(None),
            }
        }
    })
}

/// What has arrived and what arrives, until the log is complete or none can arrive any more.
pub(crate) fn following(
    api: Shared,
    id: AttemptId,
    offset: u64,
) -> impl Stream<Item = Result<Followed, logs::Error>> {
    let follower = api.logs.follow(id, offset);
    stream::try_unfold((api, follower), move |(api, mut follower)| async move {
        loop {
            let mut changes = api.driver.watch();
            if is_over(&api, id, &follower) {
                return Ok(None);
            }
            tokio::select! {
                followed = follower.next() => {
                    return Ok(followed?.map(|followed| (followed, (api, follower))));
                }
                // The verdict, which tells the length, may have come.
                _ = changes.recv() => {}
            }
        }
    })
}

fn is_over(api: &Api, id: AttemptId, follower: &Follower) -> bool {
    match api.view.attempt(id).ok().flatten().map(|attempt| attempt.state) {
        Some(attempt::State::Finished { verdict, .. }) => follower.offset() >= verdict.log.length,
        // Nobody will send the rest.
        Some(attempt::State::Abandoned { .. }) | None => true,
        Some(_) => false,
    }
}

fn encode(format: Format, frames: Vec<Frame>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.iter().map(|frame| frame.data.len()).sum());
    for frame in frames {
        match format {
            Format::Text => out.extend_from_slice(&frame.data),
            Format::Json => {
                let line = LogFrame {
                    offset: frame.offset,
                    time_us: frame.time_us,
                    stream: name(frame.stream()).to_owned(),
                    text: String::from_utf8_lossy(&frame.data).into_owned(),
                    dropped: frame.dropped,
                };
                serde_json::to_writer(&mut out, &line).expect("a frame has only string keys");
                out.push(b'\n');
            }
        }
    }
    out
}

fn name(stream: Source) -> &'static str {
    match stream {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
        Source::System => "system",
        Source::Gap => "gap",
    }
}
