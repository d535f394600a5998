//! `/api/v1/attempts/{id}/artifacts`: what an attempt left, file by file.

use std::fs::File;
use std::io::{self, BufReader, SeekFrom};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use coordinator_core::actor::Actor;
use coordinator_core::attempt;
use futures::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipelines::id::AttemptId;
use proto::bundle::{self, Content, Listed};
use proto::content::Hash;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::Semaphore;
use tracing::warn;

use super::types::{ArtifactFile, ArtifactLink, Artifacts};
use super::{Api, Caller, Failure, Shared, logs};

/// How many archives are read at once: each is read whole to say what is in it.
static READERS: Semaphore = Semaphore::const_new(4);

/// The bytes of a file in one piece of its answer.
const PIECE: usize = 64 << 10;

/// An archive, and what is in it.
struct Archive {
    file: File,
    listed: Vec<Listed>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<AttemptId>,
) -> Result<Json<Artifacts>, Failure> {
    Ok(Json(of(&api, &caller.0, id).await?))
}

pub(super) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, path)): Path<(AttemptId, String)>,
) -> Result<Response, Failure> {
    file(&api, &caller.0, id, &path).await
}

/// What an attempt left, sorted by path.
pub(crate) async fn of(api: &Api, actor: &Actor, id: AttemptId) -> Result<Artifacts, Failure> {
    let mut artifacts = Artifacts { attempt: id, files: Vec::new(), links: Vec::new() };
    for listed in archives(api, actor, id).await?.into_iter().flat_map(|archive| archive.listed) {
        let path = listed.path;
        match listed.content {
            Content::File { size, hash, executable, .. } => {
                let sha256 = hash.as_str().to_owned();
                artifacts.files.push(ArtifactFile { path, size, sha256, executable });
            }
            Content::Symlink { target } => artifacts.links.push(ArtifactLink { path, target }),
        }
    }
    Ok(artifacts)
}

/// One of the files, to be kept under its name, with its SHA-256.
pub(crate) async fn file(
    api: &Api,
    actor: &Actor,
    id: AttemptId,
    path: &str,
) -> Result<Response, Failure> {
    for Archive { file, listed } in archives(api, actor, id).await? {
        let found = listed.into_iter().find(|listed| listed.path == path);
        if let Some(Listed { content: Content::File { size, hash, offset, .. }, .. }) = found {
            return answer(file, path, size, &hash, offset).await;
        }
    }
    Err(Failure::not_found(format!("attempt {id} left no file {path}")))
}

async fn archives(api: &Api, actor: &Actor, id: AttemptId) -> Result<Vec<Archive>, Failure> {
    logs::check_seen(api, actor, id)?;
    let left = match api.view.attempt(id)?.map(|attempt| attempt.state) {
        Some(attempt::State::Finished { verdict, .. }) => verdict.artifacts,
        _ => Vec::new(),
    };
    let mut archives = Vec::new();
    for artifact in left {
        let hash: Hash = artifact.sha256.parse().map_err(|error| unreadable(id, &error))?;
        let file = match File::open(api.contents.store().path(&hash)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::not_found(format!("the artifacts of {id} have expired")));
            }
            Err(error) => return Err(unreadable(id, &error)),
        };
        let _reader = READERS.acquire().await.map_err(|error| unreadable(id, &error))?;
        let read = file.try_clone().map_err(|error| unreadable(id, &error))?;
        let listing = tokio::task::spawn_blocking(move || bundle::list(BufReader::new(read)));
        let listed = listing.await.map_err(|error| unreadable(id, &error))?;
        let (listed, packed) = listed.map_err(|error| unreadable(id, &error))?;
        if packed.hash != hash {
            return Err(unreadable(id, &"the disk does not give what was written"));
        }
        archives.push(Archive { file, listed });
    }
    Ok(archives)
}

async fn answer(
    file: File,
    path: &str,
    size: u64,
    hash: &Hash,
    offset: u64,
) -> Result<Response, Failure> {
    let mut file = tokio::fs::File::from_std(file);
    let sought = file.seek(SeekFrom::Start(offset)).await;
    sought.map_err(|error| Failure::unavailable(error.to_string()))?;
    let pieces = stream::try_unfold(file.take(size), |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        io::Result::Ok((read > 0).then(|| (Bytes::from(piece), file)))
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, size.to_string()),
        (CONTENT_DISPOSITION, disposition(path)),
        (ETAG, format!("\"{hash}\"")),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let digest = [("repr-digest", format!("sha-256=:{}:", BASE64_STANDARD.encode(hash.bytes())))];
    Ok((headers, digest, Body::from_stream(pieces)).into_response())
}

/// To be kept under the last part of its path (RFC 6266).
fn disposition(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let plain = |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let exact = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{exact}")
}

fn unreadable(id: AttemptId, error: &dyn std::fmt::Display) -> Failure {
    warn!(attempt = %id, %error, "artifacts cannot be read");
    Failure::unavailable(format!("the artifacts of {id} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_in_both_forms() {
        assert_eq!(
            disposition("out/fw a\"1\".conf"),
            "attachment; filename=\"fw_a_1_.conf\"; filename*=UTF-8''fw%20a%221%22%2Econf"
        );
        assert!(
            disposition("ä").starts_with("attachment; filename=\"_\"; filename*=UTF-8''%C3%A4")
        );
    }
}
