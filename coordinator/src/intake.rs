//! Takes an agent's logs, and tells it how far they are durable.
//!
//! The first message of an attempt asks where to go on and is answered with a rewind.

use std::collections::BTreeSet;
use std::pin::pin;

use coordinator_core::agent::AgentKey;
use futures::Stream;
use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use proto::v1::{LogAck, LogMessage, log_ack::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use tracing::warn;

use crate::logs::{Appended, Ended, Error, Logs, Uploads};
use crate::store::view::View;

/// Acknowledgements that may wait for the network.
const ACKS: usize = 256;

/// Attempts that a stream remembers as its agent's own.
const KNOWN: usize = 4096;

/// One stream of logs.
pub struct Intake {
    agent: AgentKey,
    view: View,
    uploads: Uploads,
    known: BTreeSet<AttemptId>,
}

impl Intake {
    /// The intake of a stream of `agent`.
    pub fn new(agent: AgentKey, view: View, logs: &Logs) -> Intake {
        Intake { agent, view, uploads: logs.uploads(), known: BTreeSet::new() }
    }

    /// Works through a stream; what comes out goes back to the agent.
    pub fn start(
        self,
        inbound: Streaming<LogMessage>,
        tasks: &TaskTracker,
    ) -> impl Stream<Item = Result<LogAck, Status>> + use<> {
        let (acks, outbound) = mpsc::channel(ACKS);
        tasks.spawn(self.run(inbound, acks));
        ReceiverStream::new(outbound)
    }

    async fn run(
        mut self,
        inbound: Streaming<LogMessage>,
        acks: mpsc::Sender<Result<LogAck, Status>>,
    ) {
        let uploads = self.uploads.clone();
        let durable = async {
            loop {
                let (attempt, offset) = uploads.durable().await;
                if acks.send(Ok(ack(attempt, Kind::Durable(offset)))).await.is_err() {
                    return;
                }
            }
        };
        let mut durable = pin!(durable);
        let take = self.take_all(inbound, &acks);
        let mut take = pin!(take);
        tokio::select! {
            () = &mut durable => {}
            ended = &mut take => if let Err(status) = ended {
                warn!(reason = status.message(), "log stream ended");
                drop(acks.send(Err(status)).await);
            },
        }
    }

    async fn take_all(
        &mut self,
        mut inbound: Streaming<LogMessage>,
        acks: &mpsc::Sender<Result<LogAck, Status>>,
    ) -> Result<(), Status> {
        while let Some(message) = inbound.message().await? {
            if let Some(ack) = self.take(message).await?
                && acks.send(Ok(ack)).await.is_err()
            {
                break;
            }
        }
        Ok(())
    }

    async fn take(&mut self, message: LogMessage) -> Result<Option<LogAck>, Status> {
        let attempt: AttemptId = message
            .attempt
            .parse()
            .map_err(|error: pipelines::id::Error| Status::invalid_argument(error.to_string()))?;
        if !self.owns(attempt)? {
            return Ok(None);
        }
        let question = message.frames.is_empty() && message.end.is_none();
        let appended = self.uploads.append(attempt, message.offset, message.frames).await;
        match appended.map_err(status)? {
            Appended::Rewind(offset) => return Ok(Some(ack(attempt, Kind::Rewind(offset)))),
            Appended::Written(offset) if question => {
                return Ok(Some(ack(attempt, Kind::Rewind(offset))));
            }
            Appended::Written(_) => {}
        }
        let Some(end) = message.end else { return Ok(None) };
        let end = LogEnd { length: end.length, sha256: end.sha256 };
        Ok(Some(match self.uploads.end(attempt, end).await.map_err(status)? {
            Ended::Complete => ack(attempt, Kind::Complete(true)),
            Ended::Rewind(offset) => ack(attempt, Kind::Rewind(offset)),
        }))
    }

    /// Whether the attempt is this agent's; one that is not known here is passed over, because the
    /// control stream tells the agent to forget it.
    fn owns(&mut self, attempt: AttemptId) -> Result<bool, Status> {
        if self.known.contains(&attempt) {
            return Ok(true);
        }
        let record =
            self.view.attempt(attempt).map_err(|error| Status::unavailable(error.to_string()))?;
        match record {
            Some(record) if record.agent == self.agent => {
                if self.known.len() >= KNOWN {
                    self.known.clear();
                }
                self.known.insert(attempt);
                Ok(true)
            }
            Some(_) => {
                Err(Status::permission_denied(format!("attempt {attempt} is another agent's")))
            }
            None => Ok(false),
        }
    }
}

fn ack(attempt: AttemptId, kind: Kind) -> LogAck {
    LogAck { attempt: attempt.to_string(), kind: Some(kind) }
}

fn status(error: Error) -> Status {
    let text = error.to_string();
    match error {
        Error::Frames(_) => Status::invalid_argument(text),
        Error::Full => Status::resource_exhausted(text),
        Error::Failed(_) | Error::Read { .. } | Error::Closed => Status::unavailable(text),
    }
}
