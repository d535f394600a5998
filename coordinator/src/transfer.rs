//! Content to and from agents, by hash.
//!
//! Invariant: an agent gets only what the order of one of its own open attempts names, or the program
//! that it is to run, and leaves something only for one of its own open attempts. Both answer alike whether or not the content
//! or the attempt exists elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use bytes::BytesMut;
use coordinator_core::agent::AgentKey;
use coordinator_core::upgrade;
use futures::{Stream, stream};
use pipelines::id::AttemptId;
use proto::bundle::MAX_SIZE;
use proto::content::{self, Hash};
use proto::v1::{Chunk, FetchRequest, StoreChunk, StoreHeader};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tonic::{Status, Streaming};
use tracing::info;

use crate::content::{ARCHIVES, Contents};
use crate::driver;
use crate::store::view::View;

/// The longest wait for an agent's next chunk.
const CHUNK: Duration = Duration::from_secs(60);

/// One agent's transfers.
pub struct Transfer {
    /// Who.
    pub agent: AgentKey,
    /// What is remembered.
    pub view: View,
    /// The content.
    pub contents: Contents,
}

impl Transfer {
    /// Content in chunks of [`proto::CONTENT_CHUNK`].
    ///
    /// # Errors
    /// `PERMISSION_DENIED` if no open attempt or upgrade of the agent names it, `NOT_FOUND` if it is gone.
    pub async fn fetch(
        self,
        request: FetchRequest,
    ) -> Result<impl Stream<Item = Result<Chunk, Status>> + use<>, Status> {
        let hash: Hash = request.sha256.parse().map_err(invalid)?;
        let path = self.contents.store().path(&hash);
        let wanted = hash.clone();
        if request.upgrade > 0 {
            if !blocking(move || self.is_upgrade(request.upgrade, &wanted)).await?? {
                return Err(Status::permission_denied(format!(
                    "upgrade {} of this agent is over, or of another program",
                    request.upgrade
                )));
            }
        } else {
            let attempt = attempt(&request.attempt)?;
            if !blocking(move || self.names(attempt, &wanted)).await?? {
                return Err(denied(attempt));
            }
        }
        let file = File::open(path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Status::not_found(format!(
                "the coordinator no longer has content {hash}; artifacts that have expired are made \
                 again by a new run"
            ))
            }
            _ => unavailable(error),
        })?;
        Ok(stream::try_unfold(file, |mut file| async move {
            let mut data = BytesMut::with_capacity(proto::CONTENT_CHUNK);
            let read = file.read_buf(&mut data).await.map_err(unavailable)?;
            Ok((read > 0).then(|| (Chunk { data: data.freeze() }, file)))
        }))
    }

    /// Whether the order of an open attempt of this agent names the content.
    fn names(&self, id: AttemptId, hash: &Hash) -> Result<bool, Status> {
        if !self.owns(id)? {
            return Ok(false);
        }
        let run = self.view.run(id.job.run).map_err(unavailable)?;
        if run.is_some_and(|run| run.source.as_deref() == Some(hash.as_str())) {
            return Ok(true);
        }
        let plan = self.view.plan(id.job.run).map_err(unavailable)?;
        let jobs = plan.as_ref().and_then(|plan| plan.jobs.get(id.job.index as usize));
        for need in jobs.into_iter().flat_map(|job| &job.needs) {
            let need = self.view.job(id.job.run.job(*need)).map_err(unavailable)?;
            let artifacts = need.into_iter().flat_map(|job| job.artifacts);
            if artifacts.into_iter().any(|artifact| artifact.sha256 == hash.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this agent is to run that program.
    fn is_upgrade(&self, number: u64, program: &Hash) -> Result<bool, Status> {
        let agent = self.view.agent(&self.agent).map_err(unavailable)?;
        Ok(agent.and_then(|agent| agent.upgrade).is_some_and(|upgrade| {
            let asked = upgrade.state == upgrade::State::Asked;
            asked && upgrade.number == number && upgrade.program == program.as_str()
        }))
    }

    /// The second since 1970 until which what an attempt leaves is kept.
    fn kept_until(&self, id: AttemptId) -> Result<Option<u64>, Status> {
        let plan = self.view.plan(id.job.run).map_err(unavailable)?;
        let job = plan.as_ref().and_then(|plan| plan.jobs.get(id.job.index as usize));
        let expire_s = job.and_then(|job| job.artifacts_expire_s);
        Ok(expire_s.map(|expire_s| driver::now().0 / 1_000_000 + u64::from(expire_s)))
    }

    fn owns(&self, id: AttemptId) -> Result<bool, Status> {
        let attempt = self.view.attempt(id).map_err(unavailable)?;
        Ok(attempt.is_some_and(|attempt| attempt.agent == self.agent && attempt.is_open()))
    }

    /// Takes what an attempt left; durable when it returns. What was left before is not read again.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` if the attempt is not the agent's own and open, `INVALID_ARGUMENT` if
    /// the content is too large or not what was announced, `RESOURCE_EXHAUSTED` without room.
    pub async fn store(self, mut chunks: Streaming<StoreChunk>) -> Result<(), Status> {
        let first = next(&mut chunks).await?.ok_or_else(|| invalid("nothing came"))?;
        let header = first.header.ok_or_else(|| invalid("the first chunk must say what comes"))?;
        let (id, hash) = (attempt(&header.attempt)?, header.sha256.parse::<Hash>());
        let hash = hash.map_err(invalid)?;
        if !self.owns(id)? {
            return Err(denied(id));
        }
        let left = self.contents.of_attempt(id).map_err(unavailable)?;
        if left.contains(&hash) && self.contents.store().has(&hash) {
            return Ok(());
        }
        check_size(&header, left.len())?;
        let mut incoming = self.contents.begin(header.size).map_err(full)?;
        let mut chunk = Some(first.data);
        while let Some(data) = chunk {
            if incoming.length() + data.len() as u64 > header.size {
                return Err(invalid("more came than was announced"));
            }
            incoming = blocking(move || incoming.write_all(&data).map(|()| incoming))
                .await?
                .map_err(full)?;
            chunk = next(&mut chunks).await?.map(|chunk| chunk.data);
        }
        blocking(move || {
            let until_s = self.kept_until(id)?;
            self.contents.keep_for(id, incoming, &hash, until_s).map_err(not_kept)?;
            info!(attempt = %id, content = %hash, size = header.size, "artifacts arrived");
            Ok(())
        })
        .await?
    }
}

fn check_size(header: &StoreHeader, archives: usize) -> Result<(), Status> {
    if header.size > MAX_SIZE {
        return Err(invalid(format!(
            "{} bytes are more than the {} that artifacts may have",
            header.size, MAX_SIZE
        )));
    }
    if archives >= ARCHIVES {
        return Err(invalid(format!("an attempt leaves at most {ARCHIVES} archives")));
    }
    Ok(())
}

async fn next(chunks: &mut Streaming<StoreChunk>) -> Result<Option<StoreChunk>, Status> {
    tokio::time::timeout(CHUNK, chunks.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the next chunk did not come"))?
}

fn attempt(text: &str) -> Result<AttemptId, Status> {
    text.parse().map_err(|error: pipelines::id::Error| invalid(error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))
}

fn denied(attempt: AttemptId) -> Status {
    Status::permission_denied(format!(
        "attempt {attempt} is not an open one of this agent that names such content"
    ))
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn not_kept(error: content::Error) -> Status {
    match error {
        content::Error::Differs { .. } => invalid(error),
        content::Error::Io(error) => full(error),
    }
}

fn full(error: io::Error) -> Status {
    if crate::store::disk::is_full(&error) {
        return Status::resource_exhausted(error.to_string());
    }
    unavailable(error)
}
