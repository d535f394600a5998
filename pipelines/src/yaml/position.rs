//! From the parser's marks, which count characters, to positions, which count bytes too.

use saphyr_parser::{Marker, Span as Mark};

use crate::source::{Position, Source, Span};

/// Translates marks within one text.
pub(super) struct Positions {
    /// Byte offset of each character and of the end; empty when every character is one byte.
    bytes: Vec<u32>,
}

impl Positions {
    pub(super) fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { bytes: Vec::new() };
        }
        let offsets = text.char_indices().map(|(offset, _)| offset).chain([text.len()]);
        Self { bytes: offsets.map(small).collect() }
    }

    pub(super) fn position(&self, marker: &Marker) -> Position {
        let byte = match self.bytes.as_slice() {
            [] => small(marker.index()),
            [.., end] => self.bytes.get(marker.index()).copied().unwrap_or(*end),
        };
        Position { line: small(marker.line()), column: small(marker.col() + 1), byte }
    }

    /// The one character at a mark.
    pub(super) fn character(&self, marker: &Marker) -> Span {
        let start = self.position(marker);
        Span::between(start, Position { column: start.column + 1, byte: start.byte + 1, ..start })
    }

    pub(super) fn span(&self, mark: &Mark) -> Span {
        Span::between(self.position(&mark.start), self.position(&mark.end))
    }
}

/// The end of a quoted scalar; the parser's mark runs on over a comment behind it.
pub(super) fn end_of_quoted(text: &str, span: Span, quote: char) -> Span {
    let written = text.get(span.start.byte as usize..span.end.byte as usize).unwrap_or_default();
    let mut end = span.start;
    let mut opened = false;
    let mut chars = written.chars().peekable();
    while let Some(c) = chars.next() {
        advance(&mut end, c);
        if c == '\\' && quote == '"' && opened {
            chars.next().inspect(|&escaped| advance(&mut end, escaped));
        } else if c == quote && !opened {
            opened = true;
        } else if c == quote && quote == '\'' && chars.peek() == Some(&quote) {
            chars.next().inspect(|&second| advance(&mut end, second));
        } else if c == quote {
            return Span::between(span.start, end);
        }
    }
    span
}

/// Where the first NUL stands; the parser takes it for the end of the text.
pub(super) fn first_nul(source: &Source) -> Option<Span> {
    let offset = source.text().find('\0')?;
    let mut start = Position::START;
    source.text()[..offset].chars().for_each(|c| advance(&mut start, c));
    Some(Span::between(start, start))
}

fn advance(position: &mut Position, c: char) {
    position.byte += small(c.len_utf8());
    if c == '\n' {
        position.line += 1;
        position.column = 1;
    } else {
        position.column += 1;
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
