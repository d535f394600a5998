//! What is wrong with a file: as data, and as text for people.
//!
//! A [`Diagnostic`] stands for itself: it carries the line that it complains about, so that it can
//! be stored and shown long after the file is gone.

mod code;
mod excerpt;
mod render;
mod report;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use code::Code;
pub use excerpt::Excerpt;
pub use excerpt::quoted;
pub(crate) use report::{Complaint, Report};

use crate::limits;
use crate::source::{Position, Span};

/// One mistake: where it is, what it is, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Which mistake; stable, and listed in the handbook.
    pub code: Code,
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file's name.
    pub file: String,
    /// Where in the file; its beginning when all of it is meant.
    #[serde(flatten)]
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line that is meant; none when it is the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

/// Whether a file with this diagnostic can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but something could not be checked or is probably not meant.
    Warning,
}

/// Diagnostics sorted by place, each once; at most [`limits::DIAGNOSTICS`], the rest counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Diagnostics {
    diagnostics: Vec<Diagnostic>,
    #[serde(default)]
    omitted: u32,
}

impl Diagnostic {
    /// An error about a whole file.
    pub(crate) fn about_file(code: Code, file: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            file: file.to_owned(),
            span: Span::START,
            message: message.into(),
            help: None,
            excerpt: None,
        }
    }

    fn order(&self) -> (&str, Position, Code, &str) {
        (&self.file, self.span.start, self.code, &self.message)
    }
}

impl Diagnostics {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether anything found is an error, not a warning only.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// What was found, sorted by file and place.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.diagnostics.iter()
    }

    /// Forgets those for which `keep` says false.
    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.diagnostics.retain(keep);
    }

    /// How many more there were than are kept.
    pub fn omitted(&self) -> u32 {
        self.omitted
    }

    /// All of them as text for a terminal or a page, in the manner of the Rust compiler.
    pub fn render(&self) -> String {
        render::all(self)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= limits::DIAGNOSTICS
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.omit();
        } else {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Counts one that is not worth being made.
    pub(crate) fn omit(&mut self) {
        self.omitted = self.omitted.saturating_add(1);
    }

    pub(crate) fn warn_only_about(&mut self, code: Code) {
        for found in self.diagnostics.iter_mut().filter(|found| found.code == code) {
            found.severity = Severity::Warning;
        }
    }

    /// Sorted, each once: to be called before they leave this crate.
    pub(crate) fn sorted(mut self) -> Self {
        self.diagnostics.sort_by(|a, b| a.order().cmp(&b.order()));
        self.diagnostics.dedup_by(|a, b| a.order() == b.order());
        self
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], omitted: 0 }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::one(self))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, message: &str) -> Diagnostic {
        let mut found = Diagnostic::about_file(Code::WrongType, "a.yaml", message);
        found.span.start.line = line;
        found
    }

    #[test]
    fn they_are_sorted_and_each_is_kept_once() {
        let mut found = Diagnostics::default();
        for one in [at(3, "c"), at(1, "a"), at(3, "c"), at(1, "b")] {
            found.push(one);
        }
        let messages: Vec<_> =
            found.sorted().iter().map(|one| (one.span.start.line, one.message.clone())).collect();
        assert_eq!(messages, [(1, "a".into()), (1, "b".into()), (3, "c".into())]);
    }

    #[test]
    fn those_beyond_the_limit_are_counted() {
        let mut found = Diagnostics::default();
        (0..=limits::DIAGNOSTICS as u32).for_each(|line| found.push(at(line, "x")));
        assert_eq!((found.iter().count(), found.omitted()), (limits::DIAGNOSTICS, 1));
        assert!(found.render().ends_with("and 1 more\n"), "{}", found.render());
    }

    #[test]
    fn they_survive_json() {
        let found = Diagnostics::from(at(2, "x"));
        let json = serde_json::to_string(&found).unwrap();
        assert!(json.contains(r#""code":"P032","severity":"error","file":"a.yaml","line":2"#));
        assert_eq!(serde_json::from_str::<Diagnostics>(&json).unwrap(), found);
    }
}
