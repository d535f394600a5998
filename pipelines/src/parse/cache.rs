//! `cache`: files that a job finds again on the same agent.

use super::job;
use crate::ast::{Cache, Text};
use crate::diagnostic::{Code, Report};
use crate::keys;
use crate::limits;
use crate::source::{Span, Spanned};
use crate::template::is_template;
use crate::yaml::{Entry, Node};

const HELP: &str =
    "write a key and what to keep under it: `cache: { key: roles-v1, paths: [roles/] }`";

const KEY_HELP: &str = "write a text of 1 to 200 bytes on one line, such as `roles-v1`";

/// Reads a job's `cache`.
pub(super) fn cache(report: &mut Report<'_>, entry: &Entry) -> Option<Cache> {
    let span = entry.key.span;
    report.entries(&entry.value, "`cache`", HELP)?;
    let fields = report.fields(&entry.value, span, &keys::CACHE)?;
    let key = report.required(&fields, "key", "`cache`", HELP);
    let key = key.and_then(|entry| key_of(report, &entry.value));
    let paths = &report.required(&fields, "paths", "`cache`", HELP)?.value;
    let items = report.list(paths, "`paths`", HELP)?;
    let path = |item: &Node| job::path(report, item, "a path of the cache");
    let paths = items.iter().filter_map(path).collect();
    Some(Cache { span, key: key?, paths })
}

fn key_of(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    let text = report.text(node, "the key of the cache", KEY_HELP)?;
    let text = Spanned::new(text.to_owned(), node.span);
    if is_template(&text.value) {
        return Some(text);
    }
    check_key(report, &text.value, text.span).then_some(text)
}

/// Whether the text can be a key; reported if not.
pub(crate) fn check_key(report: &mut Report<'_>, text: &str, span: Span) -> bool {
    let problem = match text.len() {
        0 => "it is empty",
        length if length > limits::CACHE_KEY_BYTES => "it is too long",
        _ if text.contains(char::is_control) => {
            "it holds a line break or another control character"
        }
        _ => return true,
    };
    let message = format!("the key of the cache cannot be used: {problem}");
    report.error(Code::InvalidCacheKey, span, message, KEY_HELP);
    false
}
