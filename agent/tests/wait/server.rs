//! Servers that answer whoever connects, also over TLS with a certificate of their own authority.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A port of this host that nothing listens on.
pub(crate) fn free_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    // Bound and not listened on, it is given to nobody else as long as this process lives.
    std::mem::forget(socket);
    port
}

/// Answers with the same bytes each time; ends when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

impl Server {
    /// One that answers what it gets with `answer`; without one it speaks first.
    pub(crate) async fn start(answer: &str, tls: Option<ServerConfig>) -> Server {
        Server::on(0, answer, tls).await
    }

    pub(crate) async fn on(port: u16, answer: &str, tls: Option<ServerConfig>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let answer = answer.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &acceptor {
                    None => serve(stream, &answer).await,
                    // Who does not trust it breaks off.
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, &answer).await;
                        }
                    }
                }
            }
        });
        Server { port, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    if answer.starts_with("HTTP/") {
        let _ = stream.read(&mut [0; 4096]).await;
    }
    // Whoever only connects is gone by then.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The answer of a web server.
pub(crate) fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What a server of `names` speaks TLS with; its authority `metal test CA` is left in `dir` as
/// `ca.pem`.
pub(crate) fn tls(dir: &Path, names: &[&str], valid_days: i64) -> ServerConfig {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "metal test CA");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(60 * 60 * 24 * 400)).into();
    let day = std::time::Duration::from_secs(60 * 60 * 24);
    // And half a day, so that it is so many days whenever somebody looks.
    params.not_after = match valid_days {
        days @ 0.. => (now + day * days as u32 + day / 2).into(),
        days => (now - day * days.unsigned_abs() as u32).into(),
    };
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}
