//! Glob patterns, with one meaning for branches and files, on coordinator and agents.
//!
//! A pattern and what it is matched with are split at `/`. Within a segment `*` stands for any
//! characters, also none; a segment `**` stands for any number of segments, at the end for at least
//! one. Everything else stands for itself.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// A pattern that can be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// More than [`limits::GLOB_BYTES`].
    #[error("it is longer than {} bytes", limits::GLOB_BYTES)]
    TooLong,
    /// A character that other tools give a meaning, or that no path holds.
    #[error("it holds {0:?}, which has no meaning in patterns")]
    Character(char),
    /// `**` beside other characters.
    #[error("`**` must stand alone between slashes")]
    DoubleStar,
    /// Two slashes in a row.
    #[error("it has nothing between two slashes")]
    EmptySegment,
    /// It begins with a slash.
    #[error("it begins with a slash")]
    Absolute,
    /// It holds `.` or `..` as a segment.
    #[error("it holds `.` or `..` as a part")]
    DotSegment,
}

impl Glob {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all of `text`, such as a branch's name, is matched.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let text: Vec<&str> = text.split('/').collect();
        segments_match(&pattern, &text)
    }

    /// Whether a file, given by its path with `/` between the parts, is matched, or a directory
    /// that it lies in: `roles` and `roles/` stand for all files below `roles`.
    pub fn matches_file(&self, path: &str) -> bool {
        let names_directory = self.0.ends_with('/');
        let pattern: Vec<&str> = self.0.trim_end_matches('/').split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        let longest = if names_directory { path.len() - 1 } else { path.len() };
        (1..=longest).any(|len| segments_match(&pattern, &path[..len]))
    }
}

impl FromStr for Glob {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() > limits::GLOB_BYTES {
            return Err(Error::TooLong);
        }
        let meaningless = |c: char| c.is_control() || "?[]{}!\\".contains(c);
        if let Some(character) = text.chars().find(|&c| meaningless(c)) {
            return Err(Error::Character(character));
        }
        if text.starts_with('/') {
            return Err(Error::Absolute);
        }
        for segment in text.strip_suffix('/').unwrap_or(text).split('/') {
            match segment {
                "" => return Err(Error::EmptySegment),
                "." | ".." => return Err(Error::DotSegment),
                "**" => {}
                _ if segment.contains("**") => return Err(Error::DoubleStar),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Row by row over the pattern: `reached[n]` says that the pattern so far can match `text[..n]`.
/// The cost is the product of the lengths, whatever the pattern.
fn segments_match(pattern: &[&str], text: &[&str]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for (index, segment) in pattern.iter().enumerate() {
        let mut next = vec![false; text.len() + 1];
        if *segment == "**" {
            let at_least = usize::from(index + 1 == pattern.len());
            let Some(first) = reached.iter().position(|&here| here) else { return false };
            next.iter_mut().skip(first + at_least).for_each(|here| *here = true);
        } else {
            for n in 0..text.len() {
                next[n + 1] = reached[n] && segment_matches(segment, text[n]);
            }
        }
        reached = next;
    }
    reached[text.len()]
}

/// The pieces between the stars must follow each other; taking the first place of each suffices.
fn segment_matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        pattern.parse().unwrap()
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        for (pattern, text, expected) in [
            ("main", "main", true),
            ("main", "mainline", false),
            ("release/*", "release/1.0", true),
            ("release/*", "release/1/0", false),
            ("release/*", "release", false),
            ("*", "main", true),
            ("*", "feature/x", false),
            ("v*.*", "v1.2", true),
            ("v*.*", "v12", false),
            ("a*a", "a", false),
            ("*-*-*", "a-b-c", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn two_stars_cross_segments() {
        for (pattern, text, expected) in [
            ("**", "main", true),
            ("**", "a/b/c", true),
            ("feature/**", "feature/a/b", true),
            ("feature/**", "feature", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/c", false),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_directory_stands_for_what_is_in_it() {
        for (pattern, path, expected) in [
            ("roles/", "roles/a/b", true),
            ("roles", "roles/a/b", true),
            ("roles", "roles", true),
            ("roles/", "roles", false),
            ("out/*.txt", "out/a.txt", true),
            ("out/*.txt", "out/a.log", false),
            ("**/*.log", "a/b/c.log", true),
            ("roles", "other/roles", false),
        ] {
            assert_eq!(glob(pattern).matches_file(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_could_mean_something_else_elsewhere_is_refused() {
        for (pattern, error) in [
            ("", Error::Empty),
            ("/etc/passwd", Error::Absolute),
            ("../x", Error::DotSegment),
            ("a//b", Error::EmptySegment),
            ("a[0]", Error::Character('[')),
            ("!main", Error::Character('!')),
            ("v**", Error::DoubleStar),
        ] {
            assert_eq!(pattern.parse::<Glob>(), Err(error), "{pattern}");
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = glob(&"*a".repeat(limits::GLOB_BYTES / 2));
        assert!(!pattern.matches(&"a".repeat(2_000).replace("aa", "ab")[..1_000]));
        let deep = glob(&format!("{}x", "**/".repeat(limits::GLOB_BYTES / 3)));
        assert!(!deep.matches(&"a/".repeat(1_000)));
    }
}
