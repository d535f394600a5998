//! Where the steps that read a file put what they find wrong with it.

use super::excerpt::printable;
use super::{Code, Diagnostic, Diagnostics, Excerpt, Severity};
use crate::source::{Source, Span};

/// Collects diagnostics about one file, or about a pipeline with the files that it includes.
pub(crate) struct Report<'a> {
    source: &'a Source,
    /// What spans of other files speak of.
    sources: &'a [Source],
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
        Self { source, sources: &[], found }
    }

    /// About a pipeline of several files, each at its index.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn among(sources: &'a [Source], found: &'a mut Diagnostics) -> Self {
        Self { source: &sources[0], sources, found }
    }

    /// The same about another pipeline, of these files.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn of<'b>(&'b mut self, sources: &'b [Source]) -> Report<'b> {
        Report::among(sources, self.found)
    }

    /// The file, or the pipeline's own.
    pub(crate) fn source(&self) -> &'a Source {
        self.source
    }

    /// Where in the text at `span` a word stands for the `nth` time, from 0; all of it if the text is written
    /// otherwise than it reads.
    pub(crate) fn place_of(&self, span: Span, word: &str, nth: usize) -> Span {
        let source = self.sources.get(usize::from(span.file.0)).unwrap_or(self.source);
        let from = span.start.byte as usize;
        let text = source.text().get(from..span.end.byte as usize).unwrap_or_default();
        let Some((index, _)) = text.match_indices(word).nth(nth) else { return span };
        let start = source.position(from + index);
        let end = source.position(from + index + word.len());
        Span { start, end, ..span }
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
        let source = self.sources.get(usize::from(span.file.0)).unwrap_or(self.source);
        let diagnostic = Diagnostic {
            code,
            severity,
            file: source.name().to_owned(),
            span,
            message: message.into(),
            help: Some(help.into()),
            excerpt: (span != span.start_of_file()).then(|| Excerpt::new(source, span)),
        };
        self.found.push(diagnostic);
    }

    /// Whether anything more would only be counted, so that advice need not be worked out.
    pub(crate) fn is_full(&self) -> bool {
        self.found.is_full()
    }
}
