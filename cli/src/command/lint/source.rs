//! The files of a repository on this machine, for checks that compare jobs with them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pipelines::diagnostic::Diagnostics;
use pipelines::files::Files;
use pipelines::placeholder;

use crate::exit::Failure;

/// The files of the repository at `folder`: those that git knows, and new ones that it does not ignore. One can be
/// run if either git or the disk says so.
pub(super) fn files(folder: &Path) -> Result<Files, Failure> {
    let known = listed(folder, &["--stage"])?;
    let new = listed(folder, &["--others", "--exclude-standard"])?;
    let known = entries(&known).filter_map(|entry| {
        let tab = entry.iter().position(|byte| *byte == b'\t')?;
        Some((&entry[tab + 1..], entry.starts_with(b"100755")))
    });
    let all = known.chain(entries(&new).map(|path| (path, false)));
    let file = |(path, is_executable): (&[u8], bool)| {
        let at = folder.join(OsStr::from_bytes(path));
        // One that was removed is listed until that is committed.
        fs::symlink_metadata(&at).ok()?;
        let mode = fs::metadata(&at).map_or(0, |it| it.permissions().mode());
        let path = String::from_utf8_lossy(path).into_owned();
        Some((path, is_executable || mode & 0o111 != 0))
    };
    Ok(Files::new(all.filter_map(file)))
}

/// What `git ls-files` prints.
fn listed(folder: &Path, options: &[&str]) -> Result<Vec<u8>, Failure> {
    let cannot = |words: &str| {
        let folder = folder.display();
        Failure::usage(format!(
            "cannot list the files of {folder}: {words}; name a repository by --source"
        ))
    };
    let mut git = Command::new("git");
    let output = git.args(["ls-files", "-z"]).args(options).current_dir(folder).output();
    let output = output.map_err(|error| cannot(&format!("git: {error}")))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(cannot(String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn entries(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty())
}

/// Placeholders in those files that should hold none.
pub(super) fn placeholders(folder: &Path, files: &Files) -> Result<Vec<Diagnostics>, Failure> {
    let looked_for = files.paths().filter(|path| placeholder::is_looked_for(path));
    let found = looked_for.map(|path| Ok(placeholder::find(&super::read(&folder.join(path))?)));
    found.collect()
}
