//! Which host keys a device may show: pinned ones, or one that a pinned authority vouches for.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use pipelines::plan::Hop;
use russh::Preferred;
use russh::client;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::{Certificate, Fingerprint};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::connection::Error;

/// What this build can check, the best first.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];

/// And where RSA is good enough, never with SHA-1.
const RSA: [Algorithm; 2] = [
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Compares what a host shows with what the inventory says of it.
#[derive(Clone)]
pub(super) struct Pinned {
    keys: Vec<PublicKey>,
    authorities: Vec<Fingerprint>,
    /// What a certificate may call it: its address, or its name.
    principals: [String; 2],
    algorithms: Vec<Algorithm>,
    /// The key that was taken.
    pub(super) shown: Arc<OnceLock<PublicKey>>,
}

impl Pinned {
    /// What may be shown at `hop`; something at least.
    pub(super) fn of(hop: &Hop) -> Result<Pinned, Error> {
        let more: &[Algorithm] = if hop.rsa { &RSA } else { &[] };
        let algorithms: Vec<_> = ALGORITHMS.iter().chain(more).cloned().collect();
        let parse = |texts: &[String]| -> Vec<PublicKey> {
            let keys = texts.iter().filter_map(|text| PublicKey::from_openssh(text).ok());
            keys.filter(|key| algorithms.iter().any(|it| is_of(key, it))).collect()
        };
        let (keys, authorities) = (parse(&hop.host_keys), parse(&hop.host_ca));
        if keys.is_empty() && authorities.is_empty() {
            let pinned = hop.host_keys.iter().chain(&hop.host_ca).next();
            return Err(Error::Unsupported(pinned.cloned().unwrap_or_default()));
        }
        Ok(Pinned {
            keys,
            authorities: authorities.iter().map(fingerprint_of).collect(),
            principals: [hop.address.clone(), hop.device.to_string()],
            algorithms,
            shown: Arc::default(),
        })
    }

    /// What is asked for, one after the other: a host shows one key at a time, of the first type
    /// asked for that it has, so each type that is pinned is asked for in turn. Certificates go first.
    pub(super) fn wishes(&self) -> Vec<Preferred> {
        let by_authority = (!self.authorities.is_empty()).then(|| Preferred {
            host_key_certificates: Cow::Owned(self.algorithms.clone()),
            ..self.prefer(None)
        });
        // A host with an RSA key can use it either way.
        let types = self.algorithms.iter().filter(|it| **it != RSA[1]);
        let pinned = types.filter(|it| self.keys.iter().any(|key| is_of(key, it)));
        by_authority.into_iter().chain(pinned.map(|first| self.prefer(Some(first)))).collect()
    }

    /// One without a key of the type `first` shows another, which is better told than that there is
    /// none.
    fn prefer(&self, first: Option<&Algorithm>) -> Preferred {
        let others = self.algorithms.iter().filter(|other| Some(*other) != first);
        let key = first.into_iter().chain(others).cloned().collect();
        Preferred { key: Cow::Owned(key), ..Preferred::DEFAULT }
    }

    /// Why a certificate does not count; none if it does.
    fn objection(&self, certificate: &Certificate) -> Option<String> {
        let names = certificate.valid_principals();
        let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
        if !self.authorities.contains(&authority) {
            return Some(format!("it is of the authority {authority}, which is not pinned"));
        }
        if certificate.cert_type() != CertType::Host {
            return Some("it is none for hosts".to_owned());
        }
        if !names.iter().any(|name| self.principals.contains(name)) {
            let [address, name] = &self.principals;
            return Some(format!("it is for {names:?}, and neither for {address} nor for {name}"));
        }
        if !certificate.critical_options().is_empty() {
            return Some("it has critical options, and none are known".to_owned());
        }
        match certificate.validate(&self.authorities) {
            Ok(()) => None,
            Err(_) => Some("it is not valid now, or its signature is wrong".to_owned()),
        }
    }
}

impl client::Handler for Pinned {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let key = shown.public_key();
        let is_pinned = self.keys.iter().any(|pinned| key.key_data() == pinned.key_data());
        let objection = match shown.certificate() {
            Some(certificate) if !is_pinned => match self.objection(certificate) {
                Some(objection) => format!(" with a certificate that does not count: {objection}"),
                None => return Ok(self.take(key)),
            },
            _ if is_pinned => return Ok(self.take(key)),
            _ => String::new(),
        };
        let keys = self.keys.iter().map(|key| fingerprint_of(key).to_string());
        let authorities = self.authorities.iter().map(|it| format!("what authority {it} signs"));
        let pinned: Vec<_> = keys.chain(authorities).collect();
        let shown = format!("{}{objection}", fingerprint_of(&key));
        Err(Error::HostKey { shown, pinned: pinned.join(" or ") })
    }
}

impl Pinned {
    fn take(&self, key: PublicKey) -> bool {
        // One that is shown again when keys are exchanged anew is the same.
        let _ = self.shown.set(key);
        true
    }
}

fn fingerprint_of(key: &PublicKey) -> Fingerprint {
    key.fingerprint(HashAlg::Sha256)
}

fn is_of(key: &PublicKey, algorithm: &Algorithm) -> bool {
    match (key.algorithm(), algorithm) {
        // A key does not say how it is used.
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (kind, wanted) => kind == *wanted,
    }
}
