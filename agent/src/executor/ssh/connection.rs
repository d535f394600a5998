//! A connection to a device, maybe through others: host keys are pinned at each, and the user logs in
//! with a private key.

use std::sync::Arc;
use std::time::Duration;

use pipelines::name::DeviceName;
use pipelines::plan::Hop;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{Channel, ChannelMsg, Disconnect, Preferred, Pty};
use tokio::time::timeout;

use super::host_key::Pinned;
use super::login::{Key, Login};

/// After this silence the device is asked for a sign of life, and given up when three are missing.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Most bytes that are kept of either stream of a short command.
const MOST: usize = 64 << 10;

/// What a terminal calls itself, and its columns and rows.
const TERMINAL: (&str, u32, u32) = ("xterm", 200, 50);

/// A terminal that passes on what it is given, and shows nothing of it (RFC 4254, section 8).
const RAW: [(Pty, u32); 5] =
    [(Pty::ECHO, 0), (Pty::ICANON, 0), (Pty::ISIG, 0), (Pty::IXON, 0), (Pty::ICRNL, 0)];

/// A user's session on a device. Dropping it does not end what runs there.
pub(crate) struct Connection {
    handle: Handle<Pinned>,
    /// Through which it goes, the nearest first.
    jumps: Vec<Handle<Pinned>>,
    pinned: Pinned,
}

/// What a short command said.
pub(crate) struct Reply {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Exit status; none if a signal ended it.
    pub(crate) status: Option<u32>,
}

/// Why a device cannot be used, or no more. None of it has started anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the pinned host key '{0}' cannot be checked by this agent: pin the device's Ed25519 or \
         ECDSA key in the inventory, or say `rsa: true` there if it has none"
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
    Denied { user: String, keys: Vec<Key> },
    #[error(
        "all keys {0:?} are RSA keys, which are used where the inventory says `rsa: true` alone"
    )]
    OnlyRsa(Vec<Key>),
    #[error("no answer within {} s; see that it is up and that this host may reach it", .0.as_secs())]
    Silent(Duration),
    #[error("{0}; see that it is up, that sshd runs there, and that this host may reach it")]
    Unreachable(#[source] russh::Error),
    #[error("jump host {device} ({address}, port {port}): {source}")]
    Jump { device: DeviceName, address: String, port: u16, source: Box<Error> },
    #[error(
        "{jump} does not pass on connections to {address}, port {port}; see that its sshd allows \
         TCP forwarding, and that it reaches the address"
    )]
    NotForwarded { jump: DeviceName, address: String, port: u16 },
    #[error("it refuses to run a command; see that the user's shell and sshd allow it")]
    Refused,
    #[error("connection failed: {0}")]
    Ssh(#[from] russh::Error),
}

/// A host that was reached and knows its user.
struct Opened {
    handle: Handle<Pinned>,
    pinned: Pinned,
}

impl Connection {
    /// Goes the way that `login` says, and logs in at each host.
    pub(crate) async fn open(login: &Login) -> Result<Self, Error> {
        let open = async {
            let jumps = way(login).await?;
            let Opened { handle, pinned } = enter(&login.device, &login.keys, jumps.last()).await?;
            let jumps = jumps.into_iter().map(|(_, handle)| handle).collect();
            Ok(Self { handle, jumps, pinned })
        };
        let patience = login.patience;
        timeout(patience, Box::pin(open)).await.unwrap_or(Err(Error::Silent(patience)))
    }

    /// Goes the way that `login` says until the device shows a pinned host key, and takes leave.
    pub(super) async fn meet(login: &Login) -> Result<(), Error> {
        let meet = async {
            let jumps = way(login).await?;
            let Opened { handle, pinned } = reach(&login.device, jumps.last()).await?;
            let jumps = jumps.into_iter().map(|(_, handle)| handle).collect();
            Self { handle, jumps, pinned }.close().await;
            Ok(())
        };
        let patience = login.patience;
        timeout(patience, Box::pin(meet)).await.unwrap_or(Err(Error::Silent(patience)))
    }

    /// The key that the device has shown.
    pub(super) fn host_key(&self) -> Option<&PublicKey> {
        self.pinned.shown.get()
    }

    /// Starts `command` by the user's login shell.
    pub(super) async fn start(&self, command: &str) -> Result<Channel<Msg>, Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        accepted(&mut channel).await?;
        Ok(channel)
    }

    /// The same with a terminal.
    pub(super) async fn start_with_terminal(&self, command: &str) -> Result<Channel<Msg>, Error> {
        let mut channel = self.handle.channel_open_session().await?;
        let (name, columns, rows) = TERMINAL;
        channel.request_pty(true, name, columns, rows, 0, 0, &RAW).await?;
        accepted(&mut channel).await?;
        channel.exec(true, command).await?;
        accepted(&mut channel).await?;
        Ok(channel)
    }

    /// Starts a subsystem, such as `sftp`.
    pub(super) async fn subsystem(&self, name: &str) -> Result<Channel<Msg>, Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.request_subsystem(true, name).await?;
        accepted(&mut channel).await?;
        Ok(channel)
    }

    /// Runs a short `command` with `input` to its end.
    pub(crate) async fn run(&self, command: &str, input: String) -> Result<Reply, Error> {
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
    pub(crate) async fn close(self) {
        for handle in std::iter::once(self.handle).chain(self.jumps.into_iter().rev()) {
            // It ends anyway.
            let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
        }
    }
}

/// Logs in at each host on the way to a device.
async fn way(login: &Login) -> Result<Vec<(&Hop, Handle<Pinned>)>, Error> {
    let mut jumps: Vec<(&Hop, Handle<Pinned>)> = Vec::new();
    for hop in &login.jumps {
        let opened = enter(hop, &login.keys, jumps.last()).await;
        jumps.push((hop, opened.map_err(|error| at(hop, error))?.handle));
    }
    Ok(jumps)
}

/// The same error, of a host on the way.
fn at(hop: &Hop, error: Error) -> Error {
    let Hop { device, address, port, .. } = hop.clone();
    Error::Jump { device, address, port, source: Box::new(error) }
}

/// Waits until a request is accepted.
async fn accepted(channel: &mut Channel<Msg>) -> Result<(), Error> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            Some(ChannelMsg::Failure) => return Err(Error::Refused),
            _ => return Err(russh::Error::Disconnect.into()),
        }
    }
}

fn keep(kept: &mut Vec<u8>, data: &[u8]) {
    let room = MOST.saturating_sub(kept.len());
    kept.extend_from_slice(&data[..data.len().min(room)]);
}

/// Reaches `hop`, through another if there is one, and logs in.
async fn enter(
    hop: &Hop,
    keys: &[Key],
    through: Option<&(&Hop, Handle<Pinned>)>,
) -> Result<Opened, Error> {
    let usable = |key: &&Key| hop.rsa || !key.key.algorithm().is_rsa();
    if !keys.iter().any(|key| usable(&key)) {
        return Err(Error::OnlyRsa(keys.to_owned()));
    }
    let mut opened = reach(hop, through).await?;
    for key in keys.iter().filter(usable) {
        let Some(key) = signing(key, &opened.handle).await? else { continue };
        let login = opened.handle.authenticate_publickey(hop.user.as_str(), key).await?;
        if matches!(login, AuthResult::Success) {
            return Ok(opened);
        }
    }
    Err(Error::Denied { user: hop.user.clone(), keys: keys.to_owned() })
}

/// A key and how it signs: RSA with SHA-2 alone; none where a host knows SHA-1 only.
async fn signing(
    key: &Key,
    handle: &Handle<Pinned>,
) -> Result<Option<PrivateKeyWithHashAlg>, Error> {
    if !key.key.algorithm().is_rsa() {
        return Ok(Some(PrivateKeyWithHashAlg::new(key.key.clone(), None)));
    }
    let hash = match handle.best_supported_rsa_hash().await? {
        Some(hash) => hash,
        None => Some(HashAlg::Sha256),
    };
    Ok(hash.map(|hash| PrivateKeyWithHashAlg::new(key.key.clone(), Some(hash))))
}

/// Connects to a host that shows what is pinned.
async fn reach(hop: &Hop, through: Option<&(&Hop, Handle<Pinned>)>) -> Result<Opened, Error> {
    let pinned = Pinned::of(hop)?;
    let mut refused = None;
    for preferred in pinned.wishes() {
        match connect(hop, &pinned, preferred, through).await {
            Ok(handle) => return Ok(Opened { handle, pinned }),
            Err(error @ Error::HostKey { .. }) => drop(refused.get_or_insert(error)),
            Err(Error::Ssh(source)) => return Err(Error::Unreachable(source)),
            Err(other) => return Err(other),
        }
    }
    Err(refused.unwrap_or_else(|| Error::Unsupported(String::new())))
}

async fn connect(
    hop: &Hop,
    pinned: &Pinned,
    preferred: Preferred,
    through: Option<&(&Hop, Handle<Pinned>)>,
) -> Result<Handle<Pinned>, Error> {
    let config = Arc::new(config(preferred));
    let (address, port) = (hop.address.as_str(), hop.port);
    let Some((jump, handle)) = through else {
        return client::connect(config, (address, port), pinned.clone()).await;
    };
    let forwarded = handle.channel_open_direct_tcpip(address, port.into(), "127.0.0.1", 0).await;
    let channel = forwarded.map_err(|error| match error {
        russh::Error::ChannelOpenFailure(_) => {
            let (jump, address) = (jump.device.clone(), address.to_owned());
            Error::NotForwarded { jump, address, port }
        }
        other => Error::Ssh(other),
    })?;
    client::connect_stream(config, channel.into_stream(), pinned.clone()).await
}

fn config(preferred: Preferred) -> client::Config {
    client::Config {
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        nodelay: true,
        preferred,
        ..client::Config::default()
    }
}
