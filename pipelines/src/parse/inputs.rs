//! `inputs`: what can be chosen at the start.

use std::collections::BTreeSet;

use super::yes_or_no;
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::input::{Input, Kind};
use crate::keys;
use crate::limits;
use crate::source::Spanned;
use crate::yaml::{Entry, Node};

const INPUTS_HELP: &str = "write a mapping from each input's name to what may be given, such as \
                           `check: { type: bool, default: false }`";

pub(super) const NAME_HELP: &str =
    "begin with a-z, and use a-z, 0-9 and `_`; at most 40 characters";

const TYPE_HELP: &str = "write one of `text`, `int`, `bool`, `choice`";

const OPTIONS_HELP: &str = "list what can be chosen: `options: [small, large]`";

const LONGEST_NAME: usize = 40;

/// The types' words; a choice's options are read apart.
pub(crate) const KINDS: &[(&str, Word)] =
    &[("text", Word::Text), ("int", Word::Int), ("bool", Word::Bool), ("choice", Word::Choice)];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Text,
    Int,
    Bool,
    Choice,
}

/// Reads `inputs`.
pub(super) fn inputs(report: &mut Report<'_>, node: &Node) -> Vec<Input> {
    let entries = report.entries(node, "`inputs`", INPUTS_HELP).unwrap_or_default();
    if entries.len() > limits::INPUTS {
        let message = format!("there are {} inputs; at most {} fit", entries.len(), limits::INPUTS);
        report.error(Code::TooLong, node.span, message, "write several pipelines");
        return Vec::new();
    }
    entries.iter().filter_map(|entry| input(report, entry)).collect()
}

fn input(report: &mut Report<'_>, entry: &Entry) -> Option<Input> {
    let Entry { key, value } = entry;
    let name = name(&key.text);
    if let Err(reason) = name {
        let message = format!("{} cannot name an input: {reason}", quoted(&key.text));
        report.error(Code::InvalidName, key.span, message, NAME_HELP);
    }
    let of = format!("the input {}", quoted(&key.text));
    report.entries(value, &of, INPUTS_HELP)?;
    let fields = report.fields(value, key.span, &keys::INPUT)?;
    let kind = kind(report, &fields, &of);
    if let Some(node) = fields.node("description") {
        report.text(node, "`description`", "write what the input is for");
    }
    let required = fields.node("required").and_then(|node| yes_or_no(report, node, "`required`"));
    let default = fields.node("default");
    match (default, required) {
        (None, Some(true)) | (Some(_), None | Some(false)) => {}
        // What was meant and refused is told already.
        _ if fields.has_refused(&["default", "required"]) => {}
        (None, _) if required.is_none() && fields.node("required").is_some() => {}
        (None, None | Some(false)) => {
            let message = format!("{of} has no `default` and is not `required`");
            let help = "add a `default`, or `required: true`";
            report.error(Code::MissingKey, key.span, message, help);
        }
        (Some(node), Some(true)) => {
            let message = format!("{of} is required, so its `default` is never used");
            report.error(Code::InvalidInput, node.span, message, "remove one of the two");
        }
    }
    let kind = kind?;
    let default = default.map(|node| value_of(report, node, &kind));
    name.ok()?;
    Some(Input { name: Spanned::new(key.text.clone(), key.span), kind, default: default.flatten() })
}

/// Whether a text can name an input or an output.
pub(super) fn name(text: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.len() > LONGEST_NAME {
        return Err("it is too long");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(allowed) {
        return Err("it holds something else, or begins with something else than a letter");
    }
    Ok(())
}

fn kind(report: &mut Report<'_>, fields: &Fields<'_>, of: &str) -> Option<Kind> {
    let entry = report.required(fields, "type", of, TYPE_HELP)?;
    let word = report.choice(&entry.value, "`type`", KINDS)?;
    let options = fields.entry("options");
    match (word, options) {
        (Word::Choice, None) => {
            report.required(fields, "options", of, OPTIONS_HELP);
            None
        }
        (Word::Choice, Some(entry)) => options_of(report, &entry.value).map(Kind::Choice),
        (_, Some(entry)) => {
            let message = format!("{of} has options, but is no choice");
            let help = "write `type: choice`, or remove `options`";
            report.error(Code::InvalidInput, entry.key.span, message, help);
            None
        }
        (Word::Text, None) => Some(Kind::Text),
        (Word::Int, None) => Some(Kind::Int),
        (Word::Bool, None) => Some(Kind::Bool),
    }
}

fn options_of(report: &mut Report<'_>, node: &Node) -> Option<Vec<String>> {
    let items = report.list(node, "`options`", OPTIONS_HELP)?;
    let mut seen = BTreeSet::new();
    let mut options = Vec::new();
    for item in items {
        let option = value_of(report, item, &Kind::Text)?;
        if !seen.insert(option.clone()) {
            let message = format!("`options` names {} twice", quoted(&option));
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        }
        options.push(option);
    }
    Some(options)
}

fn value_of(report: &mut Report<'_>, node: &Node, kind: &Kind) -> Option<String> {
    let help = kind.help(node.value.scalar().unwrap_or_default());
    let read = |text: &str| kind.check(text);
    Some(report.scalar(node, "this value", Code::InvalidInput, &help, read)?.value)
}
