//! Files of real sites that tests read where they are at hand: they are other people's, and not kept
//! here.

use std::path::{Path, PathBuf};

/// The folder of the cases: `$GARRISON_CASES`, or `shared/cases` in a folder around the repository.
/// Where there is none, this says how many cases are skipped, and there are none.
///
/// # Panics
/// In a CI (`CI=true`), where nothing may be skipped.
pub fn folder(count: usize, what: &str) -> Option<PathBuf> {
    named("cases", count, what)
}

/// The guides that people deploy by: the folder `seeds` beside that of the cases. It may be missing as that.
///
/// # Panics
/// As [`folder`].
pub fn seeds(count: usize, what: &str) -> Option<PathBuf> {
    named("seeds", count, what)
}

#[allow(clippy::print_stderr, reason = "a test that does not run must say so")]
fn named(name: &str, count: usize, what: &str) -> Option<PathBuf> {
    let around = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let around = around.map(|folder| folder.join("shared/cases")).find(|folder| folder.is_dir());
    let folder = std::env::var_os("GARRISON_CASES").map(PathBuf::from).or(around);
    let folder = folder.map(|folder| folder.join("..").join(name));
    if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
        return Some(folder);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "{count} {what} are missing: name the folder of cases by GARRISON_CASES");
    eprintln!("skipped: {count} {what}, as GARRISON_CASES names no folder of {name}");
    None
}
