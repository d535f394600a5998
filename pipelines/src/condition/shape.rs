//! How a condition may look before it is given to the parser, whose stack grows with nesting.

use crate::diagnostic::Complaint;
use crate::limits;

/// Refuses what is nested too deep, and the ways of writing texts in which it could not be seen.
pub(super) fn check(text: &str) -> Result<(), Complaint> {
    let (mut depth, mut choices) = (0_usize, 0);
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_tripled = matches!(c, '\'' | '"') && rest.as_str().starts_with(&format!("{c}{c}"));
        let is_comment = quote.is_none() && c == '/' && rest.as_str().starts_with('/');
        if c == '\\' || is_tripled || is_comment {
            return Err(Complaint {
                message: "a condition holds no `\\`, no text in three quotes and no comment"
                    .to_owned(),
                help: "write texts between `\"` or `'`".to_owned(),
            });
        }
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('(' | '[' | '{', None) => depth += 1,
            (')' | ']' | '}', None) => depth = depth.saturating_sub(1),
            ('?', None) => choices += 1,
            _ => {}
        }
        if depth + choices > limits::CONDITION_DEPTH {
            return Err(Complaint {
                message: format!(
                    "this condition has more than {} brackets or `?` within each other",
                    limits::CONDITION_DEPTH
                ),
                help: "write it flatter, or let the script decide".to_owned(),
            });
        }
    }
    Ok(())
}
