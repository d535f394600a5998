//! Source bundles and artifacts: kept by hash, and remembered by what they are of.
//!
//! | under `content/` | holds |
//! |---|---|
//! | `store/` | the bundles; see [`proto::content`] |
//! | `commits/<repository>/<commit>` | the hash of a commit's source bundle |
//! | `attempts/<attempt>` | the hashes of what an attempt left, one a line |
//!
//! Invariant: an attempt is noted to have left only what is complete and durable here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pipelines::id::AttemptId;
use pipelines::name::RepositoryName;
use pipelines::outcome::{Artifact, Outcome, Progress, Verdict};
use proto::content::{Hash, Incoming, Store};

use crate::store::disk;

/// Bytes of the disk that content leaves free, for the journal and logs.
const LEFT_FREE: u64 = 256 << 20;

/// Most archives that one attempt may leave.
pub const ARCHIVES: usize = 8;

/// The content under a data directory; a clone is the same.
#[derive(Debug, Clone)]
pub struct Contents {
    root: PathBuf,
    store: Store,
}

impl Contents {
    /// The content in `root`, which is made if it is missing.
    pub fn open(root: &Path) -> io::Result<Contents> {
        for folder in ["commits", "attempts"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Contents { root: root.to_owned(), store: Store::open(&root.join("store"))? })
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
            tracing::warn!(%error, path = %path.display(), "cannot remember a source bundle");
        }
    }

    /// What an attempt left.
    pub fn of_attempt(&self, attempt: AttemptId) -> io::Result<Vec<Hash>> {
        match fs::read_to_string(self.attempt_path(attempt)) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Notes that an attempt left content; durable when it returns.
    pub fn left_by(&self, attempt: AttemptId, hash: &Hash) -> io::Result<()> {
        let path = self.attempt_path(attempt);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // In one write, so that a line is there or not.
        file.write_all(format!("{hash}\n").as_bytes())?;
        file.sync_all()?;
        File::open(self.root.join("attempts"))?.sync_all()
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
        let hash = kept(&contents, b"abc");
        let (own, other) = (RunId(1).job(0).attempt(1), RunId(1).job(1).attempt(1));
        contents.left_by(own, &hash).unwrap();
        let honest = finished(hash.as_str());
        assert_eq!(contents.vouched(own, honest.clone()), honest);
        let Progress::Finished(verdict) = contents.vouched(other, honest) else { panic!() };
        assert!(matches!(verdict.outcome, Outcome::InfraError { .. }));
        assert_eq!(verdict.artifacts, []);
    }
}
