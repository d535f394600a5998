//! Files that are carried to a device and from it, by SFTP over the job's connection.
//!
//! Invariant: under its own name a file is whole or not there. It is written beside, under a name that
//! all attempts of the job share, and renamed; so what a cut connection leaves is overwritten by the
//! next attempt.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use pipelines::plan::{Download, Upload};
use russh_sftp::client::error::Error as Refusal;
use russh_sftp::client::{RawSftpSession, SftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::{self, Connection};
use crate::executor::{Context, Reason};

/// How long a device may take for each answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long taking away what is left of a file may take.
const CLEANING: Duration = Duration::from_secs(5);

/// Bytes of one read.
const CHUNK: usize = 64 << 10;

/// Most bytes of a file that is fetched: artifacts are no larger.
const MOST: u64 = proto::bundle::MAX_SIZE;

/// Renames over what is there; OpenSSH's PROTOCOL, section 4.3.
const RENAME: &str = "posix-rename@openssh.com";

/// Why files are not where they should be.
#[derive(Debug)]
pub(super) enum Ending {
    /// Somebody wants the job to end.
    Stopped(Reason),
    /// It does not work.
    Failed(Error),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot carry files: {0}; see that its sshd has the SFTP subsystem")]
    Sftp(connection::Error),
    #[error("cannot carry files: {0}; see that its sshd has the SFTP subsystem")]
    Protocol(#[source] Refusal),
    #[error("cannot upload '{0}': it is not among the files of the job")]
    Missing(String),
    #[error("cannot upload '{0}': it is no file; pack a folder, and unpack it in the script")]
    NoFile(String),
    #[error("'{0}' leads out of the job's working directory by a symlink")]
    Outside(String),
    #[error(
        "cannot write '{path}' there: {source}; see that the folder is there, and that the user who logs in may write in it (uploads do not use sudo)"
    )]
    Write { path: String, source: Refusal },
    #[error(
        "cannot read '{path}' there: {source}; see that it is there, and that the user who logs in may read it (downloads do not use sudo)"
    )]
    Read { path: String, source: Refusal },
    #[error("cannot carry '{path}': {source}")]
    Copy { path: String, source: io::Error },
    #[error("'{0}' there is no file; have the script pack it")]
    RemoteFolder(String),
    #[error("'{0}' there is larger than 1 GiB")]
    TooLarge(String),
    #[error("'{path}' has {found} bytes there, and {sent} were sent; see its disk")]
    Short { path: String, found: u64, sent: u64 },
    #[error("cannot keep '{path}': {source}; see the disk of the agent's state")]
    Keep { path: String, source: io::Error },
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(io::Error),
}

/// What was carried.
struct Carried {
    bytes: u64,
    sha256: String,
}

/// SFTP on a device.
struct Sftp {
    files: SftpSession,
    /// For what the other does not know, if the device does.
    rename: Option<RawSftpSession>,
}

/// Puts files onto the device, one after the other; `tag` is of the job.
pub(super) async fn upload(
    connection: &Connection,
    uploads: &[Upload],
    tag: &str,
    context: &mut Context,
) -> Result<(), Ending> {
    if uploads.is_empty() {
        return Ok(());
    }
    let sftp = until_stop(context, Sftp::open(connection)).await?;
    for wanted in uploads {
        let name = wanted.from.rsplit('/').next().unwrap_or(&wanted.from);
        let target = match wanted.to.ends_with('/') {
            true => format!("{}{name}", wanted.to),
            false => wanted.to.clone(),
        };
        let beside = beside(&target, tag);
        let workspace = context.workspace.clone();
        let put = put(&sftp, &workspace, wanted, &target, &beside);
        let carried = match until_stop(context, put).await {
            Ok(carried) => carried,
            Err(ending) => {
                // What cannot be taken away is overwritten by the next attempt.
                let _ = timeout(CLEANING, sftp.files.remove_file(&beside)).await;
                return Err(ending);
            }
        };
        said(context, &format!("uploaded {} to {target}: {carried}", wanted.from))?;
    }
    Ok(())
}

/// Fetches files from the device, one after the other.
pub(super) async fn download(
    connection: &Connection,
    downloads: &[Download],
    context: &mut Context,
) -> Result<(), Ending> {
    if downloads.is_empty() {
        return Ok(());
    }
    let sftp = until_stop(context, Sftp::open(connection)).await?;
    for wanted in downloads {
        let name = wanted.from.rsplit('/').next().unwrap_or(&wanted.from);
        let target = match wanted.to.ends_with('/') {
            true => format!("{}{name}", wanted.to),
            false => wanted.to.clone(),
        };
        let path = make_room(&context.workspace, &target).await.map_err(Ending::Failed)?;
        let beside = path.with_file_name(".garrison-download");
        let carried = match until_stop(context, fetch(&sftp, wanted, &path, &beside)).await {
            Ok(carried) => carried,
            Err(ending) => {
                let _ = fs::remove_file(&beside).await;
                return Err(ending);
            }
        };
        said(context, &format!("downloaded {} to {target}: {carried}", wanted.from))?;
    }
    Ok(())
}

/// Does `work`, unless somebody wants the job to end before.
async fn until_stop<T>(
    context: &mut Context,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Ending> {
    tokio::select! {
        biased;
        reason = context.stop.requested() => Err(Ending::Stopped(reason)),
        done = Box::pin(work) => done.map_err(Ending::Failed),
    }
}

fn said(context: &mut Context, line: &str) -> Result<(), Ending> {
    context.output.say(line).map_err(|error| Ending::Failed(Error::Output(error)))
}

impl Sftp {
    async fn open(connection: &Connection) -> Result<Sftp, Error> {
        let channel = connection.subsystem("sftp").await.map_err(Error::Sftp)?;
        let files = SftpSession::new(channel.into_stream()).await.map_err(Error::Protocol)?;
        files.set_timeout(PATIENCE.as_secs());
        let channel = connection.subsystem("sftp").await.map_err(Error::Sftp)?;
        let raw = RawSftpSession::new(channel.into_stream());
        let version = raw.init().await.map_err(Error::Protocol)?;
        raw.set_timeout(PATIENCE.as_secs());
        let rename = version.extensions.contains_key(RENAME).then_some(raw);
        Ok(Sftp { files, rename })
    }

    /// Gives a file another name, which may be taken.
    async fn rename(&self, from: &str, to: &str) -> Result<(), Refusal> {
        let Some(raw) = &self.rename else {
            // Version 3 of the protocol refuses a name that is taken.
            let _ = self.files.remove_file(to).await;
            return self.files.rename(from, to).await;
        };
        let mut names = Vec::with_capacity(from.len() + to.len() + 8);
        for name in [from, to] {
            names.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
            names.extend(name.as_bytes());
        }
        match raw.extended(RENAME, names).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(Refusal::Status(status)),
            _ => Err(Refusal::UnexpectedPacket),
        }
    }
}

/// Carries one file to `beside`, and renames it to `target`.
async fn put(
    sftp: &Sftp,
    workspace: &Path,
    wanted: &Upload,
    target: &str,
    beside: &str,
) -> Result<Carried, Error> {
    let (mut file, mode) = open(workspace, &wanted.from).await?;
    let refused = |source| Error::Write { path: target.to_owned(), source };
    let failed = |source| Error::Copy { path: wanted.from.clone(), source };
    // A name that is not taken is no symlink that somebody else has laid there.
    let _ = sftp.files.remove_file(beside).await;
    let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
    let of_mode = |mode| FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
    let opened = sftp.files.open_with_flags_and_attributes(beside, flags, of_mode(0o600)).await;
    let mut remote = opened.map_err(refused)?;
    let carried = copy(&mut file, &mut remote, u64::MAX).await.map_err(failed)?;
    remote.flush().await.map_err(failed)?;
    remote.set_metadata(of_mode(wanted.mode.unwrap_or(mode))).await.map_err(refused)?;
    remote.sync_all().await.map_err(refused)?;
    let found = remote.metadata().await.map_err(refused)?.size.unwrap_or(carried.bytes);
    remote.close().await.map_err(failed)?;
    if found != carried.bytes {
        return Err(Error::Short { path: target.to_owned(), found, sent: carried.bytes });
    }
    sftp.rename(beside, target).await.map_err(refused)?;
    Ok(carried)
}

/// A file of the working directory, and the permissions that it should have elsewhere.
async fn open(workspace: &Path, from: &str) -> Result<(fs::File, u32), Error> {
    let missing = |_| Error::Missing(from.to_owned());
    let root = workspace.canonicalize().map_err(missing)?;
    let path = root.join(from).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(Error::Outside(from.to_owned()));
    }
    let file = fs::File::open(&path).await.map_err(missing)?;
    let about = file.metadata().await.map_err(missing)?;
    if !about.is_file() {
        return Err(Error::NoFile(from.to_owned()));
    }
    let mode = if about.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
    Ok((file, mode))
}

/// Fetches one file to `beside`, and renames it to `path`.
async fn fetch(
    sftp: &Sftp,
    wanted: &Download,
    path: &Path,
    beside: &Path,
) -> Result<Carried, Error> {
    let refused = |source| Error::Read { path: wanted.from.clone(), source };
    let keep = |source| Error::Keep { path: wanted.to.clone(), source };
    let about = sftp.files.metadata(&wanted.from).await.map_err(refused)?;
    if !about.is_regular() {
        return Err(Error::RemoteFolder(wanted.from.clone()));
    }
    let mut remote = sftp.files.open(&wanted.from).await.map_err(refused)?;
    let mut file = fs::File::create(beside).await.map_err(keep)?;
    let carried = copy(&mut remote, &mut file, MOST).await;
    let carried = carried.map_err(|source| Error::Copy { path: wanted.from.clone(), source })?;
    if carried.bytes > MOST {
        return Err(Error::TooLarge(wanted.from.clone()));
    }
    file.flush().await.map_err(keep)?;
    fs::rename(beside, path).await.map_err(keep)?;
    Ok(carried)
}

/// Copies to the end, or until more than `most` bytes were read.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    most: u64,
) -> io::Result<Carried> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let count = from.read(&mut chunk).await?;
        bytes += count as u64;
        if count == 0 || bytes > most {
            let digest = hash.finalize();
            let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Carried { bytes, sha256 });
        }
        hash.update(&chunk[..count]);
        to.write_all(&chunk[..count]).await?;
    }
}

/// The path of a file of the working directory whose folders are there.
async fn make_room(workspace: &Path, to: &str) -> Result<PathBuf, Error> {
    let keep = |source| Error::Keep { path: to.to_owned(), source };
    let mut folder = workspace.canonicalize().map_err(keep)?;
    let root = folder.clone();
    let (folders, name) = to.rsplit_once('/').unwrap_or(("", to));
    for part in Path::new(folders).components() {
        let Component::Normal(part) = part else { continue };
        folder.push(part);
        match fs::create_dir(&folder).await {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(keep(error)),
            _ => {}
        }
        folder = folder.canonicalize().map_err(keep)?;
        if !folder.starts_with(&root) {
            return Err(Error::Outside(to.to_owned()));
        }
    }
    Ok(folder.join(name))
}

/// The name under which a file is written before it is whole.
fn beside(target: &str, tag: &str) -> String {
    match target.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.garrison-{tag}"),
        None => format!(".{target}.garrison-{tag}"),
    }
}

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, SHA-256 {}", self.bytes, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_leads_out_of_the_working_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("work"), dir.path().join("other"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(outside.join("file"), "x").unwrap();
        std::fs::write(inside.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("../other", inside.join("out")).unwrap();
        std::os::unix::fs::symlink("file", inside.join("in")).unwrap();
        assert!(matches!(open(&inside, "out/file").await, Err(Error::Outside(_))));
        assert!(matches!(open(&inside, "none").await, Err(Error::Missing(_))));
        assert!(matches!(open(&inside, ".").await, Err(Error::NoFile(_))));
        assert!(open(&inside, "in").await.is_ok());
        assert!(matches!(make_room(&inside, "out/new").await, Err(Error::Outside(_))));
        assert!(matches!(make_room(&inside, "out/deep/new").await, Err(Error::Outside(_))));
        assert!(!outside.join("deep").exists());
        let path = make_room(&inside, "./a/b/new").await.unwrap();
        assert!(path.ends_with("work/a/b/new") && inside.join("a/b").is_dir());
    }

    #[test]
    fn a_file_that_is_not_whole_lies_beside() {
        assert_eq!(beside("/etc/motd", "fra_1.2"), "/etc/.motd.garrison-fra_1.2");
        assert_eq!(beside("motd", "fra_1.2"), ".motd.garrison-fra_1.2");
        assert_eq!(beside("/motd", "fra_1.2"), "/.motd.garrison-fra_1.2");
    }
}
