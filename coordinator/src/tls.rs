//! TLS for the agents' listener: handshakes, and who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::ca::{Ca, Error, Peer, RENEW_GRACE_DAYS};

/// A peer that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection on which nothing that was sent is acknowledged for this long is broken; the agent
/// holds the same. A link that is slow acknowledges, one that lost its way does not.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Handshakes side by side; more wait in the listener's backlog. One costs about 0.5 ms of CPU.
const HANDSHAKES: usize = 256;

/// The server's certificate is made anew when it is this old.
const RENEW: Duration = Duration::from_secs(24 * 3600);

/// TLS 1.3 only; a client certificate is checked when there is one, and [`Peer`] says whose it is.
pub fn config(ca: &Arc<Ca>, names: Vec<String>) -> Result<ServerConfig, Error> {
    let resolver = Resolver { ca: Arc::clone(ca), names, current: Mutex::new(None) };
    resolver.current()?;
    let mut roots = RootCertStore::empty();
    roots
        .add(ca.certificate().clone())
        .map_err(|error| Error::Damaged { path: "ca.pem".into(), reason: error.to_string() })?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .expect("the authority is one root, and there are no revocation lists to refuse");
    let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_client_cert_verifier(Arc::new(GraceVerifier(verifier)))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Accepts connections until `stop`, which also ends them; each comes out with its handshake done.
pub async fn accept(
    listener: TcpListener,
    config: ServerConfig,
    ca: Arc<Ca>,
    connections: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept(), if handshakes.len() < HANDSHAKES => match accepted {
                Ok((stream, address)) => {
                    let (acceptor, ca) = (acceptor.clone(), Arc::clone(&ca));
                    let (connections, close) = (connections.clone(), stop.child_token());
                    handshakes.spawn(async move {
                        let handshake = handshake(&acceptor, &ca, stream, close);
                        match tokio::time::timeout(HANDSHAKE, handshake).await {
                            Ok(Ok(connection)) => drop(connections.send(Ok(connection)).await),
                            Ok(Err(error)) => debug!(%address, %error, "handshake failed"),
                            Err(_) => debug!(%address, "handshake timed out"),
                        }
                    });
                }
                // Out of file descriptors, or the peer is gone: neither ends the listener.
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// What tonic serves.
pub fn incoming(
    connections: mpsc::Receiver<io::Result<Connection>>,
) -> ReceiverStream<io::Result<Connection>> {
    ReceiverStream::new(connections)
}

async fn handshake(
    acceptor: &TlsAcceptor,
    ca: &Ca,
    stream: TcpStream,
    close: CancellationToken,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let milliseconds = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    setsockopt(&stream, sockopt::TcpUserTimeout, &milliseconds)?;
    let address = stream.peer_addr()?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = match certificate {
        Some(certificate) => Some(ca.identify(certificate).map_err(io::Error::other)?),
        None => None,
    };
    let info = ConnectionInfo { peer, address, close };
    Ok(Connection { stream, closed: Box::pin(info.close.clone().cancelled_owned()), info })
}

/// Who is at the other end, and the means to end the connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The agent; none without a client certificate.
    pub peer: Option<Peer>,
    /// Its address.
    pub address: SocketAddr,
    /// Cancelling it ends the connection with all its streams.
    pub close: CancellationToken,
}

/// A connection after its handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectionInfo,
    closed: Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;
    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The server's certificate, made anew every day.
struct Resolver {
    ca: Arc<Ca>,
    names: Vec<String>,
    current: Mutex<Option<(Instant, Arc<CertifiedKey>)>>,
}

impl Resolver {
    fn current(&self) -> Result<Arc<CertifiedKey>, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, key)) = &*current
            && made.elapsed() < RENEW
        {
            return Ok(Arc::clone(key));
        }
        let (chain, key) = self.ca.server(&self.names)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider)
            .expect("a key that was just generated fits its certificate");
        let key = Arc::new(key);
        *current = Some((Instant::now(), Arc::clone(&key)));
        Ok(key)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().inspect_err(|error| warn!(%error, "no server certificate")).ok()
    }
}

/// Lets a certificate that expired within the grace time pass the handshake; what it may do then is
/// decided by [`Peer::expired`].
#[derive(Debug)]
struct GraceVerifier(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for GraceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.0.verify_client_cert(end_entity, intermediates, now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                time,
                not_after,
            })) if time.as_secs() - not_after.as_secs() < RENEW_GRACE_DAYS as u64 * 86400 => {
                self.0.verify_client_cert(end_entity, intermediates, not_after)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }
}

/// Makes ring the process's one provider; called first thing in `main`.
pub fn install_provider() {
    // An error means that it was installed before, which is as good.
    drop(CryptoProvider::install_default(rustls::crypto::ring::default_provider()));
}
