//! Pieces of a file as a terminal or a page may show them: short, and with nothing in them that
//! moves a cursor or reorders the text.

use serde::{Deserialize, Serialize};

use crate::source::{Source, Span};

/// Most characters of a line that are shown.
const WIDTH: usize = 120;

/// How many characters stand before the mark when a long line is cut.
const LEAD: usize = 30;

/// Most characters of a word that a message quotes.
const QUOTED: usize = 80;

/// The line that a diagnostic means, or the part of a long one, with the part to underline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// What is shown.
    pub text: String,
    /// How many characters of `text` stand before the mark.
    pub offset: u32,
    /// How many characters are marked, at least 1.
    pub width: u32,
}

impl Excerpt {
    /// The line that `span` begins on, with `span` marked up to the line's end. What it costs does
    /// not depend on how long the line is.
    pub fn new(source: &Source, span: Span) -> Self {
        let line = source.line(span.start.line);
        let at = span.start.byte.saturating_sub(source.line_start(span.start.line)) as usize;
        let (before, behind) = line.split_at(line.floor_char_boundary(at));
        let is_long = line.len() > WIDTH;
        let lead = if is_long { LEAD } else { WIDTH };
        let from = before.char_indices().rev().nth(lead - 1).map_or(0, |(index, _)| index);

        let mut text = String::new();
        if from > 0 {
            text.push('…');
        }
        text.extend(before[from..].chars().map(printable));
        let offset = text.chars().count();
        let mut rest = behind.chars();
        text.extend(rest.by_ref().take(WIDTH - if is_long { LEAD } else { 0 }).map(printable));
        if rest.next().is_some() {
            text.push('…');
        }

        let shown = text.chars().count() - offset;
        let marked = if span.end.line == span.start.line {
            span.end.column.saturating_sub(span.start.column) as usize
        } else {
            shown
        };
        Self { text, offset: small(offset), width: small(marked.min(shown).max(1)) }
    }
}

/// A word of the user's between backticks, shortened, and safe to show.
pub fn quoted(word: &str) -> String {
    let mut chars = word.chars();
    let mut shown: String = chars.by_ref().take(QUOTED).map(printable).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Replaces what would move a cursor, change a colour, or turn the direction of reading.
pub(super) fn printable(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Position;

    fn excerpt(text: &str, from: u32, to: u32) -> Excerpt {
        let bytes = |column: u32| text.chars().take(column as usize - 1).map(char::len_utf8).sum();
        let at = |column| Position { line: 1, column, byte: small(bytes(column)) };
        Excerpt::new(&Source::new("x", text), Span::between(at(from), at(to)))
    }

    #[test]
    fn a_short_line_is_shown_whole() {
        let expected = Excerpt { text: "run: é x".into(), offset: 5, width: 3 };
        assert_eq!(excerpt("run:\té x", 6, 9), expected);
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let line = format!("{}needle{}", "x".repeat(500), "y".repeat(500));
        let cut = excerpt(&line, 501, 507);
        let marked: String =
            cut.text.chars().skip(cut.offset as usize).take(cut.width as usize).collect();
        assert_eq!(marked, "needle");
        assert!(cut.text.starts_with('…') && cut.text.ends_with('…'));
        assert_eq!(cut.text.chars().count(), WIDTH + 2);
        assert_eq!(cut.offset as usize, LEAD + 1);
    }

    #[test]
    fn a_place_behind_the_line_is_still_marked() {
        assert_eq!(excerpt("a:", 3, 4), Excerpt { text: "a:".into(), offset: 2, width: 1 });
    }

    #[test]
    fn nothing_reaches_a_terminal_that_could_steer_it() {
        assert_eq!(quoted("a\u{1b}[31m\nb\u{202e}"), "`a\u{fffd}[31m b\u{fffd}`");
        assert_eq!(quoted(&"x".repeat(200)).chars().count(), QUOTED + 3);
    }
}
