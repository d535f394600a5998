//! Source bundles and artifacts: kept by hash, and remembered by what they are of.
//!
//! | under `content/` | holds |
//! |---|---|
//! | `store/` | the bundles; see [`proto::content`] |
//! | `commits/<repository>/<commit>` | the hash of a commit's source bundle |
//! | `attempts/<attempt>` | the hashes of what an attempt left, one a line, each with the second since 1970 until which it is kept, if that ends |
//!
//! Invariant: an attempt is noted to have left only what is complete and durable here.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pipelines::id::AttemptId;
use pipelines::name::RepositoryName;
use pipelines::outcome::{Artifact, Outcome, Progress, Verdict};
use proto::content::{self, Hash, Incoming, Store};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::driver;
use crate::store::disk;

/// Bytes of the disk that content leaves free, for the journal and logs.
const LEFT_FREE: u64 = 256 << 20;

/// How often what has expired is removed.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// Most archives that one attempt may leave.
pub const ARCHIVES: usize = 8;

/// The content under a data directory; a clone is the same.
#[derive(Debug, Clone)]
pub struct Contents {
    root: PathBuf,
    store: Store,
    /// Held by [`Contents::sweep`], so that nothing arrives that it is about to remove.
    sweeping: Arc<RwLock<()>>,
}

impl Contents {
    /// The content in `root`, which is made if it is missing.
    pub fn open(root: &Path) -> io::Result<Contents> {
        for folder in ["commits", "attempts"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let store = Store::open(&root.join("store"))?;
        Ok(Contents { root: root.to_owned(), store, sweeping: Arc::default() })
    }

    /// Where the content is.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Begins to take content of about `size` bytes.
    ///
    /// # Errors
    /// `StorageFull` if the disk would have too little room left for everything else.
    pub fn begin(&self, size: u64) -> io::Result<Incoming> {
        if disk::free(&self.root)? < size.saturating_add(LEFT_FREE) {
            let words = "the disk of the coordinator's data directory has too little room";
            return Err(io::Error::new(io::ErrorKind::StorageFull, words));
        }
        self.store.begin()
    }

    /// The source bundle of a commit, if it was made before and is still here.
    pub fn of_commit(&self, repository: &RepositoryName, commit: &str) -> Option<Hash> {
        let text = fs::read_to_string(self.commit_path(repository, commit)).ok()?;
        text.trim_end().parse().ok().filter(|hash| self.store.has(hash))
    }

    /// Remembers a commit's source bundle. Not durable: what is lost is made again.
    pub fn remember(&self, repository: &RepositoryName, commit: &str, hash: &Hash) {
        let path = self.commit_path(repository, commit);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            fs::write(&path, hash.as_str())
        };
        if let Err(error) = write() {
            warn!(%error, path = %path.display(), "cannot remember a source bundle");
        }
    }

    /// What an attempt left.
    pub fn of_attempt(&self, attempt: AttemptId) -> io::Result<Vec<Hash>> {
        match fs::read_to_string(self.attempt_path(attempt)) {
            Ok(text) => Ok(left(&text).map(|(hash, _)| hash).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Keeps what an attempt left, for ever or until this second since 1970; durable when it returns.
    pub fn keep_for(
        &self,
        attempt: AttemptId,
        incoming: Incoming,
        announced: &Hash,
        until_s: Option<u64>,
    ) -> Result<(), content::Error> {
        let _no_sweep = self.sweeping.read().unwrap_or_else(PoisonError::into_inner);
        self.store.keep(incoming, Some(announced))?;
        let path = self.attempt_path(attempt);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let until = until_s.map(|until| format!(" {until}")).unwrap_or_default();
        // In one write, so that a line is there or not.
        file.write_all(format!("{announced}{until}\n").as_bytes())?;
        file.sync_all()?;
        Ok(File::open(self.root.join("attempts"))?.sync_all()?)
    }

    /// Removes what every attempt that left it lets go before this second since 1970; how many archives that
    /// were. What attempts left is still known by its hash.
    pub fn sweep(&self, now_s: u64) -> io::Result<usize> {
        let _nothing_comes = self.sweeping.write().unwrap_or_else(PoisonError::into_inner);
        let (mut kept, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(self.root.join("attempts"))? {
            for (hash, until) in left(&fs::read_to_string(entry?.path())?) {
                let is_over = until.is_some_and(|until| until <= now_s);
                if is_over { &mut gone } else { &mut kept }.insert(hash);
            }
        }
        gone.retain(|hash| !kept.contains(hash) && self.store.has(hash));
        if gone.is_empty() {
            return Ok(0);
        }
        for repository in fs::read_dir(self.root.join("commits"))? {
            for commit in fs::read_dir(repository?.path())? {
                if let Ok(hash) = fs::read_to_string(commit?.path())?.trim_end().parse() {
                    gone.remove(&hash);
                }
            }
        }
        gone.iter().try_for_each(|hash| fs::remove_file(self.store.path(hash)))?;
        Ok(gone.len())
    }

    /// Removes what has expired, now and every hour, until `stop`.
    pub async fn keep_swept(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut hours = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = hours.tick() => {}
            }
            let (contents, now_s) = (self.clone(), driver::now().0 / 1_000_000);
            match tokio::task::spawn_blocking(move || contents.sweep(now_s)).await? {
                Ok(0) => {}
                Ok(count) => info!(count, "artifacts have expired"),
                Err(error) => warn!(%error, "expired artifacts cannot be removed"),
            }
        }
    }

    /// The report as it may reach the core: an attempt that names content which it did not leave
    /// here has failed. Else an agent could have others' content sent to itself by its hash.
    pub fn vouched(&self, attempt: AttemptId, progress: Progress) -> Progress {
        let Progress::Finished(verdict) = progress else { return progress };
        if verdict.artifacts.is_empty() {
            return Progress::Finished(verdict);
        }
        let left = self.of_attempt(attempt).unwrap_or_default();
        let known = |artifact: &Artifact| left.iter().any(|it| it.as_str() == artifact.sha256);
        let Some(missing) = verdict.artifacts.iter().find(|it| !known(it)) else {
            return Progress::Finished(verdict);
        };
        let reason = format!(
            "the attempt names artifacts that never arrived ({}): see its agent's log",
            missing.sha256.chars().take(64).collect::<String>()
        );
        let outcome = match verdict.outcome {
            Outcome::Succeeded => Outcome::InfraError { reason },
            other => other,
        };
        Progress::Finished(Box::new(Verdict { outcome, artifacts: Vec::new(), ..*verdict }))
    }

    fn commit_path(&self, repository: &RepositoryName, commit: &str) -> PathBuf {
        self.root.join("commits").join(repository.as_str()).join(commit)
    }

    fn attempt_path(&self, attempt: AttemptId) -> PathBuf {
        self.root.join("attempts").join(attempt.to_string())
    }
}

/// The lines of an attempt's file.
fn left(text: &str) -> impl Iterator<Item = (Hash, Option<u64>)> {
    text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.parse().ok()?, words.next().and_then(|until| until.parse().ok())))
    })
}

#[cfg(test)]
mod tests {
    use pipelines::id::RunId;
    use pipelines::outcome::LogEnd;

    use super::*;

    fn contents() -> (tempfile::TempDir, Contents) {
        let dir = tempfile::tempdir().unwrap();
        let contents = Contents::open(dir.path()).unwrap();
        (dir, contents)
    }

    fn kept(contents: &Contents, bytes: &[u8]) -> Hash {
        let mut incoming = contents.begin(bytes.len() as u64).unwrap();
        incoming.write_all(bytes).unwrap();
        contents.store().keep(incoming, None).unwrap()
    }

    fn finished(sha256: &str) -> Progress {
        let artifact = Artifact { sha256: sha256.to_owned(), size: 3, files: 1 };
        Progress::Finished(Box::new(Verdict {
            outcome: Outcome::Succeeded,
            started_us: Some(1),
            finished_us: 2,
            log: LogEnd { length: 0, sha256: String::new() },
            artifacts: vec![artifact],
            outputs: Default::default(),
            recap: None,
        }))
    }

    #[test]
    fn a_commits_bundle_is_remembered_as_long_as_it_is_here() {
        let (_dir, contents) = contents();
        let repository = "infra".parse().unwrap();
        let commit = "a".repeat(40);
        assert_eq!(contents.of_commit(&repository, &commit), None);
        let hash = kept(&contents, b"bundle");
        contents.remember(&repository, &commit, &hash);
        assert_eq!(contents.of_commit(&repository, &commit), Some(hash.clone()));
        fs::remove_file(contents.store().path(&hash)).unwrap();
        assert_eq!(contents.of_commit(&repository, &commit), None);
    }

    #[test]
    fn an_attempt_can_only_name_what_it_left_itself() {
        let (_dir, contents) = contents();
        let (own, other) = (RunId(1).job(0).attempt(1), RunId(1).job(1).attempt(1));
        let hash = leave(&contents, own, b"abc", None);
        let honest = finished(hash.as_str());
        assert_eq!(contents.vouched(own, honest.clone()), honest);
        let Progress::Finished(verdict) = contents.vouched(other, honest) else { panic!() };
        assert!(matches!(verdict.outcome, Outcome::InfraError { .. }));
        assert_eq!(verdict.artifacts, []);
    }

    fn leave(contents: &Contents, attempt: AttemptId, bytes: &[u8], until_s: Option<u64>) -> Hash {
        let mut incoming = contents.begin(bytes.len() as u64).unwrap();
        incoming.write_all(bytes).unwrap();
        let hash = content::hash(bytes).unwrap().0;
        contents.keep_for(attempt, incoming, &hash, until_s).unwrap();
        hash
    }

    #[test]
    fn what_has_expired_goes_unless_somebody_else_keeps_it() {
        let (_dir, contents) = contents();
        let attempt = |number| RunId(1).job(0).attempt(number);
        let short = leave(&contents, attempt(1), b"short", Some(10));
        let long = leave(&contents, attempt(1), b"long", Some(20));
        let shared = leave(&contents, attempt(1), b"shared", Some(10));
        leave(&contents, attempt(2), b"shared", Some(20));
        let source = leave(&contents, attempt(2), b"source", Some(10));
        contents.remember(&"infra".parse().unwrap(), &"a".repeat(40), &source);
        let always = leave(&contents, attempt(3), b"always", None);
        let there = |hash: &Hash| contents.store().has(hash);

        assert_eq!(contents.sweep(9).unwrap(), 0);
        assert_eq!(contents.sweep(10).unwrap(), 1);
        assert!(!there(&short) && there(&long) && there(&shared));
        assert_eq!(contents.sweep(30).unwrap(), 2);
        assert!(!there(&long) && !there(&shared) && there(&source) && there(&always));
        assert_eq!(contents.sweep(30).unwrap(), 0);
        // A verdict that comes late still names what the attempt has left.
        let late = finished(short.as_str());
        assert_eq!(contents.vouched(attempt(1), late.clone()), late);
        // What is left anew is kept anew.
        assert_eq!(leave(&contents, attempt(4), b"short", Some(60)), short);
        assert_eq!(contents.sweep(30).unwrap(), 0);
        assert!(there(&short));
    }
}
