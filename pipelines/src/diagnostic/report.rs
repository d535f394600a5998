//! Where the steps that read a file put what they find wrong with it.

use super::excerpt::printable;
use super::{Code, Diagnostic, Diagnostics, Excerpt, Severity};
use crate::source::{Source, Span};

/// Collects diagnostics about one file.
pub(crate) struct Report<'a> {
    source: &'a Source,
    found: &'a mut Diagnostics,
}

/// What is wrong and what to do, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// A sentence.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

impl<'a> Report<'a> {
    pub(crate) fn new(source: &'a Source, found: &'a mut Diagnostics) -> Self {
        Self { source, found }
    }

    pub(crate) fn source(&self) -> &'a Source {
        self.source
    }

    /// An error at `span`, and what to do about it. [`Span::START`] stands for the whole file,
    /// of which no line is shown.
    pub(crate) fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, code, span, message, help);
    }

    /// As [`Report::error`], about what can be used all the same.
    pub(crate) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, span, message, help);
    }

    /// An error that is told where it is found out.
    pub(crate) fn complain(&mut self, code: Code, span: Span, complaint: Complaint) {
        // A library's words may repeat the user's as they are.
        let message: String = complaint.message.chars().map(printable).collect();
        self.error(code, span, message, complaint.help);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.found.is_full() {
            self.found.omit();
            return;
        }
        let diagnostic = Diagnostic {
            code,
            severity,
            file: self.source.name().to_owned(),
            span,
            message: message.into(),
            help: Some(help.into()),
            excerpt: (span != Span::START).then(|| Excerpt::new(self.source, span)),
        };
        self.found.push(diagnostic);
    }

    /// Whether anything more would only be counted, so that advice need not be worked out.
    pub(crate) fn is_full(&self) -> bool {
        self.found.is_full()
    }
}
