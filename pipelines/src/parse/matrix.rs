//! `matrix`: the variants of a job.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::matrix::{Combination, Matrix, product, title};
use crate::yaml::{Entry, Node};

const HELP: &str = "write a mapping from each key to its values, such as \
                    `matrix: { os: [4.2.1, 4.3.0], exclude: [{ os: 4.2.1 }] }`";

const KEY_HELP: &str = "begin with a-z, and use a-z, 0-9 and `_`; at most 40 characters";

const LONGEST_KEY: usize = 40;

/// Reads a job's `matrix`.
pub(super) fn matrix(report: &mut Report<'_>, entry: &Entry) -> Option<Matrix> {
    let entries = report.entries(&entry.value, "`matrix`", HELP)?;
    let (special, axes): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| ["include", "exclude"].contains(&entry.key.text.as_str()));
    let axes: Option<Vec<_>> = axes.into_iter().map(|entry| axis(report, entry)).collect();
    let mut listed = |key: &str| {
        let entry = special.iter().find(|entry| entry.key.text == key);
        entry.map_or(Some(Vec::new()), |entry| combinations(report, entry))
    };
    let (include, exclude) = (listed("include"), listed("exclude"));
    let (axes, include, exclude) = (axes?, include?, exclude?);
    let size = axes.iter().map(|(_, values)| values.len());
    let size = size.fold(1_usize, usize::saturating_mul);
    if size.saturating_add(include.len()) > limits::MATRIX {
        let message = format!("this matrix has more than {} variants", limits::MATRIX);
        report.error(Code::MatrixTooLarge, entry.key.span, message, "write fewer values");
        return None;
    }
    let mut matrix = Matrix { keys: keys(&axes, &include), combinations: product(&axes) };
    for (node, excluded) in exclude {
        exclude_from(report, &mut matrix, node, &excluded);
    }
    for (node, included) in include {
        include_in(report, &mut matrix, node, included);
    }
    if matrix.combinations.is_empty() {
        report.error(Code::Empty, entry.key.span, "this matrix has no variants", HELP);
        return None;
    }
    Some(matrix)
}

fn keys(axes: &[(String, Vec<String>)], include: &[(&Node, Combination)]) -> Vec<String> {
    match include.first() {
        Some((_, first)) if axes.is_empty() => first.keys().cloned().collect(),
        _ => axes.iter().map(|(key, _)| key.clone()).collect(),
    }
}

fn axis(report: &mut Report<'_>, entry: &Entry) -> Option<(String, Vec<String>)> {
    let Entry { key, value } = entry;
    check_key(report, entry)?;
    let items = report.list(value, &format!("`matrix` for {}", quoted(&key.text)), HELP)?;
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for item in items {
        let text = text(report, item)?;
        if !seen.insert(text.clone()) {
            let message = format!("{} has the value {} twice", quoted(&key.text), quoted(&text));
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
            return None;
        }
        values.push(text);
    }
    Some((key.text.clone(), values))
}

fn check_key(report: &mut Report<'_>, entry: &Entry) -> Option<()> {
    let key = entry.key.text.as_str();
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = key.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && key.chars().all(inner) && key.len() <= LONGEST_KEY {
        return Some(());
    }
    let message = format!("{} cannot be a key of `matrix`", quoted(key));
    report.error(Code::InvalidName, entry.key.span, message, KEY_HELP);
    None
}

fn text(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let help = "write text, a number, `true` or `false`";
    let Some(text) = node.value.scalar() else {
        return report.wrong_type(node, "a value of `matrix`", "a single value", help);
    };
    if text.is_empty() || text.len() > limits::MATRIX_VALUE_BYTES || text.contains('\0') {
        let message = format!("a value of `matrix` has 1 to {} bytes", limits::MATRIX_VALUE_BYTES);
        report.error(Code::InvalidVariable, node.span, message, help);
        return None;
    }
    Some(text.to_owned())
}

fn combinations<'n>(
    report: &mut Report<'_>,
    entry: &'n Entry,
) -> Option<Vec<(&'n Node, Combination)>> {
    let items = report.list(&entry.value, &quoted(&entry.key.text), HELP)?;
    items.iter().map(|item| Some((item, combination(report, item)?))).collect()
}

fn combination(report: &mut Report<'_>, node: &Node) -> Option<Combination> {
    let entries = report.entries(node, "this variant", HELP)?;
    let pair = |entry: &Entry| {
        check_key(report, entry)?;
        Some((entry.key.text.clone(), text(report, &entry.value)?))
    };
    entries.iter().map(pair).collect()
}

fn exclude_from(report: &mut Report<'_>, matrix: &mut Matrix, node: &Node, excluded: &Combination) {
    let before = matrix.combinations.len();
    let is_excluded =
        |one: &Combination| excluded.iter().all(|(key, value)| one.get(key) == Some(value));
    matrix.combinations.retain(|one| !is_excluded(one));
    if matrix.combinations.len() == before {
        let message = format!("`exclude` names {}, and no variant is so", quoted(&title(excluded)));
        let help = "write some of the matrix's keys with values that they have, or remove it";
        report.error(Code::InvalidMatrix, node.span, message, help);
    }
}

fn include_in(report: &mut Report<'_>, matrix: &mut Matrix, node: &Node, included: Combination) {
    let keys: BTreeSet<&str> = matrix.keys.iter().map(String::as_str).collect();
    if !included.keys().map(String::as_str).eq(keys.iter().copied()) {
        let keys: Vec<_> = keys.into_iter().map(quoted).collect();
        let message = format!("this variant must have a value for each of {}", keys.join(", "));
        report.error(Code::InvalidMatrix, node.span, message, "add what is missing, and no other");
    } else if matrix.combinations.contains(&included) {
        let message = format!("the matrix has {} already", quoted(&title(&included)));
        report.error(Code::Duplicate, node.span, message, "remove it here");
    } else {
        matrix.combinations.push(included);
    }
}
