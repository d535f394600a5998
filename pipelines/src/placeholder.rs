//! Placeholders that somebody meant to replace: `CHANGE_ME`, `change-me`.

use regex::Regex;

use crate::diagnostic::{Code, Diagnostics, Report, quoted};
use crate::source::{File, FileIndex, Source, Span};

/// Folders whose YAML files say what is deployed, wherever they lie.
const FOLDERS: &[&str] =
    &[".garrison", "group_vars", "host_vars", "inventories", "inventory", "partitions"];

/// Whether a file of this path from the repository's root should hold no placeholder.
pub fn is_looked_for(path: &str) -> bool {
    let is_yaml = path.ends_with(".yaml") || path.ends_with(".yml");
    is_yaml && path.split('/').rev().skip(1).any(|folder| FOLDERS.contains(&folder))
}

/// Warnings about placeholders in a file; comments may speak of them.
pub fn find(file: &File) -> Diagnostics {
    let mut found = Diagnostics::default();
    let Ok(text) = std::str::from_utf8(&file.bytes) else { return found };
    let placeholder = Regex::new(r"\b(?:[Cc][Hh][Aa][Nn][Gg][Ee][_-][Mm][Ee])\b");
    let placeholder = placeholder.expect("the pattern is right");
    let source = Source::new(&file.name, text);
    let mut report = Report::new(&source, &mut found);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = without_comment(line);
        for it in placeholder.find_iter(code) {
            let [start, end] = [it.start(), it.end()].map(|index| source.position(at + index));
            let span = Span { file: FileIndex::default(), start, end };
            let message = format!("the placeholder {} was never replaced", quoted(it.as_str()));
            let help = "write the value; if nobody may read it, make it a secret";
            report.warning(Code::Placeholder, span, message, help);
        }
        at += line.len();
    }
    found.sorted()
}

fn without_comment(line: &str) -> &str {
    let starts = |index: usize| index == 0 || line[..index].ends_with([' ', '\t']);
    let comment = line.match_indices('#').map(|(index, _)| index).find(|index| starts(*index));
    &line[..comment.unwrap_or(line.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_with_their_place() {
        let text = "a: 1 # not CHANGE_ME\n# change-me\nb: \"x-CHANGE_ME\"\nc: change-me-not\nd: EXCHANGE_ME\ne: Change_me\n";
        let found = find(&File { name: "x.yaml".into(), bytes: text.into() });
        let places: Vec<_> =
            found.iter().map(|it| (it.span.start.line, it.span.start.column)).collect();
        assert_eq!(places, [(3, 7), (4, 4), (6, 4)]);
    }

    #[test]
    fn only_what_is_deployed_is_looked_at() {
        for path in ["inventories/a.yaml", ".garrison/x.yml", "prod/group_vars/all/x.yaml"] {
            assert!(is_looked_for(path), "{path}");
        }
        for path in ["x.yaml", "docs/change.yaml", "group_vars/all.json", "inventories.yaml"] {
            assert!(!is_looked_for(path), "{path}");
        }
    }
}
