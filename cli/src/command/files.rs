//! Pipelines and inventories as files on this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use pipelines::include::Include;
use pipelines::load::{Found, Need, Unavailable};
use pipelines::name::{PartitionName, RepositoryName};
use pipelines::source::File;

use crate::exit::Failure;

/// Where pipelines live in a repository.
pub(super) const FOLDER: &str = ".garrison";

/// The partitions that a folder of inventories knows; none without one.
pub(super) fn partitions(inventories: Option<&Path>) -> Result<Vec<PartitionName>, Failure> {
    let Some(folder) = inventories else { return Ok(Vec::new()) };
    yaml_files(folder)?.iter().map(|path| partition(path)).collect()
}

/// The partition that an inventory file is named after.
pub(super) fn partition(path: &Path) -> Result<PartitionName, Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|error| {
        Failure::usage(format!("{}: the partition's name '{stem}' {error}", path.display()))
    })
}

/// The YAML files of a folder, sorted.
pub(super) fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        entries.collect()
    };
    let mut files = list()
        .map_err(|error| Failure::usage(format!("cannot list {}: {error}", folder.display())))?;
    files.retain(|path| path.extension().is_some_and(|it| it == "yaml" || it == "yml"));
    files.sort();
    Ok(files)
}

/// The pipelines that a path names: a file, or all of a repository or of a folder.
pub(super) fn named(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let pipelines = path.strip_prefix(".").unwrap_or(path).join(FOLDER);
    let found = yaml_files(if pipelines.is_dir() { &pipelines } else { path })?;
    if found.is_empty() {
        let text = format!("no pipeline in {}: they lie in its {FOLDER}/", path.display());
        return Err(Failure::usage(text));
    }
    Ok(found)
}

/// Where what pipelines need is on this machine.
#[derive(Debug, Args)]
pub(super) struct Folders {
    /// Folder with a file PARTITION.yaml for each partition's inventory.
    #[arg(long, value_name = "FOLDER")]
    pub(super) inventory: Option<PathBuf>,
    /// Checkout of another repository that pipelines include files of; taken as it is, whatever `ref` they
    /// name. May be given several times.
    #[arg(long = "include", value_name = "NAME=FOLDER", value_parser = checkout)]
    pub(super) checkouts: Vec<(RepositoryName, PathBuf)>,
}

fn checkout(text: &str) -> Result<(RepositoryName, PathBuf), String> {
    let (name, folder) =
        text.split_once('=').ok_or("write NAME=FOLDER, such as shared=../shared")?;
    let name = name.parse().map_err(|error| format!("the repository's name '{name}' {error}"))?;
    Ok((name, PathBuf::from(folder)))
}

/// Fetches what a pipeline needs: its own file by its path, what it includes from the root of its repository
/// or of a checkout, and of each partition the file `PARTITION.yaml` of the folder of inventories.
pub(super) fn fetch(need: &Need, pipeline: &Path, folders: &Folders) -> Found {
    let path = match need {
        Need::Tree => return tree(pipeline),
        Need::Pipeline(path) => PathBuf::from(path),
        Need::Include(Include { pinned: None, file }) => root(pipeline).join(file),
        Need::Include(Include { pinned: Some(pinned), file }) => {
            let mut checkouts = folders.checkouts.iter();
            let checkout = checkouts.find(|(name, _)| *name == pinned.repository);
            checkout.ok_or(Unavailable::NotAtHand)?.1.join(file)
        }
        Need::Inventory(partition) => {
            let folder = folders.inventory.as_ref().ok_or(Unavailable::NotAtHand)?;
            folder.join(format!("{partition}.yaml"))
        }
    };
    let name = match need {
        Need::Include(include) => include.to_string(),
        Need::Pipeline(_) | Need::Tree | Need::Inventory(_) => path.to_string_lossy().into_owned(),
    };
    match fs::read(&path) {
        Ok(bytes) => Ok(File { name, bytes }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unavailable::NotFound),
        Err(error) => Err(Unavailable::Unreadable(error.to_string())),
    }
}

/// The files of the commit that is checked out.
fn tree(pipeline: &Path) -> Found {
    let mut git = Command::new("git");
    git.args(["ls-tree", "-r", "-z", "--full-tree", "HEAD"]);
    let root = root(pipeline);
    if root != Path::new("") {
        git.current_dir(root);
    }
    let output = git.output().map_err(|error| {
        Unavailable::Failed(format!("cannot start git: {error}; apt-get install git"))
    })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Unavailable::Failed(words));
    }
    Ok(File { name: "HEAD".to_owned(), bytes: output.stdout })
}

/// The root of the repository that a pipeline's file lies in: what holds its folder, or else this folder.
fn root(pipeline: &Path) -> PathBuf {
    let folder = pipeline.ancestors().find(|path| path.file_name().is_some_and(|it| it == FOLDER));
    folder.and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
}
