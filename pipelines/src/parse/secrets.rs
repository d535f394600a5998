//! `secrets`: which ones a job gets, and in what form.

use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::plan::{Delivery, Secret};
use crate::secret::SecretName;
use crate::source::Spanned;
use crate::yaml::{Node, Value};

const HELP: &str = "list names, such as `secrets: [TOKEN, { name: SSH_KEY, as: file }]`";

const NAME_HELP: &str = "use A-Z, 0-9 and `_`, 64 at most, begin with a letter, and not with `GARRISON_`, `INPUT_`, `MATRIX_` or `OUTPUT_`";

pub(crate) const DELIVERIES: &[(&str, Delivery)] = &[("file", Delivery::File)];

/// Reads a job's `secrets`.
pub(super) fn secrets(report: &mut Report<'_>, node: &Node) -> Vec<Spanned<Secret>> {
    let items = report.list(node, "`secrets`", HELP).unwrap_or_default();
    items.iter().filter_map(|item| secret(report, item)).collect()
}

fn secret(report: &mut Report<'_>, node: &Node) -> Option<Spanned<Secret>> {
    let Value::Map(_) = node.value else {
        return declared(name(report, node, "the name of a secret"), Delivery::Variable);
    };
    let fields = report.fields(node, node.span, &keys::SECRET)?;
    let entry = report.required(&fields, "name", "an entry of `secrets`", HELP)?;
    let delivery = match fields.node("as") {
        Some(node) => report.choice(node, "`as`", DELIVERIES)?,
        None => Delivery::Variable,
    };
    declared(name(report, &entry.value, "the name of a secret"), delivery)
}

fn declared(name: Option<Spanned<SecretName>>, delivery: Delivery) -> Option<Spanned<Secret>> {
    let Spanned { value: name, span } = name?;
    Some(Spanned::new(Secret { name, delivery }, span))
}

/// Reads the name of a secret; `what` it is called in messages.
pub(super) fn name(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
) -> Option<Spanned<SecretName>> {
    let text = report.text(node, what, HELP)?;
    match text.parse::<SecretName>() {
        Ok(name) => Some(Spanned::new(name, node.span)),
        Err(error) => {
            let message = format!("{} cannot name a secret: it {error}", quoted(text));
            report.error(Code::InvalidSecretName, node.span, message, NAME_HELP);
            None
        }
    }
}
