//! How the view was left: what decides whether it can be trusted at the next start.
//!
//! The view does not sync its writes. Its files are whole after a clean close, and after a crash
//! of the process alone, as the kernel then still holds what was written. After a crash of the
//! host they are not.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::disk::sync_directory;

const FILE: &str = "view.state";

/// How the view was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Closed and synced.
    Clean,
    /// Not closed, but the host has not restarted since.
    Open,
    /// Not closed before the host restarted, or nobody knows.
    Torn,
}

/// Reads how the view in `directory` was left.
pub(super) fn read(directory: &Path) -> io::Result<Left> {
    let text = match fs::read_to_string(directory.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::Torn),
        Err(error) => return Err(error),
    };
    Ok(match text.trim().split_once(' ') {
        Some(("clean", _)) => Left::Clean,
        Some(("open", boot)) if boot_id().is_some_and(|now| now == boot) => Left::Open,
        _ => Left::Torn,
    })
}

/// Notes durably that the view is about to be written.
pub(super) fn open(directory: &Path) -> io::Result<()> {
    write(directory, "open")
}

/// Notes durably that the view is closed and synced.
pub(super) fn clean(directory: &Path) -> io::Result<()> {
    write(directory, "clean")
}

fn write(directory: &Path, word: &str) -> io::Result<()> {
    let boot = boot_id().unwrap_or_else(|| "unknown".to_owned());
    let temporary = directory.join("view.state.tmp");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{word} {boot}")?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(FILE))?;
    sync_directory(directory)
}

/// Another one after each start of the host.
fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_view_is_trusted_only_within_one_boot() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), Left::Torn);
        open(directory.path()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Left::Open);
        fs::write(directory.path().join(FILE), "open another-boot\n").unwrap();
        assert_eq!(read(directory.path()).unwrap(), Left::Torn);
        clean(directory.path()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Left::Clean);
    }
}
