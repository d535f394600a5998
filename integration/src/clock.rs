//! A wall clock for single processes, which the test sets; the machine's own stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

/// Processes that are started with [`Clock::env`] see this wall clock; what counts time for them
/// (monotonic clocks) is the machine's.
#[derive(Debug)]
pub struct Clock(PathBuf);

impl Clock {
    /// A clock that is right, kept in the file `path`.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn new(path: &Path) -> Clock {
        let clock = Clock(path.to_owned());
        clock.shift("+0");
        clock
    }

    /// Sets it beside the machine's clock, at once: `-5h`, `+3d`.
    ///
    /// # Panics
    /// If its file cannot be written.
    pub fn shift(&self, by: &str) {
        let new = self.0.with_extension("new");
        let set = fs::write(&new, format!("{by}\n")).and_then(|()| fs::rename(&new, &self.0));
        set.unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
    }

    /// What makes a process see it.
    pub fn env(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// Debian's libfaketime, which shifts the clock of one process.
///
/// # Panics
/// If it is not installed.
pub fn library() -> String {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let library = |place| format!("/usr/lib/{place}/faketime/libfaketime.so.1");
    let library = places.map(library).into_iter().find(|path| Path::new(path).exists());
    library.expect("libfaketime is missing: apt-get install faketime")
}
