//! Bare mirrors of the configured repositories, by way of the git program.
//!
//! Invariant: only URLs from the configuration are fetched, and nothing from a repository is ever
//! executed: no work tree, no hooks, no submodules.

mod between;
mod hold;

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::process::Command;
use tokio::task::spawn_blocking;

pub use self::between::{Between, Commit};
use self::hold::Hold;
use crate::config::Repository;

/// A fetch that takes longer has failed.
const FETCH: Duration = Duration::from_secs(300);

/// A look into a mirror that takes longer has failed.
const LOOK: Duration = Duration::from_secs(30);

/// Why git did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("cannot start git: {0}; install it (apt-get install git)")]
    Start(io::Error),
    /// It took too long.
    #[error("git {command} took longer than {} s", .limit.as_secs())]
    TimedOut {
        /// What it was doing.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// It failed; the text is its own.
    #[error("git {command}: {stderr}")]
    Failed {
        /// What it was doing.
        command: String,
        /// Its words.
        stderr: String,
    },
    /// The mirror's directory cannot be used.
    #[error("cannot use {}: {error}", .path.display())]
    Mirror {
        /// The mirror.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The reference does not exist.
    #[error("there is no {reference} in the repository: check the name, or push it first")]
    NoReference {
        /// Which one.
        reference: String,
    },
    /// A file is larger than its reader takes.
    #[error("{path} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    fn failed(command: &str, stderr: &[u8]) -> Error {
        let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
        Error::Failed { command: command.to_owned(), stderr }
    }
}

/// What a tree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// git's mode, as `100644`.
    pub mode: String,
    /// The object's name.
    pub object: String,
    /// Bytes of content.
    pub size: u64,
    /// From the repository's root.
    pub path: String,
}

/// Where GitHub, Gitea and Forgejo keep the heads of pull requests: below it stands `7/head`.
pub const PULL_REQUESTS: &str = "refs/pull/";

/// Where GitLab keeps them.
pub const MERGE_REQUESTS: &str = "refs/merge-requests/";

/// Most changed files that are listed.
const CHANGED: usize = 10_000;

/// How many bytes of answers a mirror remembers.
const REMEMBERED: u64 = 16 << 20;

/// A mirror of one repository; a clone is the same.
#[derive(Debug, Clone)]
pub struct Mirror {
    path: PathBuf,
    url: String,
    /// The object that each reference named at the last fetch.
    references: Arc<RwLock<BTreeMap<String, String>>>,
    /// What git answered when it was asked about a commit, by its arguments: it never changes.
    answers: Arc<Cache<String, Arc<[u8]>, Bytes>>,
}

/// Answers count by their length.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<String, Arc<[u8]>> for Bytes {
    fn weight(&self, arguments: &String, answer: &Arc<[u8]>) -> u64 {
        (arguments.len() + answer.len()) as u64
    }
}

impl Mirror {
    /// The mirror of `url` at `path`; made by the first fetch.
    pub fn new(path: PathBuf, url: String) -> Mirror {
        let answers = Arc::new(Cache::with_weighter(1024, REMEMBERED, Bytes));
        Mirror { path, url, references: Arc::default(), answers }
    }

    /// The mirror of a configured repository, below the coordinator's data directory.
    pub fn of(data: &Path, repository: &Repository) -> Mirror {
        let path = data.join("mirrors").join(format!("{}.git", repository.name));
        Mirror::new(path, repository.url.clone())
    }

    /// Brings all branches and tags up to date.
    pub async fn fetch(&self) -> Result<(), Error> {
        self.take(
            &["--prune", "--force"],
            &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
        )
        .await?;
        self.recall().await
    }

    /// Brings the commits of one more full reference here. It is not kept, and nothing is cleared away, so that
    /// they stay.
    pub async fn fetch_beside(&self, reference: &str) -> Result<(), Error> {
        self.take(&[], &[reference]).await
    }

    async fn take(&self, options: &[&str], wanted: &[&str]) -> Result<(), Error> {
        let path = self.path.clone();
        let held = spawn_blocking(move || Hold::of(&path)).await;
        let held = held.unwrap_or_else(|it| resume_unwind(it.into_panic()))?;
        let always =
            ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
        let arguments = [&always, options, &["--", &self.url], wanted].concat();
        run_with(&self.path, &arguments, held.into_input(), FETCH).await?;
        Ok(())
    }

    /// Looks up what all branches and tags named at the last fetch, which another process may have
    /// made.
    pub async fn recall(&self) -> Result<(), Error> {
        let list = ["for-each-ref", "--format=%(objectname) %(refname)"];
        let listed = run(&self.path, &list, LOOK).await?;
        let listed = String::from_utf8_lossy(&listed);
        let references = listed.lines().filter_map(|line| {
            line.split_once(' ').map(|(object, name)| (name.to_owned(), object.to_owned()))
        });
        let references = references.collect();
        *self.references.write().unwrap_or_else(PoisonError::into_inner) = references;
        Ok(())
    }

    /// The default branch of the repository itself, in full, and its commit.
    pub async fn head(&self) -> Result<(String, String), Error> {
        let arguments = ["ls-remote", "--symref", "--", &self.url, "HEAD"];
        let listed = run(Path::new("/"), &arguments, LOOK).await?;
        let listed = String::from_utf8_lossy(&listed);
        let ends = |line: &str| line.strip_suffix("\tHEAD").map(str::to_owned);
        let mut lines = listed.lines().filter_map(ends);
        let branch = lines.next().and_then(|line| Some(line.strip_prefix("ref: ")?.to_owned()));
        let head = branch.zip(lines.next());
        head.ok_or_else(|| Error::NoReference { reference: "default branch".to_owned() })
    }

    /// The commit that a full reference (`refs/heads/main`), as it was at the last fetch, or a
    /// commit's own hash names.
    pub async fn commit(&self, reference: &str) -> Result<String, Error> {
        let unknown = || Error::NoReference { reference: reference.to_owned() };
        let object = match is_hash(reference) {
            true => reference.to_owned(),
            false => self.object(reference).ok_or_else(unknown)?,
        };
        let name = format!("{object}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &name];
        match self.look(&arguments).await {
            Ok(output) => Ok(String::from_utf8_lossy(&output).trim().to_owned()),
            Err(Error::Failed { .. }) => Err(unknown()),
            Err(error) => Err(error),
        }
    }

    /// The files below a folder at a commit, sorted.
    pub async fn files(&self, commit: &str, folder: &str) -> Result<Vec<String>, Error> {
        let folder = format!("{folder}/");
        let arguments = ["ls-tree", "-r", "-z", "--name-only", commit, "--", &folder];
        let output = self.look(&arguments).await?;
        let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Everything in a commit but folders. A path that is not UTF-8 is shown with replacements.
    pub async fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>, Error> {
        let output =
            run(&self.path, &["ls-tree", "-r", "-z", "-l", "--full-tree", commit], LOOK).await?;
        let lines = output.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        Ok(lines.filter_map(|line| tree_entry(&String::from_utf8_lossy(line))).collect())
    }

    /// What `git ls-tree -r -z` says of a commit, as it is.
    pub async fn listing(&self, commit: &str) -> Result<Vec<u8>, Error> {
        let listing = self.look(&["ls-tree", "-r", "-z", "--full-tree", commit]).await?;
        Ok(listing.to_vec())
    }

    /// Paths of the files that differ between two commits; none if one of them is not there any
    /// more, or they are too many to be listed.
    pub async fn changed(&self, before: &str, after: &str) -> Option<Vec<String>> {
        let list = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after, "--"];
        let output = self.look(&list).await.ok()?;
        let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let names: Vec<_> = names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .take(CHANGED + 1)
            .collect();
        (names.len() <= CHANGED).then_some(names)
    }

    /// Paths of the files that a commit changes since it parted from `base`; none if they have nothing in common,
    /// or the files are too many to be listed.
    pub async fn changed_since_parting(&self, base: &str, commit: &str) -> Option<Vec<String>> {
        let parted = self.look(&["merge-base", "--end-of-options", base, commit]).await.ok()?;
        let parted = String::from_utf8_lossy(&parted);
        self.changed(parted.trim(), commit).await
    }

    /// `git cat-file --batch` in this mirror, with pipes to ask and to read the answers.
    pub fn objects(&self) -> Result<std::process::Child, Error> {
        command(&self.path, &["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::Start)
    }

    /// The content of a file at a commit; none if there is no such file.
    pub async fn read(
        &self,
        commit: &str,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let name = format!("{commit}:{path}");
        let size = match self.look(&["cat-file", "-s", &name]).await {
            Ok(size) => String::from_utf8_lossy(&size).trim().parse().unwrap_or(u64::MAX),
            Err(Error::Failed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if size > limit {
            return Err(Error::TooLarge { path: path.to_owned(), size, limit });
        }
        match self.look(&["cat-file", "blob", &name]).await {
            Ok(content) => Ok(Some(content.to_vec())),
            // A folder, or a submodule's commit.
            Err(Error::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What git answers to `arguments` that name a commit or another object by its hash.
    async fn look(&self, arguments: &[&str]) -> Result<Arc<[u8]>, Error> {
        let key = arguments.join("\0");
        if let Some(answer) = self.answers.get(&key) {
            return Ok(answer);
        }
        let answer: Arc<[u8]> = run(&self.path, arguments, LOOK).await?.into();
        self.answers.insert(key, Arc::clone(&answer));
        Ok(answer)
    }

    fn object(&self, reference: &str) -> Option<String> {
        let references = self.references.read().unwrap_or_else(PoisonError::into_inner);
        references.get(reference).cloned()
    }
}

/// Whether a full reference names the head of a pull request, at whichever forge.
pub fn is_pull_request(reference: &str) -> bool {
    reference.starts_with(PULL_REQUESTS) || reference.starts_with(MERGE_REQUESTS)
}

/// Whether this is the full hash of an object, SHA-1 or SHA-256, as git writes it.
pub fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// A line of `git ls-tree -l`: `<mode> <kind> <object> <size>\t<path>`.
fn tree_entry(line: &str) -> Option<TreeEntry> {
    let (about, path) = line.split_once('\t')?;
    let mut about = about.split_ascii_whitespace();
    let (mode, _, object) = (about.next()?, about.next()?, about.next()?);
    Some(TreeEntry {
        mode: mode.to_owned(),
        object: object.to_owned(),
        // A submodule has `-`.
        size: about.next()?.parse().unwrap_or(0),
        path: path.to_owned(),
    })
}

async fn run(directory: &Path, arguments: &[&str], limit: Duration) -> Result<Vec<u8>, Error> {
    run_with(directory, arguments, Stdio::null(), limit).await
}

async fn run_with(
    directory: &Path,
    arguments: &[&str],
    input: Stdio,
    limit: Duration,
) -> Result<Vec<u8>, Error> {
    let child =
        Command::from(command(directory, arguments)).stdin(input).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, child)
        .await
        .map_err(|_| Error::TimedOut { command: arguments[0].to_owned(), limit })?
        .map_err(Error::Start)?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Error::failed(arguments[0], &output.stderr)),
    }
}

/// The git program, as it is started for whatever it is to do.
fn command(directory: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command
        .args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"])
        .args(["-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) async fn git(directory: &Path, arguments: &[&str]) {
        let identity =
            ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
        let status = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .status();
        assert!(status.await.unwrap().success());
    }

    pub(super) async fn repository() -> (tempfile::TempDir, Mirror) {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir_all(work.join(".garrison")).unwrap();
        std::fs::write(work.join(".garrison/site.yaml"), "name: site\n").unwrap();
        std::fs::write(work.join("README"), "hello\n").unwrap();
        git(&work, &["init", "--quiet"]).await;
        git(&work, &["add", "."]).await;
        git(&work, &["commit", "--quiet", "-m", "first"]).await;
        let mirror = Mirror::new(dir.path().join("m.git"), work.to_string_lossy().into_owned());
        (dir, mirror)
    }

    #[tokio::test]
    async fn a_mirror_shows_what_was_pushed() {
        let (_dir, mirror) = repository().await;
        mirror.fetch().await.unwrap();
        let commit = mirror.commit("refs/heads/main").await.unwrap();
        assert_eq!(commit.len(), 40);
        assert_eq!(mirror.head().await.unwrap(), ("refs/heads/main".to_owned(), commit.clone()));
        assert_eq!(mirror.files(&commit, ".garrison").await.unwrap(), [".garrison/site.yaml"]);
        let file = mirror.read(&commit, ".garrison/site.yaml", 100).await.unwrap();
        assert_eq!(file.as_deref(), Some(&b"name: site\n"[..]));
        assert_eq!(mirror.read(&commit, "none", 100).await.unwrap(), None);
        assert_eq!(mirror.read(&commit, ".garrison", 10_000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn references_are_as_fetched_and_commits_are_remembered() {
        let (dir, mirror) = repository().await;
        mirror.fetch().await.unwrap();
        let first = mirror.commit("refs/heads/main").await.unwrap();
        mirror.read(&first, "README", 100).await.unwrap();
        let work = dir.path().join("work");
        std::fs::write(work.join("README"), "bye\n").unwrap();
        git(&work, &["commit", "--quiet", "-a", "-m", "second"]).await;
        git(&work, &["tag", "-m", "annotated", "v1"]).await;
        assert_eq!(mirror.commit("refs/heads/main").await.unwrap(), first);

        mirror.fetch().await.unwrap();
        let second = mirror.commit("refs/heads/main").await.unwrap();
        assert_ne!(second, first);
        assert_eq!(mirror.commit("refs/tags/v1").await.unwrap(), second);
        assert_eq!(mirror.commit(&first).await.unwrap(), first);

        std::fs::remove_dir_all(dir.path().join("m.git")).unwrap();
        let remembered = mirror.read(&first, "README", 100).await.unwrap();
        assert_eq!(remembered.as_deref(), Some(&b"hello\n"[..]));
        assert_eq!(mirror.commit(&second).await.unwrap(), second);
    }

    #[tokio::test]
    async fn what_is_not_there_or_too_large_is_said() {
        let (_dir, mirror) = repository().await;
        mirror.fetch().await.unwrap();
        let error = mirror.commit("refs/heads/none").await.unwrap_err().to_string();
        assert!(error.starts_with("there is no refs/heads/none"), "{error}");
        let commit = mirror.commit("refs/heads/main").await.unwrap();
        let error = mirror.read(&commit, "README", 3).await.unwrap_err().to_string();
        assert_eq!(error, "README has 6 bytes, more than the 3 allowed");
    }

    #[tokio::test]
    async fn a_repository_that_cannot_be_reached_gives_gits_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirror::new(dir.path().join("m.git"), "/nowhere/at/all".to_owned());
        let error = mirror.fetch().await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
