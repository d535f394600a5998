//! Agents' gRPC: who may call what, and between the wire and the driver.
//!
//! Invariant: who an agent is comes from its certificate alone, never from a message.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coordinator_core::actor::Actor;
use coordinator_core::agent::{About, AgentKey, SessionId};
use coordinator_core::event::{Answer, Ask, Event, ToAgent};
use coordinator_core::upgrade;
use futures::{Stream, stream};
use pipelines::label;
use pipelines::name::{self, LabelName};
use proto::v1::{self, agent_message, coordinator_message};
use proto::{PROTOCOL, convert};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span, warn};

use crate::ca::{self, Ca, Peer};
use crate::content::Contents;
use crate::driver::{self, AskError, Outgoing};
use crate::secrets::Secrets;
use crate::store::view::View;
use crate::tls::ConnectionInfo;
use crate::token;
use crate::transfer::Transfer;

/// An agent says hello at once.
const HELLO: Duration = Duration::from_secs(10);

/// Time for the reason of a refusal to reach the agent before its connection is ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both services.
#[derive(Clone)]
pub struct Sessions {
    /// The way to the core.
    pub driver: driver::Handle,
    /// The authority.
    pub ca: Arc<Ca>,
    /// What is remembered.
    pub view: View,
    /// Logs.
    pub logs: crate::logs::Logs,
    /// Source bundles and artifacts.
    pub contents: Contents,
    /// Opens values.
    pub secrets: Secrets,
    /// Keeps the sessions' tasks.
    pub tasks: TaskTracker,
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Sessions {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::Certificate>, Status> {
        let request = request.into_inner();
        let csr = ca::Request::parse(&request.csr).map_err(invalid)?;
        let hash = token::hash(&request.token);
        let ask = Ask::Enrol { hash, fingerprint: csr.fingerprint() };
        match self.driver.ask(Actor::Coordinator, ask).await {
            Ok(Answer::Enrolled(agent)) => {
                info!(%agent, "enrolled");
                self.certificate(&csr, &agent)
            }
            Ok(_) => Err(Status::internal("enrolment got another question's answer")),
            Err(AskError::Refused(refusal)) => Err(Status::unauthenticated(refusal.to_string())),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

#[tonic::async_trait]
impl v1::link_server::Link for Sessions {
    type ControlStream = Boxed<v1::CoordinatorMessage>;
    type LogsStream = Boxed<v1::LogAck>;
    type FetchStream = Boxed<v1::Chunk>;

    async fn control(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let (peer, close) = valid(&request)?;
        let mut inbound = request.into_inner();
        let hello = match tokio::time::timeout(HELLO, inbound.message()).await {
            Ok(Ok(Some(v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }))) => {
                hello
            }
            Ok(Err(status)) => return Err(status),
            Ok(Ok(_)) => return Err(Status::invalid_argument("the first message must be a hello")),
            Err(_) => return Err(Status::deadline_exceeded("no hello came")),
        };
        if let Err(reason) = speaks(hello.protocol) {
            warn!(agent = %peer.agent, %reason, "refused");
            let refused = coordinator_message::Kind::Refused(reason);
            let message = v1::CoordinatorMessage { kind: Some(refused) };
            return Ok(Response::new(Box::pin(stream::once(async { Ok(message) }))));
        }
        let (about, attempts) = read_hello(hello)?;
        let vouched = |(id, progress)| (id, self.contents.vouched(id, progress));
        let attempts = attempts.into_iter().map(vouched).collect();
        let (outbox, messages) = mpsc::channel(driver::OUTBOX);
        let agent = peer.agent.clone();
        let hello = |session| Event::AgentConnected {
            agent: peer.agent,
            fingerprint: peer.fingerprint,
            session,
            about,
            attempts,
        };
        let session = self.driver.connect(hello, outbox).await;
        let (ended, refused) = (CancellationToken::new(), CancellationToken::new());
        let (heartbeats, heard) = watch::channel(0);
        let span = info_span!("session", %agent, session = session.0);
        let reader = Reader {
            driver: self.driver.clone(),
            contents: self.contents.clone(),
            agent,
            session,
            heartbeats,
            ended: ended.clone(),
            refused: refused.clone(),
            close,
        };
        self.tasks.spawn(reader.run(inbound).instrument(span));
        Ok(Response::new(Box::pin(outgoing(messages, heard, ended, refused))))
    }

    async fn logs(
        &self,
        request: Request<Streaming<v1::LogMessage>>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let (peer, _) = valid(&request)?;
        self.known(&peer)?;
        let intake = crate::intake::Intake::new(peer.agent, self.view.clone(), &self.logs);
        let acks = intake.start(request.into_inner(), &self.tasks);
        Ok(Response::new(Box::pin(acks)))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::Certificate>, Status> {
        let (peer, _) = peer(&request)?;
        self.known(&peer)?;
        let csr = ca::Request::parse(&request.into_inner().csr).map_err(invalid)?;
        if csr.fingerprint() != peer.fingerprint {
            return Err(Status::permission_denied("a renewal is for the same key"));
        }
        self.certificate(&csr, &peer.agent)
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let (peer, _) = valid(&request)?;
        self.known(&peer)?;
        let content = self.transfer(peer).fetch(request.into_inner()).await?;
        Ok(Response::new(Box::pin(content)))
    }

    async fn store(
        &self,
        request: Request<Streaming<v1::StoreChunk>>,
    ) -> Result<Response<v1::StoreResponse>, Status> {
        let (peer, _) = valid(&request)?;
        self.known(&peer)?;
        self.transfer(peer).store(request.into_inner()).await?;
        Ok(Response::new(v1::StoreResponse {}))
    }

    async fn secrets(
        &self,
        request: Request<v1::SecretsRequest>,
    ) -> Result<Response<v1::Secrets>, Status> {
        let (peer, _) = valid(&request)?;
        self.known(&peer)?;
        let attempt = request.into_inner().attempt.parse();
        let attempt = attempt.map_err(|error: pipelines::id::Error| invalid(error))?;
        let secrets = self.secrets.clone();
        let opening = tokio::task::spawn_blocking(move || secrets.deliver(&peer.agent, attempt));
        let opened = opening.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(opened?))
    }

    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::Pong>, Status> {
        let (peer, _) = valid(&request)?;
        self.known(&peer)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(v1::Pong { version, time_us: driver::now().0 }))
    }
}

impl Sessions {
    fn transfer(&self, peer: Peer) -> Transfer {
        let (view, contents) = (self.view.clone(), self.contents.clone());
        Transfer { agent: peer.agent, view, contents }
    }

    fn certificate(
        &self,
        csr: &ca::Request,
        agent: &AgentKey,
    ) -> Result<Response<v1::Certificate>, Status> {
        let certificate =
            self.ca.sign(csr, agent).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::Certificate {
            certificate: certificate.to_vec().into(),
            authorities: vec![self.ca.certificate().to_vec().into()],
        }))
    }

    /// Whether the agent is enrolled with this key and not revoked.
    fn known(&self, peer: &Peer) -> Result<(), Status> {
        let agent = self.view.agent(&peer.agent).map_err(unavailable)?;
        match agent {
            Some(agent) if !agent.revoked && agent.fingerprint == peer.fingerprint => Ok(()),
            _ => Err(Status::permission_denied(format!(
                "agent {} is revoked, or was enrolled anew with another key",
                peer.agent
            ))),
        }
    }
}

/// Who calls; its certificate may have expired.
fn peer<T>(request: &Request<T>) -> Result<(Peer, CancellationToken), Status> {
    let info = request
        .extensions()
        .get::<ConnectionInfo>()
        .ok_or_else(|| Status::internal("connection without its information"))?;
    let peer = info.peer.clone().ok_or_else(|| {
        Status::unauthenticated("this call needs an agent's certificate: enrol with a join token")
    })?;
    Ok((peer, info.close.clone()))
}

/// Who calls, with a certificate that has not expired.
fn valid<T>(request: &Request<T>) -> Result<(Peer, CancellationToken), Status> {
    let (peer, close) = peer(request)?;
    if peer.expired {
        return Err(Status::unauthenticated("the certificate has expired: renew it first"));
    }
    Ok((peer, close))
}

fn speaks(protocol: u32) -> Result<(), String> {
    if protocol == PROTOCOL {
        return Ok(());
    }
    let older = if protocol < PROTOCOL { "agent" } else { "coordinator" };
    Err(format!(
        "the agent speaks protocol {protocol}, this coordinator {PROTOCOL}: upgrade the {older}"
    ))
}

type Held = Vec<(pipelines::id::AttemptId, pipelines::outcome::Progress)>;

fn read_hello(hello: v1::Hello) -> Result<(About, Held), Status> {
    let about = About {
        instance: hello
            .instance
            .parse()
            .map_err(|error| invalid(convert::Error::Instance(error)))?,
        version: hello.version,
        boot_id: hello.boot_id,
        sent_us: hello.sent_us,
        capacity: hello.capacity,
        upgrade: hello.upgrade.map(upgrade_report),
        labels: read_labels(hello.labels)?,
    };
    let attempts = hello.attempts.iter().map(convert::progress).collect::<Result<_, _>>();
    Ok((about, attempts.map_err(invalid)?))
}

fn upgrade_report(report: v1::UpgradeReport) -> upgrade::Report {
    upgrade::Report { number: report.number, failed: report.failed }
}

fn read_labels(labels: HashMap<String, String>) -> Result<BTreeMap<LabelName, String>, Status> {
    if labels.len() > label::MAX_COUNT {
        let text = format!("an agent may have at most {} labels", label::MAX_COUNT);
        return Err(Status::invalid_argument(text));
    }
    let checked = labels.into_iter().map(|(name, value)| {
        let text = |error: String| Status::invalid_argument(format!("label '{name}': {error}"));
        let value = label::check(&value).map_err(|error| text(error.to_string()))?;
        Ok((name.parse().map_err(|error: name::Error| text(format!("its name {error}")))?, value))
    });
    checked.collect()
}

/// Reads a session's reports until it ends.
struct Reader {
    driver: driver::Handle,
    contents: Contents,
    agent: AgentKey,
    session: SessionId,
    /// The number of the latest heartbeat, for its answer.
    heartbeats: watch::Sender<u64>,
    /// The way down is over: the coordinator has ended the session, or the connection is gone.
    ended: CancellationToken,
    /// The agent is told why it has no session.
    refused: CancellationToken,
    close: CancellationToken,
}

impl Reader {
    async fn run(self, mut inbound: Streaming<v1::AgentMessage>) {
        info!("connected");
        let reason = tokio::select! {
            reason = self.read(&mut inbound) => reason,
            () = self.ended.cancelled() => {
                // A well-behaved agent hangs up by itself. One that was refused may still be reading
                // why, though its messages have ended.
                let reading = async {
                    self.read(&mut inbound).await;
                    if self.refused.is_cancelled() {
                        std::future::pending::<()>().await;
                    }
                };
                drop(tokio::time::timeout(FAREWELL, reading).await);
                self.close.cancel();
                "ended by the coordinator".to_owned()
            }
        };
        info!(%reason, "disconnected");
        let Reader { driver, agent, session, .. } = self;
        driver.report(Event::AgentDisconnected { agent, session }).await;
    }

    async fn read(&self, inbound: &mut Streaming<v1::AgentMessage>) -> String {
        loop {
            let message = match inbound.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return "the agent hung up".to_owned(),
                Err(status) => return status.message().to_owned(),
            };
            let state = match message.kind {
                Some(agent_message::Kind::State(state)) => state,
                Some(agent_message::Kind::Heartbeat(number)) => {
                    // Whether anybody still answers is none of the reader's business.
                    self.heartbeats.send_replace(number);
                    continue;
                }
                Some(agent_message::Kind::Upgrade(report)) => {
                    let (agent, session) = (self.agent.clone(), self.session);
                    let report = upgrade_report(report);
                    self.driver.report(Event::UpgradeReported { agent, session, report }).await;
                    continue;
                }
                Some(agent_message::Kind::Hello(_)) | None => {
                    return "the agent sent something that is no report".to_owned();
                }
            };
            match convert::progress(&state) {
                Ok((attempt, progress)) => {
                    let progress = self.contents.vouched(attempt, progress);
                    let (agent, session) = (self.agent.clone(), self.session);
                    let event = Event::AttemptReported { agent, session, attempt, progress };
                    self.driver.report(event).await;
                }
                Err(error) => return error.to_string(),
            }
        }
    }
}

/// The stream down to the agent: ends when the driver drops its side or closes the session.
fn outgoing(
    messages: mpsc::Receiver<Outgoing>,
    heartbeats: watch::Receiver<u64>,
    ended: CancellationToken,
    refused: CancellationToken,
) -> impl Stream<Item = Result<v1::CoordinatorMessage, Status>> {
    let down = Down { messages, heartbeats, is_welcome: false, _ended: ended.drop_guard() };
    stream::unfold(Some((down, refused)), |down| async {
        let (mut down, refused) = down?;
        match down.next().await? {
            Ok(kind) => {
                Some((Ok(v1::CoordinatorMessage { kind: Some(kind) }), Some((down, refused))))
            }
            Err(reason) => {
                warn!(%reason, "session refused");
                // Before the way down is over.
                refused.cancel();
                let kind = Some(coordinator_message::Kind::Refused(reason));
                Some((Ok(v1::CoordinatorMessage { kind }), None))
            }
        }
    })
}

/// What goes down to an agent.
///
/// Invariant: a heartbeat is answered only while the core takes the session for connected, or
/// leases would be renewed of which the coordinator counts the end already.
struct Down {
    messages: mpsc::Receiver<Outgoing>,
    heartbeats: watch::Receiver<u64>,
    /// The core has admitted the session.
    is_welcome: bool,
    _ended: DropGuard,
}

impl Down {
    /// The next message, or why the session ends; none if it just ends.
    async fn next(&mut self) -> Option<Result<coordinator_message::Kind, String>> {
        let message = tokio::select! {
            biased;
            message = self.messages.recv() => message?,
            // Without a sender the reader has ended, and no heartbeat comes any more.
            Ok(()) = self.heartbeats.changed(), if self.is_welcome => {
                let number = *self.heartbeats.borrow_and_update();
                return Some(Ok(coordinator_message::Kind::Heartbeat(number)));
            }
        };
        match message {
            Outgoing::Message(message) => {
                self.is_welcome |= matches!(message, ToAgent::Welcome);
                Some(Ok(encode(message)))
            }
            Outgoing::Close(reason) => Some(Err(reason)),
        }
    }
}

fn encode(message: ToAgent) -> coordinator_message::Kind {
    use coordinator_message::Kind;
    match message {
        ToAgent::Welcome => Kind::Welcome(v1::Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeats: true,
        }),
        ToAgent::Order(order) => Kind::Order(v1::Order {
            attempt: order.attempt.to_string(),
            order: order.to_bytes().into(),
            signatures: Vec::new(),
        }),
        ToAgent::Cancel(attempt) => Kind::Cancel(v1::Cancel { attempt: attempt.to_string() }),
        ToAgent::Acknowledge(attempt) => {
            Kind::Acknowledge(v1::Acknowledge { attempt: attempt.to_string() })
        }
        ToAgent::Upgrade { number, program } => {
            Kind::Upgrade(v1::Upgrade { number, sha256: program })
        }
        ToAgent::Forget(attempt) => Kind::Forget(v1::Forget { attempt: attempt.to_string() }),
    }
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
