//! What is wrong with an Ansible inventory, or cannot be taken over: each with its place.

use std::rc::Rc;

use pipelines::diagnostic::{Code, Diagnostic, Excerpt, Severity};
use pipelines::source::{Source, Span};

/// A place in a file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file.
    pub(super) source: Rc<Source>,
    /// Where in it.
    pub(super) span: Span,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Diagnostic>);

impl Place {
    /// All of a file.
    pub(super) fn file(name: &str) -> Place {
        Place { source: Rc::new(Source::new(name, "")), span: Span::START }
    }
}

impl Findings {
    /// Something without which there is no inventory.
    pub(super) fn error(
        &mut self,
        code: Code,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, code, place, message.into(), help.into());
    }

    /// Something that people should know.
    pub(super) fn warning(
        &mut self,
        code: Code,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, place, message.into(), help.into());
    }

    /// Whether there is anything without which there is no inventory.
    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|found| found.severity == Severity::Error)
    }

    /// All of it for people, errors last, where they are seen.
    #[allow(clippy::print_stderr, reason = "it is for people, beside the inventory on stdout")]
    pub(super) fn print(mut self) {
        self.0.sort_by_key(|found| std::cmp::Reverse(found.severity));
        for found in &self.0 {
            eprintln!("{found}");
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        code: Code,
        place: &Place,
        message: String,
        help: String,
    ) {
        let Place { source, span } = place;
        self.0.push(Diagnostic {
            code,
            severity,
            file: source.name().to_owned(),
            span: *span,
            message,
            help: Some(help),
            excerpt: (*span != Span::START).then(|| Excerpt::new(source, *span)),
        });
    }
}
