//! What the tests use of PyPI, as `deploy/install-test-needs` has laid it down.

use std::path::PathBuf;

/// The folder of the packages; `bin` in it has their programs.
///
/// # Panics
/// If it is not there.
pub fn packages() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let cache = cache.or_else(home).expect("a home");
    let folder = cache.join("garrison-tests/python");
    assert!(folder.exists(), "{} is missing: deploy/install-test-needs", folder.display());
    folder
}
