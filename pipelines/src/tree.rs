//! The files of a commit, by the names that git gives what is in them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::diagnostic::quoted;
use crate::glob::Glob;

/// What each file holds, as the name of git's object, by its path from the repository's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree(Result<BTreeMap<String, String>, String>);

impl Tree {
    /// Reads what `git ls-tree -r -z` says of a commit: `<mode> <kind> <object>\t<path>` and a NUL for each
    /// file. What is none is left out, and a path that is not UTF-8 is read with replacements.
    pub(crate) fn parse(listing: &[u8]) -> Tree {
        let lines = listing.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let entry = |line: std::borrow::Cow<'_, str>| {
            let (about, path) = line.split_once('\t')?;
            Some((path.to_owned(), about.split_ascii_whitespace().nth(2)?.to_owned()))
        };
        Tree(Ok(lines.filter_map(entry).collect()))
    }

    /// Nobody can say what there is, for this reason.
    pub(crate) fn unavailable(reason: &str) -> Tree {
        Tree(Err(reason.to_owned()))
    }

    /// SHA-256 in hex over paths and contents of the files that a pattern means; or why there is none.
    pub(crate) fn hash(&self, pattern: &Glob) -> Result<String, String> {
        let cannot = |reason| format!("the files of the commit cannot be listed: {reason}");
        let files = self.0.as_ref().map_err(cannot)?;
        let mut files = files.iter().filter(|(path, _)| pattern.matches_file(path)).peekable();
        if files.peek().is_none() {
            return Err(format!("the commit has no file {}", quoted(pattern.as_str())));
        }
        let mut hash = Sha256::new();
        for (path, object) in files {
            hash.update(format!("{object} {path}\0"));
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_contents_and_paths_apart() {
        let tree = |listing: &str| Tree::parse(listing.as_bytes());
        let of = |tree: &Tree, pattern: &str| tree.hash(&pattern.parse().unwrap());
        let one = tree("100644 blob aa\trelease.yaml\x00100755 blob bb\troles/a\x00");
        let other = tree("100644 blob aa\trelease.yaml\x00100755 blob cc\troles/a\x00");
        let moved = tree("100644 blob aa\trelease.yaml\x00100755 blob bb\troles/b\x00");
        assert_eq!(of(&one, "release.yaml"), of(&other, "release.yaml"));
        assert_ne!(of(&one, "roles/"), of(&other, "roles/"));
        assert_ne!(of(&one, "roles/**"), of(&moved, "roles/**"));
        let none = |text: &str| Err(text.to_owned());
        assert_eq!(of(&one, "nowhere"), none("the commit has no file `nowhere`"));
        assert_eq!(of(&tree("what\x00\t\x00"), "**"), none("the commit has no file `**`"));
        let words = "the files of the commit cannot be listed: no git";
        assert_eq!(of(&Tree::unavailable("no git"), "**"), none(words));
    }
}
