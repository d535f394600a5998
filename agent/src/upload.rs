//! Sends logs to the coordinator, from where the coordinator has them, over whatever link is up.
//!
//! Invariant: a job never waits for this; what is not sent rests in the attempt's directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent_core::Event;
use pipelines::id::AttemptId;
use pipelines::outcome::LogEnd;
use proto::v1::{self, log_ack};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tonic::Streaming;
use tracing::{debug, error, warn};

use crate::attempt::Attempt;
use crate::host;
use crate::spool::Reader;

/// News that wait for the uploader.
const NEWS: usize = 1024;

/// Messages between the uploader and the network; each holds up to 256 KiB.
pub const OUTBOX: usize = 4;

enum News {
    Grew { attempt: AttemptId, path: PathBuf, length: u64 },
    Ended { attempt: AttemptId, path: PathBuf, end: LogEnd },
    Gone { attempt: AttemptId },
    Session(Session),
}

/// A stream of logs that is open.
pub struct Session {
    /// Up.
    pub outbox: mpsc::Sender<v1::LogMessage>,
    /// Down.
    pub acks: Streaming<v1::LogAck>,
    /// Goes when the session is over, so that the link opens another.
    pub alive: DropGuard,
}

/// The way to the uploader.
#[derive(Debug, Clone)]
pub struct Uploads(mpsc::Sender<News>);

impl Uploads {
    /// There is more output.
    pub async fn grew(&self, attempt: &Attempt, length: u64) {
        self.tell(News::Grew { attempt: attempt.id(), path: attempt.log(), length }).await;
    }

    /// There will be no more output.
    pub async fn ended(&self, attempt: &Attempt, end: &LogEnd) {
        let end = end.clone();
        self.tell(News::Ended { attempt: attempt.id(), path: attempt.log(), end }).await;
    }

    /// The attempt is of no use any more.
    pub async fn gone(&self, attempt: AttemptId) {
        self.tell(News::Gone { attempt }).await;
    }

    /// A link is up.
    pub async fn session(&self, session: Session) {
        self.tell(News::Session(session)).await;
    }

    async fn tell(&self, news: News) {
        drop(self.0.send(news).await);
    }
}

/// One log on its way.
struct Log {
    path: PathBuf,
    length: u64,
    end: Option<LogEnd>,
    /// Where the coordinator wants to go on; none before it said so in this session.
    next: Option<u64>,
    asked: bool,
    end_sent: bool,
    reader: Option<Reader>,
}

/// What to send of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The question where to go on.
    Question,
    /// Frames from this offset on.
    Frames(u64),
    /// The end.
    End(u64),
}

/// The uploader.
pub struct Uploader {
    news: mpsc::Receiver<News>,
    logs: BTreeMap<AttemptId, Log>,
    /// Both ends of the session's stream, while there is one.
    outbox: Option<mpsc::Sender<v1::LogMessage>>,
    acks: Option<Streaming<v1::LogAck>>,
    alive: Option<DropGuard>,
    /// Whose turn was last, so that each log gets its turn.
    last: Option<AttemptId>,
}

impl Uploader {
    /// An uploader without a link.
    pub fn new() -> (Uploader, Uploads) {
        let (sender, news) = mpsc::channel(NEWS);
        let logs = BTreeMap::new();
        let uploader = Uploader { news, logs, outbox: None, acks: None, alive: None, last: None };
        (uploader, Uploads(sender))
    }

    /// Runs until nobody can tell it anything any more.
    pub async fn run(mut self, host: host::Handle) {
        loop {
            let turn = self.turn();
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news),
                    None => return,
                },
                ack = ack(&mut self.acks) => match ack {
                    Some(ack) => self.acknowledged(&ack, &host).await,
                    None => self.hang_up(),
                },
                permit = permit(&self.outbox), if turn.is_some() => match (permit, turn) {
                    (Some(permit), Some((attempt, part))) => {
                        self.last = Some(attempt);
                        if let Some(message) = self.message(attempt, part).await {
                            permit.send(message);
                        }
                    }
                    _ => self.hang_up(),
                },
            }
        }
    }

    fn hang_up(&mut self) {
        (self.outbox, self.acks, self.alive) = (None, None, None);
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Grew { attempt, path, length } => {
                let log = self.logs.entry(attempt).or_insert_with(|| Log::new(path));
                log.length = log.length.max(length);
            }
            News::Ended { attempt, path, end } => {
                let log = self.logs.entry(attempt).or_insert_with(|| Log::new(path));
                log.length = end.length;
                log.end = Some(end);
            }
            News::Gone { attempt } => drop(self.logs.remove(&attempt)),
            News::Session(session) => {
                (self.outbox, self.acks) = (Some(session.outbox), Some(session.acks));
                self.alive = Some(session.alive);
                for log in self.logs.values_mut() {
                    (log.next, log.asked, log.end_sent) = (None, false, false);
                }
            }
        }
    }

    async fn acknowledged(&mut self, ack: &v1::LogAck, host: &host::Handle) {
        let Ok(attempt) = ack.attempt.parse::<AttemptId>() else {
            return warn!(attempt = %ack.attempt, "log acknowledgement names no attempt");
        };
        let Some(log) = self.logs.get_mut(&attempt) else { return };
        match ack.kind {
            Some(log_ack::Kind::Rewind(offset)) => {
                debug!(%attempt, offset, "log goes on");
                (log.next, log.end_sent) = (Some(offset), false);
            }
            Some(log_ack::Kind::Complete(_)) => {
                self.logs.remove(&attempt);
                host.event(Event::LogAcknowledged { attempt }).await;
            }
            // All of it rests here until the log is complete: nothing to be done.
            Some(log_ack::Kind::Durable(_)) | None => {}
        }
    }

    /// The next log that has something to send, and what.
    fn turn(&self) -> Option<(AttemptId, Part)> {
        self.outbox.as_ref()?;
        let after =
            self.logs.iter().skip_while(|(id, _)| self.last.is_some_and(|last| **id <= last));
        let mut logs = after.chain(&self.logs);
        logs.find_map(|(id, log)| Some((*id, log.part()?)))
    }

    async fn message(&mut self, attempt: AttemptId, part: Part) -> Option<v1::LogMessage> {
        let log = self.logs.get_mut(&attempt)?;
        let message = |offset| v1::LogMessage {
            attempt: attempt.to_string(),
            offset,
            ..v1::LogMessage::default()
        };
        match part {
            Part::Question => {
                log.asked = true;
                Some(message(0))
            }
            Part::End(offset) => {
                log.end_sent = true;
                let end = log.end.as_ref()?;
                let end = v1::LogEnd { length: end.length, sha256: end.sha256.clone() };
                Some(v1::LogMessage { end: Some(end), ..message(offset) })
            }
            Part::Frames(offset) => match log.read(offset).await {
                Ok((frames, end)) if end > offset => {
                    log.next = Some(end);
                    Some(v1::LogMessage { frames: frames.into(), ..message(offset) })
                }
                // The news came before the frame is whole in the file: it will be told again.
                Ok(_) => {
                    log.length = offset;
                    None
                }
                Err(error) => {
                    error!(%attempt, %error, "log cannot be sent before the agent's next start");
                    self.logs.remove(&attempt);
                    None
                }
            },
        }
    }
}

impl Log {
    fn new(path: PathBuf) -> Log {
        Log { path, length: 0, end: None, next: None, asked: false, end_sent: false, reader: None }
    }

    fn part(&self) -> Option<Part> {
        let Some(next) = self.next else {
            return (!self.asked).then_some(Part::Question);
        };
        if next < self.length {
            return Some(Part::Frames(next));
        }
        (self.end.is_some() && !self.end_sent).then_some(Part::End(next))
    }

    /// Frames from `offset` on, and where they end.
    async fn read(&mut self, offset: u64) -> anyhow::Result<(Vec<u8>, u64)> {
        let (reader, path) = (self.reader.take(), self.path.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => Reader::open(&path)?,
            };
            let batch = reader.read(offset, proto::LOG_MESSAGE)?;
            anyhow::Ok((reader, batch))
        });
        let (reader, batch) = reading.await??;
        self.reader = Some(reader);
        Ok((batch.frames, batch.end))
    }
}

/// The next acknowledgement; none once the session has ended, never without one.
async fn ack(acks: &mut Option<Streaming<v1::LogAck>>) -> Option<v1::LogAck> {
    match acks {
        Some(acks) => acks.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Room for one message; none once the session has ended, never without one.
async fn permit(
    outbox: &Option<mpsc::Sender<v1::LogMessage>>,
) -> Option<mpsc::OwnedPermit<v1::LogMessage>> {
    match outbox {
        Some(outbox) => outbox.clone().reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}
