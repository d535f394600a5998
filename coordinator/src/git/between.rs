//! What lies between two commits.

use super::{Error, Mirror};

/// Most commits that are listed.
const COMMITS: usize = 500;

/// On which side a commit is, its hash, and its subject, cut by git itself.
const FORMAT: &str = "--format=%m%H %<(200,trunc)%s";

/// Commits that one of two has behind it and the other has not, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Between {
    /// Those of the second.
    pub added: Vec<Commit>,
    /// Those of the first.
    pub removed: Vec<Commit>,
    /// Whether there are more than these.
    pub more: bool,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// The first line of its message, without control characters.
    pub subject: String,
}

impl Mirror {
    /// What lies between two commits, which are full hashes.
    ///
    /// # Errors
    /// [`Error::Failed`] if one of them is not here.
    pub async fn between(&self, older: &str, newer: &str) -> Result<Between, Error> {
        let range = format!("{older}...{newer}");
        let count = format!("--max-count={}", COMMITS + 1);
        let list = ["log", "--left-right", "--no-color", &count, FORMAT, &range, "--"];
        let output = self.look(&list).await?;
        let text = String::from_utf8_lossy(&output);
        let mut between = Between { more: text.lines().count() > COMMITS, ..Between::default() };
        for line in text.lines().take(COMMITS) {
            let (about, subject) = line.split_once(' ').unwrap_or((line, ""));
            let subject = subject.trim_end().replace(char::is_control, " ");
            let commit = |hash: &str| Commit { hash: hash.to_owned(), subject };
            if let Some(hash) = about.strip_prefix('>') {
                between.added.push(commit(hash));
            } else if let Some(hash) = about.strip_prefix('<') {
                between.removed.push(commit(hash));
            }
        }
        Ok(between)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{git, repository};
    use super::*;

    #[tokio::test]
    async fn commits_are_told_by_the_side_that_they_are_on() {
        let (dir, mirror) = repository().await;
        let work = dir.path().join("work");
        let long = "x".repeat(300);
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", "second\u{1b}[31m"]).await;
        git(&work, &["switch", "--quiet", "-c", "other", "HEAD~"]).await;
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", &long]).await;
        mirror.fetch().await.unwrap();
        let main = mirror.commit("refs/heads/main").await.unwrap();
        let other = mirror.commit("refs/heads/other").await.unwrap();
        let between = mirror.between(&main, &other).await.unwrap();
        let removed = Commit { hash: main.clone(), subject: "second [31m".to_owned() };
        assert_eq!((between.removed, between.more), (vec![removed], false));
        assert_eq!((between.added.len(), &between.added[0].hash), (1, &other));
        assert!(between.added[0].subject.starts_with("xxx"));
        assert_eq!(between.added[0].subject.len(), 200);
        assert_eq!(mirror.between(&main, &main).await.unwrap(), Between::default());
        let unknown = mirror.between(&"0".repeat(40), &main).await;
        assert!(matches!(unknown, Err(Error::Failed { .. })), "{unknown:?}");
    }
}
