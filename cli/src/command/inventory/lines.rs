//! Lines of a file that say something, with their places.

use pipelines::source::{Position, Span};

/// The lines without space around them; those that are empty or begin with `#` say nothing.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (Span, &str)> {
    let (mut number, mut behind) = (0, 0);
    text.split_inclusive('\n').filter_map(move |line| {
        let begin = behind;
        (number, behind) = (number + 1, behind + line.len());
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let indent = line.len() - line.trim_start().len();
        let at = |len: usize| Position {
            line: number,
            column: small(line[..len].chars().count()) + 1,
            byte: small(begin + len),
        };
        Some((Span::between(at(indent), at(indent + text.len())), text))
    })
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
