//! A connection to a device: its host keys are pinned, and the user logs in with the agent's keys.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipelines::plan::Ssh;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{
    self, Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate,
};
use russh::{Channel, ChannelMsg, Disconnect, Preferred};
use tokio::time::timeout;

/// How long a device may take until its user is logged in.
const PATIENCE: Duration = Duration::from_secs(15);

/// After this silence the device is asked for a sign of life, and given up when three are missing.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Most bytes that are kept of either stream of a short command.
const MOST: usize = 64 << 10;

/// What this build can check, the best first.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];

/// A user's session on a device. Dropping it does not end what runs there.
pub(super) struct Connection(Handle<Pinned>);

/// What a short command said.
pub(super) struct Reply {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Exit status; none if a signal ended it.
    pub(super) status: Option<u32>,
}

/// Why a device cannot be used, or no more. None of it has started anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no key to log in to devices is named; name one by ssh.keys in the site's policy")]
    NoKeys,
    #[error(
        "cannot use the key {path}: {source}; ssh.keys in the site's policy must name readable \
         private keys without a passphrase, Ed25519 or ECDSA"
    )]
    Key { path: PathBuf, source: keys::Error },
    #[error(
        "the pinned host key '{0}' cannot be checked by this agent: pin the device's Ed25519 or \
         ECDSA key in the inventory"
    )]
    Unsupported(String),
    #[error(
        "the device shows the host key {shown}, but {pinned} is pinned; nothing was started. If \
         the device was reinstalled, pin its new key in the inventory; else somebody may stand \
         between it and this host"
    )]
    HostKey {
        shown: String,
        /// All of them, with "or" between.
        pinned: String,
    },
    #[error(
        "it lets user {user} in with none of the keys {keys:?}; add one's public part to the \
         user's authorized_keys there, or name another by ssh.keys in the site's policy"
    )]
    Denied { user: String, keys: Vec<PathBuf> },
    #[error(
        "no answer within {} s; see that it is up and that this host may reach it",
        PATIENCE.as_secs()
    )]
    Silent,
    #[error("{0}; see that it is up, that sshd runs there, and that this host may reach it")]
    Unreachable(#[source] russh::Error),
    #[error("it refuses to run a command; see that the user's shell and sshd allow it")]
    Refused,
    #[error("connection failed: {0}")]
    Ssh(#[from] russh::Error),
}

/// Compares what a device shows with what the inventory says: any of these keys.
struct Pinned(Vec<PublicKey>);

impl client::Handler for Pinned {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let shown = shown.public_key();
        if self.0.iter().any(|pinned| shown.key_data() == pinned.key_data()) {
            return Ok(true);
        }
        let fingerprint = |key: &PublicKey| key.fingerprint(HashAlg::Sha256).to_string();
        let pinned: Vec<_> = self.0.iter().map(fingerprint).collect();
        Err(Error::HostKey { shown: fingerprint(&shown), pinned: pinned.join(" or ") })
    }
}

/// Connects to `device`, which must show one of its pinned host keys, and takes leave.
pub(super) async fn meet(device: &Ssh) -> Result<(), Error> {
    let handle = reach(device, &pinned(device)?).await?;
    // It ends anyway.
    let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
    Ok(())
}

impl Connection {
    /// Connects to `device` and logs in with one of `keys`, which are paths of private keys.
    pub(super) async fn open(device: &Ssh, keys: &[PathBuf]) -> Result<Self, Error> {
        let loaded = load(keys)?;
        let pinned = pinned(device)?;
        let open = async {
            let mut handle = reach(device, &pinned).await?;
            for key in loaded {
                let login = handle.authenticate_publickey(device.user.as_str(), key).await?;
                if matches!(login, AuthResult::Success) {
                    return Ok(Self(handle));
                }
            }
            Err(Error::Denied { user: device.user.clone(), keys: keys.to_owned() })
        };
        timeout(PATIENCE, Box::pin(open)).await.unwrap_or(Err(Error::Silent))
    }

    /// Starts `command` by the user's login shell.
    pub(super) async fn start(&self, command: &str) -> Result<Channel<Msg>, Error> {
        let mut channel = self.0.channel_open_session().await?;
        channel.exec(true, command).await?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                Some(ChannelMsg::Failure) => return Err(Error::Refused),
                _ => return Err(russh::Error::Disconnect.into()),
            }
        }
    }

    /// Runs a short `command` with `input` to its end.
    pub(super) async fn run(&self, command: &str, input: String) -> Result<Reply, Error> {
        let mut channel = self.start(command).await?;
        channel.data_bytes(input).await?;
        channel.eof().await?;
        let (mut stdout, mut stderr, mut status) = (Vec::new(), Vec::new(), None);
        let mut ended = false;
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => keep(&mut stdout, &data),
                ChannelMsg::ExtendedData { data, .. } => keep(&mut stderr, &data),
                ChannelMsg::ExitStatus { exit_status } => {
                    (status, ended) = (Some(exit_status), true);
                }
                ChannelMsg::ExitSignal { .. } => ended = true,
                _ => {}
            }
        }
        if !ended {
            return Err(russh::Error::Disconnect.into());
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Reply { stdout: text(stdout), stderr: text(stderr), status })
    }

    /// Takes leave.
    pub(super) async fn close(self) {
        // It ends anyway.
        let _ = self.0.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

fn keep(kept: &mut Vec<u8>, data: &[u8]) {
    let room = MOST.saturating_sub(kept.len());
    kept.extend_from_slice(&data[..data.len().min(room)]);
}

fn load(paths: &[PathBuf]) -> Result<Vec<PrivateKeyWithHashAlg>, Error> {
    if paths.is_empty() {
        return Err(Error::NoKeys);
    }
    let load = |path: &PathBuf| match keys::load_secret_key(Path::new(path), None) {
        Ok(key) => Ok(PrivateKeyWithHashAlg::new(Arc::new(key), None)),
        Err(source) => Err(Error::Key { path: path.clone(), source }),
    };
    paths.iter().map(load).collect()
}

/// The pinned keys that this build can check; one at least.
fn pinned(device: &Ssh) -> Result<Vec<PublicKey>, Error> {
    let keys = device.host_keys().filter_map(|text| PublicKey::from_openssh(text).ok());
    let keys: Vec<_> = keys.filter(|key| ALGORITHMS.contains(&key.algorithm())).collect();
    match keys.is_empty() {
        false => Ok(keys),
        true => Err(Error::Unsupported(device.host_key.clone())),
    }
}

/// Connects to a device that shows one of the pinned keys. It shows one at a time, of the first type
/// asked for that it has, so each type that is pinned is asked for in turn.
async fn reach(device: &Ssh, pinned: &[PublicKey]) -> Result<Handle<Pinned>, Error> {
    let mut refused = None;
    let is_pinned = |algorithm: &Algorithm| pinned.iter().any(|key| key.algorithm() == *algorithm);
    for algorithm in ALGORITHMS.into_iter().filter(is_pinned) {
        let address = (device.address.as_str(), device.port);
        let handler = Pinned(pinned.to_vec());
        match client::connect(Arc::new(config(algorithm)), address, handler).await {
            Ok(handle) => return Ok(handle),
            Err(error @ Error::HostKey { .. }) => drop(refused.get_or_insert(error)),
            Err(Error::Ssh(source)) => return Err(Error::Unreachable(source)),
            Err(other) => return Err(other),
        }
    }
    Err(refused.unwrap_or_else(|| Error::Unsupported(device.host_key.clone())))
}

fn config(first: Algorithm) -> client::Config {
    // One without a key of this type shows another, which is better told than that there is none.
    let others = ALGORITHMS.into_iter().filter(|other| *other != first);
    let preferred = [first.clone()].into_iter().chain(others).collect();
    client::Config {
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: true,
        preferred: Preferred { key: Cow::Owned(preferred), ..Preferred::DEFAULT },
        ..client::Config::default()
    }
}
