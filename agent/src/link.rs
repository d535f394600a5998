//! The link to the coordinator: dials, keeps the streams, and dials again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_core::Event;
use agent_core::lease::BootTime;
use pipelines::id::AttemptId;
use proto::v1::coordinator_message::Kind;
use proto::v1::link_client::LinkClient;
use proto::v1::{self, agent_message};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::clock;
use crate::config::Config;
use crate::content::Links;
use crate::host;
use crate::identity::{self, Identity};
use crate::upgrade;
use crate::upload::{self, Uploads};

/// Messages to the coordinator that may wait.
const OUTBOX: usize = 1024;

/// First and longest pause between two tries. A link that is back is found within the longest one
/// and the time that a connection may take.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// Pause after a try that reached the coordinator and was refused.
const REFUSED: Duration = Duration::from_secs(5);

/// Pause before a stream of logs that ended is opened again.
const LOGS_AGAIN: Duration = Duration::from_secs(1);

/// Between two heartbeats, each of which renews all leases.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A coordinator that has not answered a heartbeat for this long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A certificate is renewed when it is older than this.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What the link works with.
pub struct Link {
    /// Where to dial.
    pub config: Config,
    /// As whom.
    pub identity: Identity,
    /// The agent's loop.
    pub host: host::Handle,
    /// Where logs are taken from.
    pub uploads: Uploads,
    /// Who waits for a link to move content over.
    pub contents: Links,
    /// Hears which program is to run.
    pub upgrades: watch::Sender<upgrade::Asked>,
    /// Hears from when leases count.
    pub acknowledge: watch::Sender<Option<BootTime>>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("{}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the coordinator refused the link: {0}")]
    Refused(String),
    #[error("the coordinator hung up")]
    HungUp,
    #[error("the coordinator has not answered a heartbeat for {} s", SILENCE.as_secs())]
    Silent,
    #[error(
        "this agent's certificate is not valid before {0} s since 1970, and the clock says {1}: set the clock"
    )]
    Early(i64, i64),
}

impl Link {
    /// Keeps a link up until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            let start = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.session() => ended,
            };
            self.contents.down();
            self.host.event(Event::LinkDown).await;
            let reason = ended.err().unwrap_or(Ended::HungUp);
            if start.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            let longer = match reason {
                Ended::Refused(_) => REFUSED,
                _ => pause,
            };
            warn!(%reason, again_in_ms = longer.as_millis(), "no link");
            let jittered = longer.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn session(&mut self) -> Result<(), Ended> {
        let now = now();
        if now < self.identity.not_before {
            return Err(Ended::Early(self.identity.not_before, now));
        }
        let mut channel = self.identity.channel(&self.config).await?;
        if now > self.identity.not_after {
            // With an expired certificate nothing else is allowed.
            self.identity = self.identity.renew(channel).await?;
            info!("certificate renewed after it had expired");
            channel = self.identity.channel(&self.config).await?;
        }
        let mut client =
            LinkClient::new(channel.clone()).max_decoding_message_size(proto::MAX_MESSAGE);
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let mut heart = Heart::new(outbox.downgrade());
        self.host.linked(outbox).await;
        let mut inbound = client.control(ReceiverStream::new(messages)).await?.into_inner();
        let mut renewal = tokio::time::interval(RENEW_AFTER / 24);
        let mut beats = tokio::time::interval(HEARTBEAT);
        let mut logs = None;
        let mut logs_again = None;
        loop {
            tokio::select! {
                message = inbound.message() => match message?.ok_or(Ended::HungUp)?.kind {
                    Some(Kind::Welcome(welcome)) => {
                        let version = welcome.version;
                        info!(coordinator = %self.config.coordinator, %version, "linked");
                        if let Some(sent) = heart.welcomed(welcome.heartbeats) {
                            self.acknowledge.send_replace(Some(sent));
                        }
                        logs = Some(self.open_logs(&mut client).await?);
                        self.contents.up(client.clone());
                    }
                    Some(Kind::Heartbeat(number)) => {
                        if let Some(sent) = heart.answered(number) {
                            self.acknowledge.send_replace(Some(sent));
                        }
                    }
                    kind => self.hear(kind).await?,
                },
                // The coordinator may have no room for logs just now; orders go on.
                () = over(&logs) => {
                    (logs, logs_again) = (None, Some(tokio::time::Instant::now() + LOGS_AGAIN));
                }
                () = due(logs_again) => {
                    (logs, logs_again) = (Some(self.open_logs(&mut client).await?), None);
                }
                _ = beats.tick() => heart.beat()?,
                _ = renewal.tick() => self.renew(&channel).await,
            }
        }
    }

    async fn hear(&self, kind: Option<Kind>) -> Result<(), Ended> {
        let (text, event): (String, fn(AttemptId) -> Event) = match kind {
            Some(Kind::Refused(reason)) => return Err(Ended::Refused(reason)),
            Some(Kind::Order(order)) => {
                if let Ok(attempt) = order.attempt.parse() {
                    let order = order.order.to_vec();
                    let event = Event::OrderReceived { attempt, order, refusal: None };
                    self.host.event(event).await;
                }
                return Ok(());
            }
            Some(Kind::Upgrade(asked)) => {
                self.upgrades.send_if_modified(|latest| {
                    let is_new = latest.as_ref() != Some(&asked);
                    if is_new {
                        *latest = Some(asked);
                    }
                    is_new
                });
                return Ok(());
            }
            Some(Kind::Cancel(it)) => (it.attempt, |attempt| Event::CancelReceived { attempt }),
            Some(Kind::Acknowledge(it)) => {
                (it.attempt, |attempt| Event::VerdictAcknowledged { attempt })
            }
            Some(Kind::Forget(it)) => (it.attempt, |attempt| Event::ForgetReceived { attempt }),
            // A newer coordinator may say more; the protocol's version covers what must be known.
            Some(Kind::Welcome(_) | Kind::Heartbeat(_)) | None => return Ok(()),
        };
        if let Ok(attempt) = text.parse() {
            self.host.event(event(attempt)).await;
        }
        Ok(())
    }

    /// Opens the stream of logs; the token tells when it is over.
    async fn open_logs(
        &self,
        client: &mut LinkClient<Channel>,
    ) -> Result<CancellationToken, Ended> {
        let (outbox, messages) = mpsc::channel::<v1::LogMessage>(upload::OUTBOX);
        let acks = client.logs(ReceiverStream::new(messages)).await?.into_inner();
        let over = CancellationToken::new();
        let alive = over.clone().drop_guard();
        self.uploads.session(upload::Session { outbox, acks, alive }).await;
        Ok(over)
    }

    /// Renews the certificate once a day; the next link uses it.
    async fn renew(&mut self, channel: &Channel) {
        if now() - self.identity.not_before < RENEW_AFTER.as_secs() as i64 {
            return;
        }
        match self.identity.renew(channel.clone()).await {
            Ok(identity) => self.identity = identity,
            Err(error) => {
                warn!(%error, "certificate could not be renewed; trying again in an hour");
            }
        }
    }
}

/// The heartbeats of one session, at most one under way. The hello is the first.
struct Heart {
    /// Weak, so that the host alone decides how long the session lives.
    outbox: mpsc::WeakSender<v1::AgentMessage>,
    /// The number and time of what is not answered yet.
    under_way: Option<(u64, BootTime)>,
    last: u64,
    /// The coordinator answers heartbeats.
    beats: bool,
}

impl Heart {
    /// To be made before the hello is sent.
    fn new(outbox: mpsc::WeakSender<v1::AgentMessage>) -> Heart {
        Heart { outbox, under_way: Some((0, clock::boot_time())), last: 0, beats: false }
    }

    /// The coordinator took the hello; says when that was sent.
    fn welcomed(&mut self, beats: bool) -> Option<BootTime> {
        self.beats = beats;
        self.under_way.take().map(|(_, sent)| sent)
    }

    /// Sends a heartbeat if none is under way.
    fn beat(&mut self) -> Result<(), Ended> {
        let now = clock::boot_time();
        match self.under_way {
            _ if !self.beats => {}
            Some((_, sent)) if now.0 - sent.0 > SILENCE.as_micros() as u64 => {
                return Err(Ended::Silent);
            }
            Some(_) => {}
            None => {
                let kind = Some(agent_message::Kind::Heartbeat(self.last + 1));
                if let Some(outbox) = self.outbox.upgrade()
                    && outbox.try_send(v1::AgentMessage { kind }).is_ok()
                {
                    self.last += 1;
                    self.under_way = Some((self.last, now));
                }
            }
        }
        Ok(())
    }

    /// The answer to a heartbeat came; says when that was sent.
    fn answered(&mut self, number: u64) -> Option<BootTime> {
        let (_, sent) = self.under_way.take_if(|(under_way, _)| *under_way == number)?;
        Some(sent)
    }
}

async fn over(logs: &Option<CancellationToken>) {
    match logs {
        Some(over) => over.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
