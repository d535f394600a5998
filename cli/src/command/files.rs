//! Pipelines and inventories as files on this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pipelines::load::{Found, Need, Unavailable};
use pipelines::name::PartitionName;
use pipelines::source::File;

use crate::exit::Failure;

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

/// Fetches what a pipeline needs: its own file by its path, and of each partition the file
/// `PARTITION.yaml` of the folder of inventories, if one is given.
pub(super) fn fetch(need: &Need, inventories: Option<&Path>) -> Found {
    let path = match (need, inventories) {
        (Need::Pipeline(path), _) => PathBuf::from(path),
        (Need::Inventory(partition), Some(folder)) => folder.join(format!("{partition}.yaml")),
        (Need::Inventory(_), None) => return Err(Unavailable::NotAtHand),
    };
    match fs::read(&path) {
        Ok(bytes) => Ok(File { name: path.to_string_lossy().into_owned(), bytes }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unavailable::NotFound),
        Err(error) => Err(Unavailable::Failed(error.to_string())),
    }
}
