//! `garrison lint`.

mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use pipelines::compile::{lint, lint_source};
use pipelines::diagnostic::{Diagnostic, Diagnostics};
use pipelines::inventory;
use pipelines::load::{Need, load};
use pipelines::source::File;
use serde::Serialize;

use super::files::{self, FOLDER, Folders};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// Pipeline files, or repositories; all of .garrison/ if left out, which need not be there beside --inventory.
    files: Vec<PathBuf>,
    /// Looks at jobs together with the files of the repository in this folder: what they run, and what that
    /// reads, must be there.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = ".")]
    source: Option<PathBuf>,
    #[command(flatten)]
    folders: Folders,
}

/// What lint found.
#[derive(Debug, Serialize)]
struct Report {
    files: usize,
    diagnostics: Vec<Diagnostic>,
}

/// Checks files; the exit status is 2 if there is an error.
pub fn run(options: &Options, format: Format) -> Result<Exit, Failure> {
    let inventory = options.folders.inventory.as_deref();
    // As paths are told: without the folder that this runs in.
    let root =
        options.source.as_deref().filter(|it| *it != Path::new(".")).unwrap_or(Path::new(""));
    let folder = root.join(FOLDER);
    let pipelines = match options.files.is_empty() {
        // A repository of inventories alone.
        true if inventory.is_some() && !folder.exists() => Vec::new(),
        true => files::yaml_files(&folder).map_err(|failure| {
            Failure::usage(format!("{failure}; run this in a repository, or name the files"))
        })?,
        false => {
            let named: Result<Vec<_>, _> =
                options.files.iter().map(|it| files::named(it)).collect();
            named?.concat()
        }
    };
    let inventories = match inventory {
        Some(folder) => files::yaml_files(folder)?,
        None => Vec::new(),
    };
    let at = options.source.as_deref();
    let source = at.map(source::files).transpose()?;
    let mut found: Vec<Diagnostics> = Vec::new();
    for path in &pipelines {
        let among = files::partitions(inventory)?;
        let fetch = |need: &Need| files::fetch(need, path, &options.folders);
        let sources = load(path.to_string_lossy(), among, fetch);
        let beside = source.as_ref().map(|files| lint_source(&sources, files));
        for mut own in [Some(lint(&sources)), beside].into_iter().flatten() {
            // What several pipelines include or start is told once.
            own.retain(|it| !found.iter().flat_map(Diagnostics::iter).any(|told| told == it));
            found.push(own);
        }
    }
    if let Some(files) = &source {
        found.extend(source::placeholders(root, files)?);
    }
    for path in &inventories {
        found.extend(inventory::read(&read(path)?, &files::partition(path)?).err());
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

fn read(path: &Path) -> Result<File, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(File { name: path.to_string_lossy().into_owned(), bytes })
}
