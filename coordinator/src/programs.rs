//! Programs that agents may be upgraded to: this coordinator's own, and what administrators sent.
//!
//! They rest in the content, by their hash.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use proto::bundle::MAX_SIZE;
use proto::content::{self, Hash, Incoming};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::content::Contents;

/// The first bytes of a program for Linux.
const ELF: &[u8] = b"\x7fELF";

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The programs; a clone is the same.
#[derive(Debug, Clone)]
pub struct Programs {
    contents: Contents,
    own: Arc<OnceCell<Hash>>,
}

/// Why a program was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refuses it.
    #[error("the program cannot be kept: {0}")]
    Disk(#[from] io::Error),
    /// It did not come whole.
    #[error("the program did not come: {0}")]
    Broken(String),
    /// It cannot be an agent.
    #[error("this is no program for Linux: send the garrison binary itself")]
    NoProgram,
    /// More than [`MAX_SIZE`] bytes.
    #[error("the program is larger than {} MiB", MAX_SIZE >> 20)]
    TooLarge,
}

impl Programs {
    /// The programs among `contents`.
    pub fn new(contents: Contents) -> Programs {
        Programs { contents, own: Arc::default() }
    }

    /// Whether it is here.
    pub fn has(&self, program: &Hash) -> bool {
        self.contents.store().has(program)
    }

    /// The program that this process runs.
    pub async fn own(&self) -> Result<Hash, Error> {
        let hash = self.own.get_or_try_init(|| {
            let contents = self.contents.clone();
            blocking(move || copy(&contents))
        });
        hash.await.cloned()
    }

    /// Takes a program; durable when it returns.
    pub async fn take<E: std::fmt::Display>(
        &self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Hash, Error> {
        let mut head = Vec::new();
        let mut incoming = self.contents.begin(0)?;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| Error::Broken(error.to_string()))?;
            head.extend(bytes.iter().take(ELF.len().saturating_sub(head.len())));
            if !head.starts_with(&ELF[..head.len()]) {
                return Err(Error::NoProgram);
            }
            if incoming.length() + bytes.len() as u64 > MAX_SIZE {
                return Err(Error::TooLarge);
            }
            incoming = blocking(move || Ok(incoming.write_all(&bytes).map(|()| incoming)?)).await?;
        }
        if head != ELF {
            return Err(Error::NoProgram);
        }
        let contents = self.contents.clone();
        blocking(move || keep(&contents, incoming)).await
    }
}

fn copy(contents: &Contents) -> Result<Hash, Error> {
    let mut file = File::open("/proc/self/exe")?;
    let mut incoming = contents.begin(file.metadata()?.len())?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return keep(contents, incoming),
            read => incoming.write_all(&buffer[..read])?,
        }
    }
}

fn keep(contents: &Contents, incoming: Incoming) -> Result<Hash, Error> {
    contents.store().keep(incoming, None).map_err(|error| match error {
        content::Error::Io(error) => Error::Disk(error),
        content::Error::Differs { .. } => Error::Broken(error.to_string()),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
