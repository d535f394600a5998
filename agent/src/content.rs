//! Source, artifacts and programs: fetched from the coordinator once and kept by hash, or sent there.
//!
//! Both wait for the link, for as long as it takes; only the coordinator's refusal or this host's
//! disk ends them. What was used least recently goes when there is too much.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pipelines::id::AttemptId;
use pipelines::outcome::Artifact;
use proto::content::{self, Hash, NoHash, Store};
use proto::v1::{FetchRequest, StoreChunk, StoreHeader};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{info, warn};

use crate::insist::{self, Client, Link, insist};

/// Most bytes of content, if nothing else is said.
pub const BYTES: u64 = 10 << 30;

/// Chunks that wait for the network, of [`proto::CONTENT_CHUNK`] bytes each.
const CHUNKS: usize = 4;

/// Why one try failed.
type Failed = insist::Failed<Error>;

/// Why content can neither be had nor sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An order names what is no hash.
    #[error(transparent)]
    Hash(#[from] NoHash),
    /// The coordinator refuses it.
    #[error("the coordinator refuses content {hash}: {reason}")]
    Rejected {
        /// The content.
        hash: Hash,
        /// Its words.
        reason: String,
    },
    /// The disk refuses it.
    #[error("content cannot be kept: {0}; see the disk of the agent's state")]
    Disk(#[from] io::Error),
}

/// What names content, and so allows to fetch it.
enum Named {
    ByOrder(AttemptId),
    ByUpgrade(u64),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::ByOrder(attempt) => write!(f, "attempt {attempt}"),
            Named::ByUpgrade(number) => write!(f, "upgrade {number}"),
        }
    }
}

/// Content on this host; a clone is the same.
#[derive(Debug, Clone)]
pub struct Contents {
    store: Store,
    /// Most bytes that are kept.
    most: u64,
    link: Link,
    /// Held while content is fetched, so that it is fetched once.
    fetching: Arc<Mutex<BTreeMap<Hash, Weak<tokio::sync::Mutex<()>>>>>,
}

/// By which the link says whether it is up.
#[derive(Debug)]
pub struct Links(watch::Sender<Option<Client>>);

impl Links {
    /// Content may be moved over this.
    pub fn up(&self, client: Client) {
        self.0.send_replace(Some(client));
    }

    /// There is no link.
    pub fn down(&self) {
        self.0.send_replace(None);
    }
}

impl Contents {
    /// The content in `root`, which is made if it is missing; at most so many bytes of it are kept.
    pub fn open(root: &Path, most: u64) -> io::Result<(Contents, Links)> {
        let (sender, link) = watch::channel(None);
        let contents = Contents { store: Store::open(root)?, most, link, fetching: Arc::default() };
        Ok((contents, Links(sender)))
    }

    /// What content moves over.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The content that the order of `attempt` names, open; fetched if it is not here.
    pub async fn obtain(&self, attempt: AttemptId, hash: &str) -> Result<File, Error> {
        loop {
            let path = self.obtain_for(&Named::ByOrder(attempt), hash).await?;
            match File::open(path) {
                // It made room for another's.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => return Ok(file?),
            }
        }
    }

    /// Where the program of the upgrade of that number is; fetched if it is not here.
    pub async fn obtain_program(&self, upgrade: u64, hash: &str) -> Result<PathBuf, Error> {
        self.obtain_for(&Named::ByUpgrade(upgrade), hash).await
    }

    async fn obtain_for(&self, named: &Named, hash: &str) -> Result<PathBuf, Error> {
        let hash: Hash = hash.parse()?;
        let turn = self.turn(&hash);
        let _turn = turn.lock().await;
        let (store, wanted) = (self.store.clone(), hash.clone());
        if !blocking(move || store.check(&wanted)).await? {
            let doing = format!("fetch content {hash}");
            insist(&self.link, doing, |client| self.fetch(client, named, &hash)).await?;
            info!(%named, content = %hash, "fetched");
        }
        let (store, most, used) = (self.store.clone(), self.most, hash.clone());
        let made = blocking(move || {
            store.touch(&used)?;
            store.make_room(most, &used)
        });
        match made.await {
            Ok(0) => {}
            Ok(count) => info!(count, "content that was used least recently has gone"),
            Err(error) => warn!(%error, "no room can be made among the content"),
        }
        Ok(self.store.path(&hash))
    }

    /// Sends what `attempt` left at `path`.
    pub async fn deliver(
        &self,
        attempt: AttemptId,
        path: &Path,
        artifact: &Artifact,
    ) -> Result<(), Error> {
        let hash: Hash = artifact.sha256.parse()?;
        let header = StoreHeader {
            attempt: attempt.to_string(),
            sha256: hash.to_string(),
            size: artifact.size,
        };
        let doing = format!("send content {hash}");
        insist(&self.link, doing, |client| send(client, &header, path, &hash)).await
    }

    async fn fetch(&self, mut client: Client, named: &Named, hash: &Hash) -> Result<(), Failed> {
        let failed = |status: Status| failed(&status, hash);
        let sha256 = hash.to_string();
        let request = match named {
            Named::ByOrder(attempt) => {
                FetchRequest { sha256, attempt: attempt.to_string(), upgrade: 0 }
            }
            Named::ByUpgrade(number) => {
                FetchRequest { sha256, attempt: String::new(), upgrade: *number }
            }
        };
        let mut chunks = client.fetch(request).await.map_err(failed)?.into_inner();
        let mut incoming = self.store.begin().map_err(disk)?;
        while let Some(chunk) = chunks.message().await.map_err(failed)? {
            if incoming.length() + chunk.data.len() as u64 > proto::bundle::MAX_SIZE {
                return Err(rejected(hash, "it is larger than bundles may be"));
            }
            let written = blocking(move || incoming.write_all(&chunk.data).map(|()| incoming));
            incoming = written.await.map_err(disk)?;
        }
        let (store, announced) = (self.store.clone(), hash.clone());
        match blocking(move || store.keep(incoming, Some(&announced))).await {
            Ok(_) => Ok(()),
            Err(content::Error::Io(error)) => Err(disk(error)),
            Err(error @ content::Error::Differs { .. }) => Err(Failed::Again(error.to_string())),
        }
    }

    /// Whoever holds it may fetch.
    fn turn(&self, hash: &Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = fetching.get(hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        fetching.insert(hash.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// Sends a file; the coordinator may have it already, and then says so before all of it is sent.
async fn send(
    mut client: Client,
    header: &StoreHeader,
    path: &Path,
    hash: &Hash,
) -> Result<(), Failed> {
    let file = File::open(path).map_err(disk)?;
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let header = header.clone();
    let reading = tokio::task::spawn_blocking(move || read(file, header, &sender));
    let stored = client.store(ReceiverStream::new(chunks)).await;
    let read = reading.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    match (stored, read) {
        (Ok(_), _) => Ok(()),
        (Err(_), Err(error)) => Err(disk(error)),
        (Err(status), Ok(())) => Err(failed(&status, hash)),
    }
}

fn read(mut file: File, header: StoreHeader, chunks: &mpsc::Sender<StoreChunk>) -> io::Result<()> {
    let mut header = Some(header);
    loop {
        let mut data = Vec::with_capacity(proto::CONTENT_CHUNK);
        (&mut file).take(proto::CONTENT_CHUNK as u64).read_to_end(&mut data)?;
        if data.is_empty() && header.is_none() {
            return Ok(());
        }
        let chunk = StoreChunk { header: header.take(), data: data.into() };
        if chunks.blocking_send(chunk).is_err() {
            // The call has ended; its answer says how.
            return Ok(());
        }
    }
}

fn failed(status: &Status, hash: &Hash) -> Failed {
    insist::failed(status, |reason| Error::Rejected {
        hash: hash.clone(),
        reason: reason.to_owned(),
    })
}

fn rejected(hash: &Hash, reason: &str) -> Failed {
    Failed::Finally(Error::Rejected { hash: hash.clone(), reason: reason.to_owned() })
}

fn disk(error: io::Error) -> Failed {
    Failed::Finally(Error::Disk(error))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
