//! The parser's complaints in words that say what to do.

use crate::diagnostic::Code;
use crate::source::{Position, Source, Span};

/// What to tell about a syntax error.
pub(super) struct Advice {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// The complaint that a line is no `key: value`; the parser makes it in the line behind.
const NO_KEY: &str = "this line is neither a key with a value nor part of the line above it";

/// The first row whose words are in the parser's complaint gives message and advice.
const KNOWN: &[(&str, &str, &str)] = &[
    ("tab", "a tab stands where YAML allows only spaces", "indent with spaces"),
    (
        "mapping values are not allowed",
        "a `:` makes a mapping where none can stand",
        "put a text that holds `: ` into quotes, and let the keys of one mapping begin in the same \
         column",
    ),
    (
        "unknown escape character",
        "this escape sequence does not exist",
        "write `\\\\` for a backslash, or use single quotes",
    ),
    (
        "quoted scalar",
        "this quoted text is not closed",
        "end it with the quote that it begins with; lines that continue it must be indented",
    ),
    (
        "illegal placement of ':'",
        "a `:` stands where none can stand",
        "look for a `[` or `{` above that is not closed",
    ),
    (
        "unknown anchor",
        "this alias names an anchor that is not defined above it",
        "define it with `&name` first; a text that begins with `*` must stand in quotes",
    ),
    (
        "did not find expected '-'",
        "this does not continue the list above it",
        "begin an item of the list with `- ` in the list's column, or indent this differently",
    ),
    (
        "did not find expected key",
        "this does not continue the mapping above it",
        "let the keys of one mapping begin in the same column",
    ),
    ("simple key expect", NO_KEY, "write `key: value`, with a space behind the `:`"),
    (
        "flow sequence",
        "this list in `[ ]` is not closed, or a `,` is missing",
        "separate its items with `,` and end it with `]`",
    ),
    (
        "flow mapping",
        "this mapping in `{ }` is not closed, or a `,` is missing",
        "separate its entries with `,` and end it with `}`",
    ),
    (
        "expected <document start>",
        "something stands behind the end of the file's content",
        "keep one mapping in the file, with all its keys in the first column",
    ),
    (
        "invalid indentation",
        "this line is indented wrongly",
        "indent it deeper than the key that it belongs to",
    ),
];

impl Advice {
    /// The place that is meant when the parser complains at `span`.
    pub(super) fn place(&self, span: Span, source: &Source) -> Span {
        if self.message != NO_KEY {
            return span;
        }
        let before = (1..span.start.line).rev().find(|line| !source.line(*line).trim().is_empty());
        before.map_or(span, |line| whole_line(source, line))
    }
}

fn whole_line(source: &Source, line: u32) -> Span {
    let text = source.line(line);
    let characters = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    let indent = text.len() - text.trim_start().len();
    let line_start = source.line_start(line);
    let at = |len: usize| Position {
        line,
        column: characters(&text[..len]) + 1,
        byte: line_start + u32::try_from(len).unwrap_or(u32::MAX),
    };
    Span::between(at(indent), at(text.trim_end().len()))
}

/// Translates a complaint of the parser.
pub(super) fn advice(complaint: &str) -> Advice {
    if complaint.contains("recursion limit") {
        return too_deep();
    }
    if let Some(character) = complaint.strip_prefix("unexpected character: ") {
        let message = format!("a text without quotes cannot begin with {}", ticks(character));
        return Advice { code: Code::Syntax, message, help: "put the text into quotes" };
    }
    let row = KNOWN.iter().find(|(words, ..)| complaint.contains(words));
    let (message, help) = match row {
        Some((_, message, help)) => ((*message).to_owned(), *help),
        None => (format!("this is not valid YAML: {complaint}"), "correct it here or just above"),
    };
    Advice { code: Code::Syntax, message, help }
}

/// What to tell when lists and mappings are nested too deeply.
pub(super) fn too_deep() -> Advice {
    let message = format!("nested deeper than {} levels", crate::limits::DEPTH);
    Advice { code: Code::TooDeep, message, help: "no part of the language nests that deeply" }
}

fn ticks(character: &str) -> String {
    format!("`{}`", character.trim_matches(['`', '\'']))
}
