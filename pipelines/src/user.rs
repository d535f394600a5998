//! Names of users on devices.

use crate::diagnostic::{Code, Report, quoted};
use crate::yaml::Node;

/// Longest name that Linux has for a user.
const MAX_LEN: usize = 32;

/// Reads a user's name; `what` it is called in messages.
pub(crate) fn read(report: &mut Report<'_>, node: &Node, what: &str) -> Option<String> {
    let help = "write a user such as `admin`";
    let text = report.text(node, what, help)?;
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let allowed = |c: char| first(c) || c == '-' || c == '.';
    if text.starts_with(first) && text.chars().all(allowed) && text.len() <= MAX_LEN {
        return Some(text.to_owned());
    }
    let message = format!(
        "{} cannot be a user: it has 1 to {MAX_LEN} letters, digits and `._-`, and begins with a \
         letter, digit or `_`",
        quoted(text)
    );
    report.error(Code::InvalidUser, node.span, message, help);
    None
}
