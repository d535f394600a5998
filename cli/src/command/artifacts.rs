//! `garrison artifacts`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use coordinator::api::types::{ArtifactFile, Artifacts, RunDetail};
use pipelines::id::{AttemptId, JobId, RunId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::client::{Client, broken};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which artifacts.
#[derive(Debug, Args)]
pub struct Options {
    /// A run (17), a job (17.3) or an attempt (17.3.1).
    of: String,
    /// Keeps the files below this folder, those of a run each in a folder of its job (17.3).
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
    /// Only the file at this path.
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
}

/// What a job left, as it is shown.
#[derive(Debug, Serialize)]
struct Left {
    job: String,
    partition: String,
    #[serde(flatten)]
    artifacts: Artifacts,
}

/// Lists what jobs left, or downloads it.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let mut left = left(client, &options.of)?;
    if let Some(path) = &options.file {
        for Left { artifacts, .. } in &mut left {
            artifacts.files.retain(|file| file.path == *path);
            artifacts.links.clear();
        }
    }
    left.retain(|left| !left.artifacts.files.is_empty() || !left.artifacts.links.is_empty());
    if left.is_empty() {
        let what = options.file.as_ref().map_or("files".to_owned(), |path| format!("file {path}"));
        let message = format!("{} has left no {what}", options.of);
        return Err(Failure { exit: Exit::Refused, message });
    }
    let Some(folder) = &options.download else {
        output::print(format, &left, |left| table(left))?;
        return Ok(Exit::Success);
    };
    let is_run = options.of.parse::<RunId>().is_ok();
    for Left { artifacts, .. } in &left {
        let folder = match is_run {
            true => folder.join(artifacts.attempt.job.to_string()),
            false => folder.clone(),
        };
        for file in &artifacts.files {
            let place = download(client, artifacts.attempt, file, &folder)?;
            writeln!(io::stdout(), "{}  {}", file.sha256, place.display())?;
        }
        for link in &artifacts.links {
            let (path, target) = (&link.path, &link.target);
            writeln!(io::stderr(), "{path} is a symlink to {target}, and was not made")?;
        }
    }
    Ok(Exit::Success)
}

/// What the latest attempts of what was named left.
fn left(client: &Client, of: &str) -> Result<Vec<Left>, Failure> {
    let (attempt, job) = (of.parse::<AttemptId>().ok(), of.parse::<JobId>().ok());
    let job = attempt.map(|attempt| attempt.job).or(job);
    let run: RunId = match job {
        Some(job) => job.run,
        None => of.parse().map_err(|_| {
            Failure::usage(format!("'{of}' is no run (17), job (17.3) or attempt (17.3.1)"))
        })?,
    };
    let detail: RunDetail = client.get(&format!("/api/v1/runs/{run}"))?;
    let mut all = Vec::new();
    for it in detail.jobs.iter().filter(|it| job.is_none_or(|job| job == it.id)) {
        let wanted = it.attempts.iter().rev().find(|known| match attempt {
            Some(attempt) => known.id == attempt,
            None => !known.artifacts.is_empty(),
        });
        let Some(wanted) = wanted else { continue };
        let artifacts = client.get(&format!("/api/v1/attempts/{}/artifacts", wanted.id))?;
        all.push(Left {
            job: it.title.to_string(),
            partition: it.partition.to_string(),
            artifacts,
        });
    }
    Ok(all)
}

fn table(left: &[Left]) -> String {
    let headings = ["ATTEMPT", "JOB", "PARTITION", "SIZE", "SHA-256", "FILE"];
    let rows = left.iter().flat_map(|Left { job, partition, artifacts }| {
        let row = |size: String, hash: &str, file: String| {
            let attempt = artifacts.attempt.to_string();
            vec![attempt, job.clone(), partition.clone(), size, hash.to_owned(), file]
        };
        let files = artifacts.files.iter();
        let files = files.map(|it| row(format!("{} B", it.size), &it.sha256, it.path.clone()));
        let links = artifacts.links.iter();
        let links = links.map(|it| row(String::new(), "", format!("{} -> {}", it.path, it.target)));
        files.chain(links).collect::<Vec<_>>()
    });
    output::table(&headings, rows)
}

/// Keeps a file below `folder`, once all of it has come as it should be; where it is.
fn download(
    client: &Client,
    attempt: AttemptId,
    file: &ArtifactFile,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    let relative = Path::new(&file.path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Failure::internal(format!("{} leads out of the folder", file.path)));
    }
    let place = folder.join(relative);
    let parent = place.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    let mut beside = tempfile::Builder::new().prefix(".garrison-").tempfile_in(parent)?;
    let mut source = client.stream(&format!("/api/v1{}", file.address(attempt)))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = source.read(&mut buffer).map_err(|error| broken(&error))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        beside.write_all(&buffer[..read])?;
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != file.sha256 {
        return Err(Failure::internal(format!(
            "{} came with the SHA-256 {hash}, and should have {}; it was not kept",
            file.path, file.sha256
        )));
    }
    finish(beside, &place, file.executable)?;
    Ok(place)
}

/// Puts a whole file in its place, with the rights of other new files.
fn finish(beside: tempfile::NamedTempFile, place: &Path, executable: bool) -> io::Result<()> {
    let mode = if executable { 0o755 } else { 0o644 };
    beside.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    beside.as_file().sync_all()?;
    beside.persist(place).map_err(|error| error.error)?;
    Ok(())
}
