//! Who works in a mirror, and what those left there that were killed at it.
//!
//! A program keeps the file beside the mirror locked (flock, shared) as its standard input, and with that as long as
//! it lives, whatever becomes of the coordinator that started it. Who has the lock alone knows that nobody is at work
//! there: what looks like it was left behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tracing::warn;

use super::{Error, command};

/// A mirror that is there as a whole, for a program to work in.
pub(super) struct Hold {
    file: File,
}

impl Hold {
    /// Makes the mirror if it is not there, and clears away what others left if nobody is at work in it.
    pub(super) fn of(mirror: &Path) -> Result<Hold, Error> {
        let failed = |error| Error::Mirror { path: mirror.to_owned(), error };
        if let Some(parent) = mirror.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(mirror.with_extension("lock")).map_err(failed)?;
        if is_whole(mirror) {
            match file.try_lock() {
                Ok(()) => clear(mirror).map_err(failed)?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        } else {
            file.lock().map_err(failed)?;
            if !is_whole(mirror) {
                make(mirror, &file)?;
            }
        }
        file.unlock().and_then(|()| file.lock_shared()).map_err(failed)?;
        Ok(Hold { file })
    }

    /// What a program that works there gets as its standard input, which is empty.
    pub(super) fn into_input(self) -> Stdio {
        self.file.into()
    }
}

fn is_whole(mirror: &Path) -> bool {
    // Without power it can be there and empty.
    fs::metadata(mirror.join("HEAD")).is_ok_and(|it| it.len() > 0)
}

/// Makes an empty mirror, under its name when it is whole; `lock` is held alone.
fn make(mirror: &Path, lock: &File) -> Result<(), Error> {
    let failed = |error| Error::Mirror { path: mirror.to_owned(), error };
    let new = mirror.with_extension("new");
    remove(&new).and_then(|()| remove(mirror)).map_err(failed)?;
    let arguments = ["init", "--bare", "--quiet", "--", &new.to_string_lossy()];
    let mut init = command(Path::new("/"), &arguments);
    init.stdin(lock.try_clone().map_err(failed)?);
    let output = init.output().map_err(Error::Start)?;
    if !output.status.success() {
        return Err(Error::failed("init", &output.stderr));
    }
    fs::rename(&new, mirror).map_err(failed)
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes the locks of references, and packs that were not received to their end.
fn clear(mirror: &Path) -> io::Result<()> {
    // No reference may end so (git-check-ref-format).
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|it| it == "lock");
    let is_part = |path: &PathBuf| {
        path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"tmp_"))
    };
    let locks = files(mirror, false)?.into_iter().chain(files(&mirror.join("refs"), true)?);
    let parts = files(&mirror.join("objects/pack"), false)?.into_iter();
    for file in locks.filter(is_lock).chain(parts.filter(is_part)) {
        warn!(file = %file.display(), "removed what a program left that was killed");
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The files in a directory, or also those in the directories below it.
fn files(directory: &Path, below: bool) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            false => files.push(entry.path()),
            true if below => files.extend(self::files(&entry.path(), true)?),
            true => {}
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::LOOK;
    use super::super::tests::{git, repository};

    #[tokio::test]
    async fn what_was_left_is_cleared_away_when_nobody_is_at_work() {
        let (dir, mirror) = repository().await;
        let path = dir.path().join("m.git");
        // As an `init` can leave it that was killed, or whose machine lost its power.
        for half in ["HEAD.lock", "HEAD"] {
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("refs")).unwrap();
            std::fs::write(path.join(half), "").unwrap();
            mirror.fetch().await.unwrap();
            assert!(!path.join("HEAD.lock").exists());
        }

        let left = ["HEAD.lock", "packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_1"];
        left.iter().for_each(|it| std::fs::write(path.join(it), "x").unwrap());
        let work = dir.path().join("work");
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", "second"]).await;
        git(&work, &["branch", "tmp_branch"]).await;
        let hold = super::Hold::of(&path).unwrap();
        assert!(left.iter().all(|it| !path.join(it).exists()));

        // One is at work, and has this locked.
        std::fs::write(path.join("refs/heads/main.lock"), "x").unwrap();
        let mut other = Command::new("sleep").arg("60").stdin(hold.into_input()).spawn().unwrap();
        let refused = mirror.fetch().await.unwrap_err().to_string();
        assert!(refused.contains("refs/heads/main.lock"), "{refused}");
        other.kill().unwrap();
        other.wait().unwrap();
        mirror.fetch().await.unwrap();
        let tips =
            [mirror.commit("refs/heads/main").await, mirror.commit("refs/heads/tmp_branch").await];
        assert!(matches!(&tips, [Ok(main), Ok(other)] if main == other), "{tips:?}");
    }

    #[tokio::test]
    async fn a_fetch_that_was_killed_anywhere_is_made_good() {
        let (dir, mirror) = repository().await;
        let work = dir.path().join("work");
        let branches = (0..200).map(|it| format!("+HEAD:refs/heads/branch-{it}"));
        let branches: Vec<_> =
            ["push", "--quiet", "."].map(str::to_owned).into_iter().chain(branches).collect();
        let branches: Vec<_> = branches.iter().map(String::as_str).collect();
        for step in 0..20 {
            git(&work, &["commit", "--quiet", "--allow-empty", "-m", "more"]).await;
            git(&work, &branches).await;
            let _ = timeout(Duration::from_millis(4) * step, mirror.fetch()).await;
            // The one that was killed may be dying still.
            let made_good = async || while mirror.fetch().await.is_err() {};
            timeout(LOOK, made_good()).await.unwrap();
            let main = mirror.commit("refs/heads/main").await.unwrap();
            assert_eq!(mirror.commit("refs/heads/branch-199").await.unwrap(), main);
        }
    }
}
