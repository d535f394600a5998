//! `partitions`: where a pipeline and its jobs run.

use super::devices;
use crate::ast::{Choice, Partitions};
use crate::diagnostic::{Code, Report, quoted};
use crate::glob::Glob;
use crate::keys;
use crate::limits;
use crate::name::PartitionName;
use crate::source::{Span, Spanned};
use crate::yaml::{Document, Node, Value};

const HELP: &str = "list the partitions' names, such as `partitions: [fra-equ01]`";

const CHOICE_HELP: &str = "write `partitions: { select: 'labels.env == \"prod\"', changed: \"partitions/{partition}/**\" }`";

/// What stands for a partition's name in `changed`.
const PARTITION: &str = "{partition}";

/// Reads `partitions` of a pipeline: names, or how they are chosen.
pub(super) fn of_pipeline(report: &mut Report<'_>, node: &Node, span: Span) -> Option<Partitions> {
    if !matches!(node.value, Value::Map(_)) {
        let names = names(report, node, "`partitions`")?;
        return Some(Partitions { names: Some(names), choice: None, rollout: None });
    }
    let fields = report.fields(node, span, &keys::PARTITIONS)?;
    let names = match fields.node("names") {
        Some(node) => Some(names(report, node, "`names`")?),
        None => None,
    };
    let select = match fields.node("select").map(|node| (node, node.value.scalar())) {
        Some((node, Some(text))) => Some(Spanned::new(text.to_owned(), node.span)),
        Some((node, None)) => report.wrong_type(node, "`select`", "a condition", CHOICE_HELP),
        None => None,
    };
    let changed = fields.node("changed").and_then(|node| changed(report, node));
    if node.value == Value::Map(Vec::new()) {
        report.error(Code::Empty, span, "`partitions` chooses nothing", CHOICE_HELP);
    }
    let rollout = fields.entry("rollout").and_then(|entry| devices::of_partitions(report, entry));
    Some(Partitions { names, choice: Some(Choice { span, select, changed }), rollout })
}

/// Reads a list of names.
pub(super) fn names(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
) -> Option<Vec<Spanned<PartitionName>>> {
    let items = report.list(node, what, HELP)?;
    if items.len() > limits::PARTITIONS {
        let message =
            format!("{what} names {} partitions; at most {} fit", items.len(), limits::PARTITIONS);
        report.error(Code::TooManyPartitions, node.span, message, "write several pipelines");
        return None;
    }
    Some(items.iter().filter_map(|item| report.name(item, "the partition's name")).collect())
}

fn changed(report: &mut Report<'_>, node: &Node) -> Option<Spanned<String>> {
    let text = report.text(node, "`changed`", CHOICE_HELP)?;
    if let Err(reason) = text.replace(PARTITION, "partition").parse::<Glob>() {
        let message = format!("`changed` cannot be {}: {reason}", quoted(text));
        report.error(Code::InvalidGlob, node.span, message, CHOICE_HELP);
        return None;
    }
    Some(Spanned::new(text.to_owned(), node.span))
}

/// The files that belong to a partition.
pub(crate) fn files_of(changed: &str, partition: &PartitionName) -> Option<Glob> {
    changed.replace(PARTITION, partition.as_str()).parse().ok()
}

/// The partitions that a file names, without reporting anything; all of `among` if it names none and
/// chooses among them.
pub(crate) fn names_of(document: &Document, among: &[PartitionName]) -> Vec<PartitionName> {
    let entry = |value: &Value, key: &str| match value {
        Value::Map(entries) => {
            let entry = entries.iter().find(|entry| entry.key.text == key);
            entry.map(|entry| entry.value.value.clone())
        }
        _ => None,
    };
    let named = entry(&document.root.value, "partitions");
    let names = match &named {
        Some(choice @ Value::Map(_)) => match entry(choice, "names") {
            Some(names) => Some(names),
            None => return among.to_vec(),
        },
        _ => named,
    };
    let Some(Value::List(items)) = names else { return Vec::new() };
    // So many are refused, so nobody should fetch their inventories.
    if items.len() > limits::PARTITIONS {
        return Vec::new();
    }
    items.iter().filter_map(|item| item.value.scalar()?.parse().ok()).collect()
}
