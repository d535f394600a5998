//! The files of a repository: which there are, and which of them can be run.

use std::collections::{BTreeMap, BTreeSet};

/// Paths from the repository's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Whether each is executable.
    files: BTreeMap<String, bool>,
    folders: BTreeSet<String>,
}

impl Files {
    /// These, by their paths with `/` between folders; each with whether it is executable. What is listed and
    /// is no plain file, such as a link to a folder, stands for all that may lie in it.
    pub fn new(files: impl IntoIterator<Item = (String, bool)>) -> Files {
        let files: BTreeMap<_, _> = files.into_iter().collect();
        let folders = files.keys().flat_map(|path| ancestors(path)).map(str::to_owned).collect();
        Files { files, folders }
    }

    /// Their paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> + Clone {
        self.files.keys().map(String::as_str)
    }

    /// Whether there is such a file or folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
            || self.has_folder(path)
            || ancestors(path).any(|folder| self.files.contains_key(folder))
    }

    /// Whether there is such a folder; the root's path is empty.
    pub(crate) fn has_folder(&self, path: &str) -> bool {
        path.is_empty() || self.folders.contains(path)
    }

    /// Whether it is a file that is there, and cannot be run.
    pub(crate) fn is_not_executable(&self, path: &str) -> bool {
        self.files.get(path) == Some(&false)
    }
}

/// The folders that a path lies in, the innermost first; not the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(folder, _)| folder.rsplit_once('/'))
        .map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_link_may_be_there() {
        let files = [("roles/a/main.yaml", false), ("run.sh", true), ("linked", false)];
        let files = Files::new(files.map(|(path, is_executable)| (path.to_owned(), is_executable)));
        for there in ["roles/a/main.yaml", "roles", "roles/a", "run.sh", "linked/any/file"] {
            assert!(files.has(there), "{there}");
        }
        for missing in ["role", "roles/b", "run.sh.bak", "main.yaml"] {
            assert!(!files.has(missing), "{missing}");
        }
        assert!(files.is_not_executable("linked") && !files.is_not_executable("run.sh"));
    }
}
