//! Who this agent is: its key, its certificate, and the authority that it trusts.
//!
//! Invariant: the key never leaves its file (mode 0600) and this process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use pipelines::name::PartitionName;
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::link_client::LinkClient;
use proto::v1::{self};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::Config;

/// Time for the first connection of all, which fetches the authority's certificate.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time for a TCP connection. The kernel sends its first packet again after 1 s and then only after
/// 2 s more, so that a new connection finds a link that is back sooner.
const CONNECT: Duration = Duration::from_secs(2);

/// Time for a connection with its look-up of the name and its handshake.
const DIAL: Duration = Duration::from_secs(4);

/// A connection on which nothing that was sent is acknowledged for this long is broken; the
/// coordinator holds the same. A link that is slow acknowledges, one that lost its way does not.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// An idle connection asks the other host's kernel this often whether it still has it. A coordinator
/// that gave the connection up first cannot say so.
const PROBE: Duration = Duration::from_secs(1);

/// Keepalive: a link that does not answer within two of these is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} is damaged: {reason}; remove the folder and join again with a new token")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The agent has not joined.
    #[error(
        "this agent has not joined: make a token with 'garrison agents token' on the coordinator \
         and start the agent once with --join-token-file FILE"
    )]
    NotJoined,
    /// The token's text is not one.
    #[error("this is no join token: copy all of what 'garrison agents token' printed")]
    Token,
    /// No connection.
    #[error("cannot reach the coordinator at {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// Somebody answers there whom this agent's authority did not certify.
    #[error(
        "what answers at {url} is not this agent's coordinator ({reason}): check the address; if \
         the coordinator was set up anew, remove {} and join again with a new token", .dir.display()
    )]
    Untrusted {
        /// Where.
        url: String,
        /// What the handshake says.
        reason: String,
        /// Where this agent's identity is.
        dir: PathBuf,
    },
    /// Somebody else answers there.
    #[error(
        "what answers at {url} is not the coordinator that made this token (its certificate \
         authority is another): check the address, and who sits between"
    )]
    WrongCoordinator {
        /// Where.
        url: String,
    },
    /// The coordinator said no.
    #[error("the coordinator refused: {0}")]
    Refused(String),
    /// The key could not be made or used.
    #[error("cannot make a key or request: {0}")]
    Key(#[from] rcgen::Error),
}

/// An agent that has joined.
#[derive(Clone)]
pub struct Identity {
    dir: PathBuf,
    key: String,
    certificate: String,
    authority: String,
    /// Start of the certificate's validity, seconds since 1970.
    pub not_before: i64,
    /// End of the certificate's validity, seconds since 1970.
    pub not_after: i64,
    /// The partition that the certificate names.
    pub partition: PartitionName,
    /// Made together with the state directory.
    pub instance: Uuid,
}

impl Identity {
    /// Reads the identity in a state directory.
    pub fn load(state: &Path) -> Result<Identity, Error> {
        let dir = state.join("identity");
        let certificate_path = dir.join("agent.pem");
        if !certificate_path.exists() {
            return Err(Error::NotJoined);
        }
        let certificate = read(&certificate_path)?;
        let (not_before, not_after, partition) = parse(&certificate)
            .ok_or_else(|| damaged(&certificate_path, "it holds no agent's certificate"))?;
        let instance_path = dir.join("instance");
        let instance = read(&instance_path)?
            .trim()
            .parse()
            .map_err(|error: uuid::Error| damaged(&instance_path, error))?;
        Ok(Identity {
            key: read(&dir.join("agent.key"))?,
            authority: read(&dir.join("ca.pem"))?,
            certificate,
            not_before,
            not_after,
            partition,
            instance,
            dir,
        })
    }

    /// Joins with a token: makes a key, has it signed, and stores all of it. A token that was used
    /// by this very key, because an earlier answer got lost, works again.
    pub async fn join(config: &Config, token: &str) -> Result<Identity, Error> {
        let token = token.trim();
        let (_, pin) = token.split_once('.').ok_or(Error::Token)?;
        let dir = config.state.join("identity");
        fs::create_dir_all(&dir).map_err(|source| Error::File { path: dir.clone(), source })?;
        let authority = authority(config, pin).await?;
        let key = key(&dir.join("agent.key"))?;
        let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
        let authority = pem("CERTIFICATE", &authority);
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority));
        let channel = connect(config, tls).await?;
        let request = v1::EnrolRequest { token: token.to_owned(), csr: csr.into() };
        let signed = EnrolmentClient::new(channel).enrol(request).await;
        let signed = signed.map_err(|status| Error::Refused(status.message().to_owned()))?;
        write(&dir.join("ca.pem"), &authority)?;
        write(&dir.join("instance"), &Uuid::new_v4().to_string())?;
        // The certificate last: where it stands, all else stands too.
        write(&dir.join("agent.pem"), &pem("CERTIFICATE", &signed.into_inner().certificate))?;
        Identity::load(&config.state)
    }

    /// A channel to the coordinator with this identity.
    pub async fn channel(&self, config: &Config) -> Result<Channel, Error> {
        let identity = tonic::transport::Identity::from_pem(&self.certificate, &self.key);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            .identity(identity);
        connect(config, tls).await
    }

    /// Gets a new certificate for the same key and stores it.
    pub async fn renew(&self, channel: Channel) -> Result<Identity, Error> {
        let key = KeyPair::from_pem(&self.key)?;
        let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
        let request = v1::RenewRequest { csr: csr.into() };
        let signed = LinkClient::new(channel).renew(request).await;
        let signed = signed.map_err(|status| Error::Refused(status.message().to_owned()))?;
        let certificate = pem("CERTIFICATE", &signed.into_inner().certificate);
        let path = self.dir.join("agent.pem");
        let (not_before, not_after, partition) =
            parse(&certificate).ok_or_else(|| damaged(&path, "the new one is no agent's"))?;
        write(&path, &certificate)?;
        Ok(Identity { certificate, not_before, not_after, partition, ..self.clone() })
    }
}

async fn connect(config: &Config, tls: ClientTlsConfig) -> Result<Channel, Error> {
    let unreachable = |error: tonic::transport::Error| {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            reason = inner.to_string();
            source = inner.source();
        }
        let url = config.coordinator.clone();
        if reason.contains("invalid peer certificate") {
            return Error::Untrusted { url, reason, dir: config.state.join("identity") };
        }
        Error::Unreachable { url, reason }
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp.set_keepalive(Some(PROBE));
    tcp.set_keepalive_interval(Some(PROBE));
    Endpoint::from_shared(config.coordinator.clone())
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(unreachable)?
        .connect_timeout(DIAL)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        // With the default windows the log stream is ten times slower.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .connect_with_connector(tcp)
        .await
        .map_err(unreachable)
}

/// The authority's certificate, taken from what answers at the coordinator's address and compared
/// with the token's pin. The next connection then trusts it and nothing else.
async fn authority(config: &Config, pin: &str) -> Result<CertificateDer<'static>, Error> {
    let url = || config.coordinator.clone();
    let unreachable =
        |error: io::Error| Error::Unreachable { url: url(), reason: error.to_string() };
    let (host, port) = config.authority().ok_or(Error::Token)?;
    let mut tls = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Observer))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Error::Unreachable { url: url(), reason: error.to_string() })?;
    let handshake = async {
        let stream = TcpStream::connect((host, port)).await?;
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    };
    let stream = tokio::time::timeout(PATIENCE, handshake)
        .await
        .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let pinned = chain.iter().find(|certificate| hex(&Sha256::digest(certificate)) == pin);
    Ok(pinned.ok_or_else(|| Error::WrongCoordinator { url: url() })?.clone().into_owned())
}

/// Lets any handshake pass: it only fetches a chain, which is then compared with the pin. No byte
/// of ours travels over that connection.
#[derive(Debug)]
struct Observer;

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The key of an earlier try, or a new one.
fn key(path: &Path) -> Result<KeyPair, Error> {
    if path.exists() {
        return KeyPair::from_pem(&read(path)?).map_err(|error| damaged(path, error));
    }
    let key = KeyPair::generate()?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

/// A certificate's validity, and the partition in its name
/// `spiffe://DOMAIN/partition/PARTITION/agent/NAME`.
fn parse(pem: &str) -> Option<(i64, i64, PartitionName)> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let GeneralName::URI(uri) = names.value.general_names.first()? else { return None };
    let partition = uri.strip_prefix("spiffe://")?.split('/').nth(2)?.parse().ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp(), partition))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|source| Error::File { path: path.to_owned(), source })
}

fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
