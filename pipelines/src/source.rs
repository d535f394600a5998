//! Texts that people wrote, and places in them.

use serde::{Deserialize, Serialize};

/// A place between two characters of a text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Offset in bytes, from 0.
    pub byte: u32,
}

/// Which of a pipeline's files: 0 is its own, others are those that it includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileIndex(pub u16);

/// A piece of a text. Serialised, the start stands flat and `end` is an object.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Span {
    /// Of which file it is a piece.
    #[serde(skip)]
    pub file: FileIndex,
    /// Where it begins.
    #[serde(flatten)]
    pub start: Position,
    /// Behind its last character.
    pub end: Position,
}

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A file as its owner delivered it: nothing about its bytes has been checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// How diagnostics call it, such as `.garrison/deploy.yaml`.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A text with a name, and with its lines known.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<u32>,
}

impl Position {
    /// Where every text begins.
    pub const START: Position = Position { line: 1, column: 1, byte: 0 };
}

impl Span {
    /// The beginning of a text, for what concerns all of it.
    pub const START: Span = Span::between(Position::START, Position::START);

    /// From one place of a pipeline's own file to another.
    pub const fn between(start: Position, end: Position) -> Span {
        Span { file: FileIndex(0), start, end }
    }

    /// The beginning of its file.
    pub fn start_of_file(self) -> Span {
        Span { file: self.file, ..Span::START }
    }

    /// From where this one begins to where `end` ends.
    pub fn to(self, end: Span) -> Span {
        Span { end: end.end.max(self.end), ..self }
    }
}

impl<T> Spanned<T> {
    /// A value and where it stands.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl Source {
    /// A text of less than 4 GiB.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = line_starts(&text);
        Self { name: name.into(), text, line_starts }
    }

    /// How diagnostics call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Offset in bytes of a line, counted from 1, or of the end behind the last one.
    pub(crate) fn line_start(&self, line: u32) -> u32 {
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.line_starts.get(line.saturating_sub(1) as usize).copied().unwrap_or(end)
    }

    /// The place of an offset in bytes, which must be the start of a character.
    pub(crate) fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start as usize <= byte);
        let start = self.line_starts[line - 1] as usize;
        let column = self.text[start..byte].chars().count() + 1;
        let [line, column, byte] =
            [line, column, byte].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        Position { line, column, byte }
    }

    /// A line, counted from 1, without its line break; empty behind the last one.
    pub fn line(&self, line: u32) -> &str {
        let index = line.saturating_sub(1) as usize;
        let Some(&start) = self.line_starts.get(index) else { return "" };
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |&next| next as usize);
        self.text[start as usize..end].trim_end_matches(['\n', '\r'])
    }
}

/// Lines end as YAML says: with `\n`, `\r\n` or a lone `\r`.
fn line_starts(text: &str) -> Vec<u32> {
    let bytes = text.as_bytes();
    let mut starts = vec![0];
    for (index, &byte) in bytes.iter().enumerate() {
        let ends_line = byte == b'\n' || (byte == b'\r' && bytes.get(index + 1) != Some(&b'\n'));
        if ends_line {
            starts.push(u32::try_from(index + 1).unwrap_or(u32::MAX));
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_each_of_the_three_ways() {
        let source = Source::new("x", "a\nb\r\nc\rd");
        let lines: Vec<_> = (0..7).map(|line| source.line(line)).collect();
        assert_eq!(lines, ["a", "a", "b", "c", "d", "", ""]);
    }

    #[test]
    fn a_span_is_flat_in_json() {
        let span = Span::START;
        let json = r#"{"line":1,"column":1,"byte":0,"end":{"line":1,"column":1,"byte":0}}"#;
        assert_eq!(serde_json::to_string(&span).unwrap(), json);
        assert_eq!(serde_json::from_str::<Span>(json).unwrap(), span);
    }
}
