//! `garrison lint`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use pipelines::compile::lint;
use pipelines::diagnostic::{Diagnostic, Diagnostics};
use pipelines::inventory;
use pipelines::load::{Found, Need, Unavailable, load};
use pipelines::name::PartitionName;
use pipelines::source::File;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Where pipelines live in a repository.
const FOLDER: &str = ".garrison";

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// Pipeline files; all of .garrison/ if left out, which need not be there beside --inventory.
    files: Vec<PathBuf>,
    /// Folder with a file PARTITION.yaml for each partition's inventory; they are checked too.
    #[arg(long)]
    inventory: Option<PathBuf>,
}

/// What lint found.
#[derive(Debug, Serialize)]
struct Report {
    files: usize,
    diagnostics: Vec<Diagnostic>,
}

/// Checks files; the exit status is 2 if there is an error.
pub fn run(options: &Options, format: Format) -> Result<Exit, Failure> {
    let pipelines = match options.files.is_empty() {
        // A repository of inventories alone.
        true if options.inventory.is_some() && !Path::new(FOLDER).exists() => Vec::new(),
        true => yaml_files(Path::new(FOLDER)).map_err(|error| {
            Failure::usage(format!(
                "cannot list {FOLDER}/: {error}; run this in a repository, or name the files"
            ))
        })?,
        false => options.files.clone(),
    };
    let inventories = match &options.inventory {
        Some(folder) => yaml_files(folder).map_err(|error| {
            Failure::usage(format!("cannot list {}: {error}", folder.display()))
        })?,
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for path in &pipelines {
        found.push(lint(&load(path.to_string_lossy(), |need| fetch(need, options))));
    }
    for path in &inventories {
        found.extend(inventory::read(&read(path)?, &partition(path)?).err());
    }
    let files = pipelines.len() + inventories.len();
    report(files, &found, format)?;
    Ok(if found.iter().any(Diagnostics::has_errors) { Exit::Usage } else { Exit::Success })
}

fn report(files: usize, found: &[Diagnostics], format: Format) -> io::Result<()> {
    let diagnostics = found.iter().flat_map(Diagnostics::iter).cloned().collect();
    output::print(format, &Report { files, diagnostics }, |report| {
        let mut text: String = found.iter().map(Diagnostics::render).collect();
        let plural = if report.files == 1 { "file" } else { "files" };
        text.push_str(&match report.diagnostics.len() {
            0 => format!("{} {plural}, nothing to complain about\n", report.files),
            1 => format!("\n{} {plural}, 1 complaint\n", report.files),
            many => format!("\n{} {plural}, {many} complaints\n", report.files),
        });
        text
    })
}

fn fetch(need: &Need, options: &Options) -> Found {
    let path = match (need, &options.inventory) {
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

/// The partition that an inventory file is named after.
fn partition(path: &Path) -> Result<PartitionName, Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|error| {
        Failure::usage(format!("{}: the partition's name '{stem}' {error}", path.display()))
    })
}

fn read(path: &Path) -> Result<File, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(File { name: path.to_string_lossy().into_owned(), bytes })
}

fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "yaml" || it == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
