//! Probes of TLS servers, and whom all probes over TLS trust.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pipelines::probe::{Check, Tls, Url, host_and_port};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::net;

/// Largest file of authorities, in bytes.
const MOST: u64 = 1 << 20;

const DAY_S: i64 = 24 * 60 * 60;

/// Whom a probe trusts; nobody if it does not speak TLS.
pub(super) struct Trust(Option<Arc<ClientConfig>>);

impl Trust {
    /// Reads the authorities that a probe names in the job's working directory, or those of this host.
    pub(super) fn of(check: &Check, workspace: &Path) -> Result<Trust, String> {
        let speaks_tls = match check {
            Check::Http(http) => http.url.parse::<Url>()?.is_tls,
            Check::Tls(_) => true,
            Check::Tcp { .. } | Check::Ssh { .. } | Check::HostKey { .. } | Check::Run { .. } => {
                false
            }
        };
        if !speaks_tls {
            return Ok(Trust(None));
        }
        let authorities = match check.ca() {
            Some(path) => named(path, workspace).map_err(|problem| {
                format!("the authorities of {path} cannot be used: {problem}")
            })?,
            None => of_this_host()?,
        };
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Trust(Some(Arc::new(config))))
    }

    /// Speaks TLS over `stream` with a server that proves to be `name`.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = self.0.clone().ok_or("nobody is trusted")?;
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| net::told(&error))
    }
}

fn named(path: &str, workspace: &Path) -> Result<RootCertStore, String> {
    let workspace = workspace.canonicalize().map_err(|error| net::told(&error))?;
    let file = workspace.join(path).canonicalize().map_err(|error| net::told(&error))?;
    // The script may have put a link there.
    if !file.starts_with(&workspace) {
        return Err("it is not in the working directory".to_owned());
    }
    let about = file.metadata().map_err(|error| net::told(&error))?;
    if !about.is_file() || about.len() > MOST {
        return Err("it is no file of at most 1 MiB".to_owned());
    }
    let pem = std::fs::read(&file).map_err(|error| net::told(&error))?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| "it is not PEM")?;
        authorities.add(certificate).map_err(|error| error.to_string())?;
    }
    match authorities.is_empty() {
        true => Err("it holds no certificate".to_owned()),
        false => Ok(authorities),
    }
}

fn of_this_host() -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    let (added, _) =
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match added {
        0 => Err("this host knows no authorities: install ca-certificates, or name a file by `ca`"
            .to_owned()),
        _ => Ok(authorities),
    }
}

/// Whether the server's certificate is valid, and as it is wanted.
pub(super) async fn certificate(tls: &Tls, trust: &Trust) -> Result<(), String> {
    let (host, _) = host_and_port(&tls.address)?;
    let stream = net::connect(&tls.address).await?;
    let stream = trust.connect(stream, tls.server_name.as_deref().unwrap_or(host)).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let shown = shown.ok_or("it showed no certificate")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    judge(tls, shown, i64::try_from(now).unwrap_or(i64::MAX))
}

fn judge(tls: &Tls, shown: &CertificateDer<'_>, now: i64) -> Result<(), String> {
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|error| error.to_string())?;
    let issuer = certificate.issuer().to_string();
    if let Some(wanted) = tls.issuer.as_ref().filter(|wanted| !issuer.contains(wanted.as_str())) {
        return Err(format!("the certificate was issued by `{issuer}`, not by `{wanted}`"));
    }
    let left = certificate.validity().not_after.timestamp() - now;
    match tls.valid_for_s {
        Some(wanted) if left < i64::from(wanted) => {
            Err(format!("the certificate is valid for {} days more", left.max(0) / DAY_S))
        }
        _ => Ok(()),
    }
}
