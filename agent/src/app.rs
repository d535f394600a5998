//! The agent's process: what is started, in which order, and how it stops.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use proto::v1;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::attempt::Attempt;
use crate::cache::Cache;
use crate::clock;
use crate::config::Config;
use crate::content::Contents;
use crate::host::{self, Host, Settings};
use crate::identity::{self, Identity};
use crate::inherited;
use crate::lease::Acknowledged;
use crate::link::Link;
use crate::policy::Policy;
use crate::runner::handle::Launcher;
use crate::upgrade::Upgrader;
use crate::upload::Uploader;

/// An agent that was killed just as it started a runner leaves its lock with that for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Whether an agent could start with this configuration and what its state directory holds.
///
/// # Errors
/// What is wrong.
pub fn check(config: &Config) -> anyhow::Result<()> {
    Policy::load(config.policy.as_deref())?;
    match Identity::load(&config.state) {
        Ok(_) | Err(identity::Error::NotJoined) => {}
        Err(error) => return Err(error.into()),
    }
    for attempt in Attempt::all(&host::attempts(&config.state))? {
        attempt.condition().with_context(|| format!("attempt {}", attempt.id()))?;
    }
    Ok(())
}

/// Runs until `stop`, or until another program is to take this process's place, which it gives then.
/// With a join token it joins first if it has not yet. Runners go on.
pub async fn run(
    config: Config,
    join_token: Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<Option<PathBuf>> {
    let inherited = inherited::children().context("cannot look for processes")?;
    fs::create_dir_all(&config.state)
        .with_context(|| format!("cannot make {}", config.state.display()))?;
    let _lock = lock(&config.state).await?;
    Policy::load(config.policy.as_deref())?;
    let identity = match (Identity::load(&config.state), join_token) {
        (Err(identity::Error::NotJoined), Some(token)) => {
            let identity = Identity::join(&config, &token).await?;
            info!(partition = %identity.partition, "joined");
            identity
        }
        (identity, _) => identity?,
    };
    let (uploader, uploads) = Uploader::new();
    let (handle, inbox) = host::channel();
    let mut parts = JoinSet::new();
    // Before the host opens: it has news for the uploader of every attempt that it finds.
    parts.spawn(uploader.run(handle.clone()));
    let (contents, links) = Contents::open(&config.state.join("content"), config.content_bytes.0)
        .context("cannot open the cache of content")?;
    let (acknowledge, acknowledged) = watch::channel(None);
    let (upgrades, asked) = watch::channel(None);
    let upgrader = Upgrader::new(
        &config.state,
        contents.clone(),
        handle.clone(),
        acknowledged.clone(),
        config.upgrade_patience(),
        asked,
    );
    let mut settings = settings(&config, &identity, contents, acknowledged)?;
    settings.hello.upgrade = upgrader.report();
    let host = Host::open(settings, (handle.clone(), inbox), uploads.clone()).await?;
    parts.spawn(host.run(stop.clone()));
    let contents = links;
    let link = Link { config, identity, host: handle, uploads, contents, upgrades, acknowledge };
    parts.spawn(link.run(stop.clone()));
    parts.spawn(inherited::reap(inherited));
    let program = tokio::select! {
        () = stop.cancelled() => None,
        program = upgrader.run() => Some(program),
    };
    info!("stopping; runners go on");
    parts.shutdown().await;
    Ok(program)
}

fn settings(
    config: &Config,
    identity: &Identity,
    contents: Contents,
    acknowledged: Acknowledged,
) -> anyhow::Result<Settings> {
    let labels = config.labels.iter().map(|(name, value)| (name.to_string(), value.clone()));
    let program = std::env::current_exe().context("cannot find the agent's own program")?;
    Ok(Settings {
        attempts: host::attempts(&config.state),
        policy: config.policy.clone(),
        partition: identity.partition.clone(),
        contents,
        log_quota: config.log_quota(),
        cache: Cache { folder: config.state.join("cache"), bytes: config.cache_bytes.0 },
        acknowledged,
        launcher: Launcher { program, args: vec![OsString::from("runner")] },
        hello: v1::Hello {
            protocol: proto::PROTOCOL,
            instance: identity.instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: clock::boot_id().context("cannot read the boot id")?,
            capacity: config.capacity,
            attempts: Vec::new(),
            labels: labels.collect(),
            upgrade: None,
            sent_us: 0,
        },
    })
}

/// Two agents must not share a state directory.
async fn lock(state: &Path) -> anyhow::Result<Flock<fs::File>> {
    let path = state.join("agent.lock");
    let mut file =
        fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let begun = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((unlocked, _)) if begun.elapsed() < LOCK_PATIENCE => file = unlocked,
            Err(_) => bail!("another agent uses {}: stop it first", state.display()),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}
