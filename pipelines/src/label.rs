//! Labels, as agents, partitions and devices have them, and jobs ask for them.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Report, quoted};
use crate::name::LabelName;
use crate::yaml::{Entry, Node};

/// Longest value, in bytes.
pub const MAX_LEN: usize = 63;

/// Most labels of one thing.
pub const MAX_COUNT: usize = 32;

/// Why a text is no label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing, or more than [`MAX_LEN`] bytes.
    #[error("it must have 1 to {MAX_LEN} characters")]
    Length,
    /// Something else than letters, digits and `._-`.
    #[error("it holds something else than letters, digits and `._-`")]
    Character,
}

/// The text, if it can be a label's value.
pub fn check(text: &str) -> Result<String, Error> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(Error::Length);
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(Error::Character);
    }
    Ok(text.to_owned())
}

/// Reads a mapping of labels, which stands at the key `what`.
pub(crate) fn read(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
    help: &str,
) -> BTreeMap<LabelName, String> {
    let entries = report.entries(node, what, help).unwrap_or_default();
    if let Some(first) = entries.get(MAX_COUNT) {
        let message = format!("{what} holds {} labels; at most {MAX_COUNT} fit", entries.len());
        report.error(Code::TooManyLabels, first.key.span, message, "remove some of them");
    }
    let label = |entry: &Entry| {
        let what = format!("the label {}", quoted(&entry.key.text));
        let name = report.name_of(&entry.key.text, entry.key.span, "the label's name");
        let value = report.scalar(&entry.value, &what, Code::InvalidLabel, help, check);
        Some((name?.value, value?.value))
    };
    entries.iter().filter_map(label).collect()
}
