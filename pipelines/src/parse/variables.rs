//! `variables`: what scripts find in their environment.

use std::collections::BTreeMap;

use crate::ast::Variables;
use crate::diagnostic::{Code, Report, quoted};
use crate::input;
use crate::limits;
use crate::matrix;
use crate::output;
use crate::source::Spanned;
use crate::yaml::{Entry, Node};

const HELP: &str = "write `NAME: value` lines";

const NAME_HELP: &str = "use letters, digits and `_`, begin with a letter, and not with `GARRISON_`, `INPUT_`, `MATRIX_` or `OUTPUT_`";

/// Reads `variables` of a pipeline or a job.
pub(crate) fn variables(report: &mut Report<'_>, node: &Node) -> Variables {
    let entries = report.entries(node, "`variables`", HELP).unwrap_or_default();
    let mut variables = BTreeMap::new();
    for Entry { key, value } in entries {
        if let Err(reason) = check_name(&key.text) {
            let message = format!("{} cannot name a variable: {reason}", quoted(&key.text));
            report.error(Code::InvalidVariableName, key.span, message, NAME_HELP);
        }
        let what = format!("the value of {}", quoted(&key.text));
        let help = "write text, a number, `true` or `false`; an empty text is \"\"";
        let Some(text) = value.value.scalar() else {
            report.wrong_type::<()>(value, &what, "a single value", help);
            continue;
        };
        if text.len() > limits::VARIABLE_BYTES {
            let message = format!("{what} is longer than {} bytes", limits::VARIABLE_BYTES);
            let help = "keep long texts in a file of the repository";
            report.error(Code::InvalidVariable, value.span, message, help);
        }
        variables.insert(key.text.clone(), Spanned::new(text.to_owned(), value.span));
    }
    variables
}

/// Whether a variable can have this name, or why not.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("it is not made of letters, digits and `_` with no digit first");
    }
    if name.len() > limits::VARIABLE_NAME_BYTES {
        return Err("it is too long");
    }
    if name.starts_with(input::PREFIX) {
        return Err("names that begin with `INPUT_` are those of inputs");
    }
    if name.starts_with(matrix::PREFIX) {
        return Err("names that begin with `MATRIX_` are those of a matrix");
    }
    if name.starts_with(output::PREFIX) {
        return Err("names that begin with `OUTPUT_` are those of needed jobs' outputs");
    }
    if name.starts_with("GARRISON_") {
        return Err("names that begin with `GARRISON_` are set for each job");
    }
    Ok(())
}
