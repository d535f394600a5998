//! The coordinator's own certificate authority: it signs agents' certificates and its own.
//!
//! Invariant: the authority's key stays in its file (mode 0600) and this process.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use coordinator_core::agent::AgentKey;
use pipelines::name::{AgentName, PartitionName};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Days that an agent's certificate lives; it renews every day.
pub const AGENT_DAYS: i64 = 30;

/// Days after its expiry during which a certificate still renews itself, and nothing else.
pub const RENEW_GRACE_DAYS: i64 = 180;

/// Clocks may differ by this much.
const SKEW: Duration = Duration::hours(1);

/// Why the authority cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files cannot be read or written.
    #[error("certificate authority: {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One of its files holds something else.
    #[error("certificate authority: {path} cannot be read: {reason}; restore it from a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A request that is malformed, or not signed by its own key.
    #[error("certificate request is not valid: {0}")]
    Request(rcgen::Error),
    /// Signing failed.
    #[error("cannot sign a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    /// A certificate that does not name an agent of this coordinator.
    #[error("certificate names no agent of trust domain '{0}'")]
    Identity(String),
}

/// The authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    trust_domain: String,
}

impl Ca {
    /// Opens the authority in `dir`, or makes one there.
    pub fn open(dir: &Path, trust_domain: &str) -> Result<Ca, Error> {
        let key_path = dir.join("ca.key");
        let certificate_path = dir.join("ca.pem");
        if !certificate_path.exists() {
            create(dir, &key_path, &certificate_path, trust_domain)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })
        };
        let damaged = |path: &Path, reason: String| Error::Damaged { path: path.into(), reason };
        let key = KeyPair::from_pem(&read(&key_path)?)
            .map_err(|error| damaged(&key_path, error.to_string()))?;
        let pem = read(&certificate_path)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        Ok(Ca { issuer, certificate, trust_domain: trust_domain.to_owned() })
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 (hex) of the authority's certificate, which join tokens carry.
    pub fn fingerprint(&self) -> String {
        hex(&self.certificate)
    }

    /// A fresh certificate and key for the coordinator's own listener.
    pub fn server(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "garrison coordinator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = validity(AGENT_DAYS);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((vec![certificate.der().clone(), self.certificate.clone()], key.into()))
    }

    /// Signs the key of `request` for `agent`. The request's own subject and names are ignored.
    pub fn sign(
        &self,
        request: &Request,
        agent: &AgentKey,
    ) -> Result<CertificateDer<'static>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, agent.to_string());
        let uri = format!(
            "spiffe://{}/partition/{}/agent/{}",
            self.trust_domain, agent.partition, agent.name
        );
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = validity(AGENT_DAYS);
        let certificate = params.signed_by(&request.0.public_key, &self.issuer)?;
        Ok(certificate.der().clone())
    }

    /// Who a certificate says that it is. The chain was checked by the handshake.
    pub fn identify(&self, certificate: &CertificateDer<'_>) -> Result<Peer, Error> {
        let fail = || Error::Identity(self.trust_domain.clone());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| fail())?;
        let names = parsed.subject_alternative_name().ok().flatten().ok_or_else(fail)?;
        let [GeneralName::URI(uri)] = names.value.general_names[..] else { return Err(fail()) };
        let path =
            uri.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(&self.trust_domain));
        let mut parts = path.ok_or_else(fail)?.split('/');
        let (Some(""), Some("partition"), Some(partition), Some("agent"), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(fail());
        };
        let partition: PartitionName = partition.parse().map_err(|_| fail())?;
        let name: AgentName = name.parse().map_err(|_| fail())?;
        Ok(Peer {
            agent: AgentKey { partition, name },
            fingerprint: hex(parsed.public_key().raw),
            expired: !parsed.validity().is_valid(),
        })
    }
}

/// The agent at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub agent: AgentKey,
    /// SHA-256 (hex) of its public key.
    pub fingerprint: String,
    /// Its certificate has expired: it may renew it and do nothing else.
    pub expired: bool,
}

/// A certificate request whose own signature is right.
pub struct Request(CertificateSigningRequestParams);

impl Request {
    /// Reads a PKCS #10 request (DER) and checks that it is signed by the key that it holds.
    pub fn parse(der: &[u8]) -> Result<Request, Error> {
        let der = CertificateSigningRequestDer::from(der);
        CertificateSigningRequestParams::from_der(&der).map(Request).map_err(Error::Request)
    }

    /// SHA-256 (hex) of the public key.
    pub fn fingerprint(&self) -> String {
        hex(&self.0.public_key.subject_public_key_info())
    }
}

fn create(dir: &Path, key_path: &Path, certificate_path: &Path, domain: &str) -> Result<(), Error> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    fs::create_dir_all(dir).map_err(file(dir))?;
    let mut params = CertificateParams::default();
    // Two authorities must not share a name, or a mix-up shows as a wrong signature.
    let name = format!("garrison CA of {domain} {:016x}", rand::random::<u64>());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(3650);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write(key_path, 0o600, &authority.key().serialize_pem()).map_err(file(key_path))?;
    // The certificate last: where it stands, the key stands too.
    write(certificate_path, 0o644, &authority.pem()).map_err(file(certificate_path))
}

fn write(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - SKEW, now + Duration::days(days))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentKey {
        AgentKey { partition: "fra".parse().unwrap(), name: "mgmt01".parse().unwrap() }
    }

    fn request() -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        (key, der)
    }

    #[test]
    fn an_agents_certificate_says_who_it_is_whatever_it_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::open(dir.path(), "garrison").unwrap();
        let (key, _) = request();
        let params = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        let request = Request::parse(&der).unwrap();
        let peer = ca.identify(&ca.sign(&request, &agent()).unwrap()).unwrap();
        assert_eq!(
            peer,
            Peer { agent: agent(), fingerprint: request.fingerprint(), expired: false }
        );
    }

    #[test]
    fn the_authority_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Ca::open(dir.path(), "garrison").unwrap().fingerprint();
        assert_eq!(Ca::open(dir.path(), "garrison").unwrap().fingerprint(), first);
    }

    #[test]
    fn another_trust_domain_is_no_identity_here() {
        let dir = tempfile::tempdir().unwrap();
        let other = Ca::open(dir.path(), "other").unwrap();
        let certificate = other.sign(&Request::parse(&request().1).unwrap(), &agent()).unwrap();
        let ca = Ca::open(dir.path(), "garrison").unwrap();
        let error = ca.identify(&certificate).unwrap_err().to_string();
        assert_eq!(error, "certificate names no agent of trust domain 'garrison'");
    }

    #[test]
    fn a_request_signed_by_another_key_is_refused() {
        let mut der = request().1;
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(Request::parse(&der).is_err());
    }
}
