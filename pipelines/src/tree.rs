//! The files of a commit, by the names that git gives what is in them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::glob::Glob;

/// What each file holds, as the name of git's object, by its path from the repository's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads what `git ls-tree -r -z` says of a commit: `<mode> <kind> <object>\t<path>` and a NUL for each
    /// file. What is none is left out, and a path that is not UTF-8 is read with replacements.
    pub(crate) fn parse(listing: &[u8]) -> Tree {
        let lines = listing.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let entry = |line: std::borrow::Cow<'_, str>| {
            let (about, path) = line.split_once('\t')?;
            Some((path.to_owned(), about.split_ascii_whitespace().nth(2)?.to_owned()))
        };
        Tree(lines.filter_map(entry).collect())
    }

    /// SHA-256 in hex over paths and contents of the files that a pattern means; none if there are none.
    pub(crate) fn hash(&self, pattern: &Glob) -> Option<String> {
        let mut files = self.0.iter().filter(|(path, _)| pattern.matches_file(path)).peekable();
        files.peek()?;
        let mut hash = Sha256::new();
        for (path, object) in files {
            hash.update(format!("{object} {path}\0"));
        }
        Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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
        assert_eq!(of(&one, "nowhere"), None);
        assert_eq!(of(&tree("what\x00\t\x00"), "**"), None);
    }
}
