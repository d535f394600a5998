//! The source bundle of a commit, made of the objects in a mirror.
//!
//! The files are exactly as they were committed: `export-subst`, line endings and other attributes
//! of `git archive` change nothing.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::{ChildStdin, ChildStdout};

use pipelines::name::RepositoryName;
use proto::bundle::{self, MAX_ENTRIES, MAX_SIZE, Writer};
use proto::content::{self, Hash, Incoming};

use crate::content::Contents;
use crate::git::{self, Mirror, TreeEntry};

/// Pointers to LFS objects are smaller than this, in bytes, and begin so.
const LFS: (u64, &[u8]) = (1024, b"version https://git-lfs.github.com/spec/");

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The commit holds what a bundle cannot carry; for those who push there.
    #[error("the commit's files cannot be sent to agents: {0}")]
    Unfit(String),
    /// git failed.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The bundle cannot be kept.
    #[error("the source bundle cannot be kept: {0}")]
    Content(#[from] content::Error),
    /// git's answer, or the bundle, cannot be read or written.
    #[error("the source bundle cannot be made: {0}")]
    Io(#[from] io::Error),
}

/// The source bundle of a commit; made once.
pub async fn of_commit(
    contents: &Contents,
    repository: &RepositoryName,
    mirror: &Mirror,
    commit: &str,
) -> Result<Hash, Error> {
    if let Some(hash) = contents.of_commit(repository, commit) {
        return Ok(hash);
    }
    let entries = mirror.tree(commit).await?;
    let size = check(&entries)?;
    let (contents, mirror) = (contents.clone(), mirror.clone());
    let (repository, commit) = (repository.clone(), commit.to_owned());
    let making = tokio::task::spawn_blocking(move || {
        let incoming = make(&mirror, entries, contents.begin(size)?)?;
        let hash = contents.store().keep(incoming, None)?;
        contents.remember(&repository, &commit, &hash);
        Ok(hash)
    });
    making.await.map_err(io::Error::other)?
}

/// What can be refused without a look into files; about how many bytes the bundle will have.
fn check(entries: &[TreeEntry]) -> Result<u64, Error> {
    if let Some(module) = entries.iter().find(|entry| entry.mode == "160000") {
        return Err(Error::Unfit(format!(
            "{} is a submodule: commit its files instead",
            module.path
        )));
    }
    if let Some(entry) = entries.iter().find(|entry| entry.path.contains('\u{FFFD}')) {
        return Err(Error::Unfit(format!("{}: its name is not UTF-8: rename it", entry.path)));
    }
    let size = entries.iter().map(|entry| entry.size.saturating_add(1024)).sum();
    if entries.len() > MAX_ENTRIES {
        return Err(Error::Unfit(bundle::Error::TooMany.to_string()));
    }
    if size > MAX_SIZE {
        return Err(Error::Unfit(bundle::Error::TooLarge.to_string()));
    }
    Ok(size)
}

fn make(
    mirror: &Mirror,
    mut entries: Vec<TreeEntry>,
    incoming: Incoming,
) -> Result<Incoming, Error> {
    entries.extend(folders(&entries));
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut git = mirror.objects()?;
    let (Some(ask), Some(answer)) = (git.stdin.take(), git.stdout.take()) else {
        return Err(io::Error::other("git has no pipes").into());
    };
    let written = write(&entries, Objects { ask, answer: BufReader::new(answer) }, incoming);
    // Its pipes are closed, whatever came of it.
    git.wait()?;
    written
}

fn write(
    entries: &[TreeEntry],
    mut objects: Objects,
    incoming: Incoming,
) -> Result<Incoming, Error> {
    let mut writer = Writer::new(BufWriter::with_capacity(64 << 10, incoming));
    for entry in entries {
        objects.copy(entry, &mut writer)?;
    }
    let (_, out) = writer.finish().map_err(unfit)?;
    Ok(out.into_inner().map_err(io::IntoInnerError::into_error)?)
}

/// The folders that files lie in; git's own order is another than a bundle's.
fn folders(entries: &[TreeEntry]) -> Vec<TreeEntry> {
    let ends = |path: &str| path.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
    let paths: BTreeSet<&str> = entries
        .iter()
        .flat_map(|entry| ends(&entry.path).into_iter().map(|end| &entry.path[..end]))
        .collect();
    let folder = |path: &str| TreeEntry {
        mode: "040000".to_owned(),
        object: String::new(),
        size: 0,
        path: path.to_owned(),
    };
    paths.into_iter().map(folder).collect()
}

/// `git cat-file --batch`, which answers each object's name with `<name> <kind> <size>\n`, the
/// content, and `\n`.
struct Objects {
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Objects {
    fn copy(&mut self, entry: &TreeEntry, writer: &mut Writer<impl Write>) -> Result<(), Error> {
        let path = entry.path.as_str();
        match entry.mode.as_str() {
            "040000" => return writer.directory(path).map_err(unfit),
            "120000" => {
                let target = self.small(entry)?;
                let target = String::from_utf8(target)
                    .map_err(|_| Error::Unfit(format!("{path}: its target is not UTF-8")))?;
                return writer.symlink(path, &target).map_err(unfit);
            }
            _ => {}
        }
        let executable = entry.mode == "100755";
        if entry.size > LFS.0 {
            self.begin(entry)?;
            writer.file(path, executable, entry.size, &mut self.answer).map_err(unfit)?;
            return self.end();
        }
        let content = self.small(entry)?;
        if content.starts_with(LFS.1) {
            return Err(Error::Unfit(format!(
                "{path} is kept in Git LFS, which agents cannot reach: commit it as it is"
            )));
        }
        writer.file(path, executable, entry.size, &mut &content[..]).map_err(unfit)
    }

    fn small(&mut self, entry: &TreeEntry) -> Result<Vec<u8>, Error> {
        self.begin(entry)?;
        if entry.size > LFS.0.max(bundle::MAX_PATH as u64) {
            return Err(Error::Unfit(format!("{}: its target is too long", entry.path)));
        }
        let mut content = vec![0; entry.size as usize];
        self.answer.read_exact(&mut content)?;
        self.end()?;
        Ok(content)
    }

    fn begin(&mut self, entry: &TreeEntry) -> Result<(), Error> {
        writeln!(self.ask, "{}", entry.object)?;
        self.ask.flush()?;
        let mut line = String::new();
        (&mut self.answer).take(256).read_line(&mut line)?;
        let expected = format!("{} blob {}\n", entry.object, entry.size);
        if line != expected {
            let words = format!("git cat-file answered {line:?} for {}", entry.path);
            return Err(io::Error::other(words).into());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        Ok(self.answer.read_exact(&mut [0])?)
    }
}

/// A refused file is for those who push; a disk that fails is not.
fn unfit(error: bundle::Error) -> Error {
    match error {
        bundle::Error::File { source, .. } | bundle::Error::Bundle(source) => source.into(),
        refused => Error::Unfit(refused.to_string()),
    }
}
