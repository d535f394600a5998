//! `/api/v1/attempts/{id}/log`.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
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
    let missing = || Failure::not_found(format!("there is no attempt {id}"));
    let record = api.view.attempt(id)?.ok_or_else(missing)?;
    if !caller.sees(&record.agent.partition) {
        return Err(missing());
    }
    let kind = match query.format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Json => "application/x-ndjson",
    };
    let encode = move |frames: Vec<Frame>| Bytes::from(encode(query.format, frames));
    let body = if query.follow {
        let stop = api.stop.clone().cancelled_owned();
        let frames = following(api, id, query.offset).take_until(stop);
        Body::from_stream(frames.map(move |frames| frames.map(encode)))
    } else {
        let frames = reading(&api, id, query.offset);
        Body::from_stream(frames.map(move |frames| frames.map(encode)))
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body)
        .into_response())
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
fn following(api: Shared, id: AttemptId, offset: u64) -> impl Stream<Item = Frames> {
    let follower = api.logs.follow(id, offset);
    stream::try_unfold((api, follower), move |(api, mut follower)| async move {
        loop {
            let mut changes = api.driver.watch();
            if is_over(&api, id, &follower) {
                return Ok(None);
            }
            tokio::select! {
                followed = follower.next() => match followed? {
                    Some(Followed::Frames(frames)) => return Ok(Some((frames, (api, follower)))),
                    // It differed from what its runner wrote, and comes again from its start.
                    Some(Followed::Restarted) => {}
                    None => return Ok(None),
                },
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
    }
}
