//! Takes an agent's logs, and tells it how far they are durable.
//!
//! The first message of an attempt asks where to go on and is answered with a rewind.

use std::collections::BTreeSet;
use std::pin::pin;

use coordinator_core::agent::AgentKey;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use proto::v1::{LogAck, LogMessage, log_ack::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::warn;

use crate::logs::{Appended, Ended, Error, Logs, Uploads};
use crate::store::view::View;

/// Acknowledgements that may wait for the network.
const ACKS: usize = 256;

/// Complete logs of a stream that may wait for the disk.
const ENDS: usize = 256;

/// Attempts that a stream remembers as its agent's own.
const KNOWN: usize = 4096;

/// What comes from an agent.
pub trait Inbound: Stream<Item = Result<LogMessage, Status>> + Send + Unpin + 'static {}

impl<S: Stream<Item = Result<LogMessage, Status>> + Send + Unpin + 'static> Inbound for S {}

/// What a message of the stream comes to.
enum Taken {
    /// Nothing to be said.
    Nothing,
    /// This is said at once.
    Ack(LogAck),
    /// The log's end, which is acknowledged once all is durable.
    End(AttemptId, LogEnd),
}

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
        inbound: impl Inbound,
        tasks: &TaskTracker,
    ) -> ReceiverStream<Result<LogAck, Status>> {
        let (acks, outbound) = mpsc::channel(ACKS);
        tasks.spawn(self.run(inbound, acks));
        ReceiverStream::new(outbound)
    }

    async fn run(mut self, inbound: impl Inbound, acks: mpsc::Sender<Result<LogAck, Status>>) {
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

    /// Takes one message after the other. Ends wait for the disk beside that, so that many logs become durable in
    /// one go, and none holds up the output of others.
    async fn take_all(
        &mut self,
        mut inbound: impl Inbound,
        acks: &mpsc::Sender<Result<LogAck, Status>>,
    ) -> Result<(), Status> {
        let mut ends = FuturesUnordered::new();
        let mut open = true;
        while open || !ends.is_empty() {
            let ack = tokio::select! {
                message = inbound.next(), if open && ends.len() < ENDS => {
                    let Some(message) = message else {
                        open = false;
                        continue;
                    };
                    match self.take(message?).await? {
                        Taken::Nothing => continue,
                        Taken::Ack(ack) => ack,
                        Taken::End(attempt, end) => {
                            ends.push(ended(self.uploads.clone(), attempt, end));
                            continue;
                        }
                    }
                }
                Some(ack) = ends.next() => ack?,
            };
            if acks.send(Ok(ack)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn take(&mut self, message: LogMessage) -> Result<Taken, Status> {
        let attempt: AttemptId = message
            .attempt
            .parse()
            .map_err(|error: pipelines::id::Error| Status::invalid_argument(error.to_string()))?;
        if !self.owns(attempt)? {
            return Ok(Taken::Nothing);
        }
        let question = message.frames.is_empty() && message.end.is_none();
        let appended = self.uploads.append(attempt, message.offset, message.frames).await;
        Ok(match (appended.map_err(status)?, message.end) {
            (Appended::Rewind(offset), _) => Taken::Ack(ack(attempt, Kind::Rewind(offset))),
            (Appended::Written(offset), _) if question => {
                Taken::Ack(ack(attempt, Kind::Rewind(offset)))
            }
            (Appended::Written(_), Some(end)) => {
                Taken::End(attempt, LogEnd { length: end.length, sha256: end.sha256 })
            }
            (Appended::Written(_), None) => Taken::Nothing,
        })
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

/// The acknowledgement of a log's end.
async fn ended(uploads: Uploads, attempt: AttemptId, end: LogEnd) -> Result<LogAck, Status> {
    Ok(match uploads.end(attempt, end).await.map_err(status)? {
        Ended::Complete => ack(attempt, Kind::Complete(true)),
        Ended::Rewind(offset) => ack(attempt, Kind::Rewind(offset)),
    })
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use coordinator_core::event::Wall;
    use pipelines::id::RunId;
    use proto::log::{self, Frame};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::logs::{LogStore, Options};
    use crate::store::{self, Store};

    const TEXT: &str = "so it ends\n";

    /// A message of the first attempt of a job of run 7.
    fn message(job: u32) -> LogMessage {
        let attempt = RunId(7).job(job).attempt(1).to_string();
        LogMessage { attempt, ..LogMessage::default() }
    }

    fn output(job: u32) -> LogMessage {
        let mut frames = Vec::new();
        log::append(&mut frames, &Frame { data: TEXT.into(), ..Frame::default() });
        LogMessage { frames: frames.into(), ..message(job) }
    }

    fn end(job: u32) -> LogMessage {
        let sha256 = Sha256::digest(TEXT).iter().map(|byte| format!("{byte:02x}")).collect();
        let end = proto::v1::LogEnd { length: TEXT.len() as u64, sha256 };
        LogMessage { offset: TEXT.len() as u64, end: Some(end), ..message(job) }
    }

    /// The intake of an agent whose attempts are the first of all jobs of run 7 that are given here.
    fn intake(directory: &Path, logs: &Logs, jobs: &[u32]) -> Intake {
        let directory = directory.join("store");
        let (store, _) = Store::open(&directory, store::Options::default(), Wall(0)).unwrap();
        let agent = AgentKey { partition: "fra".parse().unwrap(), name: "mgmt01".parse().unwrap() };
        let mut intake = Intake::new(agent, store.view(), logs);
        intake.known.extend(jobs.iter().map(|job| RunId(7).job(*job).attempt(1)));
        intake
    }

    #[tokio::test]
    async fn an_end_that_waits_for_the_disk_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let rarely = Options { sync_every: Duration::from_secs(3600), ..Options::default() };
        let logs = LogStore::open(&directory.path().join("logs"), rarely).unwrap().logs();
        let (agent, inbound) = mpsc::channel(8);
        let tasks = TaskTracker::new();
        let acks =
            intake(directory.path(), &logs, &[0, 1, 2]).start(ReceiverStream::new(inbound), &tasks);
        let mut acks = pin!(acks);
        let mut next = async || {
            let ack = tokio::time::timeout(Duration::from_secs(20), acks.next()).await;
            let ack = ack.expect("nothing is acknowledged").unwrap().unwrap();
            (ack.attempt, ack.kind.unwrap())
        };
        // The next round is an hour away.
        agent.send(Ok(output(0))).await.unwrap();
        while next().await.1 != Kind::Durable(TEXT.len() as u64) {}
        for message in [output(1), end(1), message(2)] {
            agent.send(Ok(message)).await.unwrap();
        }
        // That nothing of it is durable yet may be said before.
        while next().await != ("7.2.1".to_owned(), Kind::Rewind(0)) {}
    }
}
