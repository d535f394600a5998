//! What tests need and no Debian package brings: packages of PyPI and npm, and images. Made once, into a cache of
//! this user's outside of the checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// A folder for Python's `PYTHONPATH` with packages of PyPI, such as `nats-py==2.16.0`, and what they need.
/// Its `bin` has their programs.
///
/// # Panics
/// If they cannot be installed.
pub fn pypi(wanted: &[&str]) -> PathBuf {
    kept(&format!("pypi-{}", wanted.join("-").replace("==", "-")), |folder| {
        run(Command::new("pip3")
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(["--root-user-action=ignore", "--target"])
            .arg(folder)
            .args(wanted));
    })
}

/// The folder of a package of npm, unpacked and not run.
///
/// # Panics
/// If it cannot be had.
pub fn npm(name: &str, version: &str) -> PathBuf {
    let folder = kept(&format!("npm-{}-{version}", name.replace('/', "-")), |folder| {
        run(Command::new("npm")
            .args(["pack", "--silent", "--pack-destination"])
            .arg(folder)
            .arg(format!("{name}@{version}"))
            .current_dir(folder));
        let files = fs::read_dir(folder).expect("a folder").flatten();
        let archive =
            files.map(|it| it.path()).find(|it| it.extension().is_some_and(|it| it == "tgz"));
        let archive = archive.expect("npm pack leaves an archive");
        run(Command::new("tar").arg("xzf").arg(archive).arg("--directory").arg(folder));
    });
    folder.join("package")
}

/// A folder that this program made: it is called with the folder as its only argument, once for each version of
/// itself.
///
/// # Panics
/// If it fails.
pub fn made(name: &str, by: &Path) -> PathBuf {
    let version = Sha256::digest(fs::read(by).expect("a program"));
    let version: String = version[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    kept(&format!("{name}-{version}"), |folder| run(Command::new(by).arg(folder)))
}

/// The folder of that name in the cache, filled by `fill` if it is not there. Of two that want it at the same time one
/// waits for the other.
fn kept(name: &str, fill: impl FnOnce(&PathBuf)) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let cache = cache.unwrap_or_else(home).join("garrison-tests");
    fs::create_dir_all(&cache).expect("a cache");
    let lock = fs::File::create(cache.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("a lock");
    let folder = cache.join(name);
    if !folder.exists() {
        let filling = tempfile::Builder::new().prefix("filling-").tempdir_in(&cache);
        let filling = filling.expect("a folder in the cache");
        fill(&filling.path().to_owned());
        fs::rename(filling.keep(), &folder).expect("a folder of the cache");
    }
    folder
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: run deploy/install-test-needs");
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
