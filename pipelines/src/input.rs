//! Inputs: what somebody who starts a pipeline by hand can choose.
//!
//! A value is a text everywhere, in the one form that its type has: `true` and `false`, a whole
//! number without a sign or zeros in front, one of the options.

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::source::{Span, Spanned};
use crate::suggest;

/// What stands before an input's name in the environment of all jobs.
pub(crate) const PREFIX: &str = "INPUT_";

/// Inputs that are given, or that a run has, by name.
pub type Inputs = BTreeMap<String, String>;

/// An input as it is declared.
pub(crate) struct Input {
    pub(crate) name: Spanned<String>,
    pub(crate) kind: Kind,
    /// What it is if it is not given.
    pub(crate) default: Option<String>,
}

/// What may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Bool,
    Choice(Vec<String>),
}

impl Kind {
    /// The value in its one form.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence.
    pub(crate) fn check(&self, text: &str) -> Result<String, String> {
        match self {
            Kind::Text if text.len() > limits::VARIABLE_BYTES => {
                Err(format!("it has {} bytes; at most {} fit", text.len(), limits::VARIABLE_BYTES))
            }
            Kind::Text if text.contains('\0') => Err("it holds a NUL character".to_owned()),
            Kind::Text => Ok(text.to_owned()),
            Kind::Int => match text.parse::<i64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err("it is no whole number".to_owned()),
            },
            Kind::Bool if text == "true" || text == "false" => Ok(text.to_owned()),
            Kind::Bool => Err("it is neither `true` nor `false`".to_owned()),
            Kind::Choice(options) if options.iter().any(|option| option == text) => {
                Ok(text.to_owned())
            }
            Kind::Choice(_) => Err("it is none of the options".to_owned()),
        }
    }

    /// What to write instead of `text`.
    pub(crate) fn help(&self, text: &str) -> String {
        match self {
            Kind::Text => "write text".to_owned(),
            Kind::Int => "write a whole number such as `3`".to_owned(),
            Kind::Bool => "write `true` or `false`".to_owned(),
            Kind::Choice(options) => {
                suggest::advice(text, options.iter().map(String::as_str), "the options are")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::Int => "int",
            Kind::Bool => "bool",
            Kind::Choice(_) => "choice",
        })
    }
}

/// The inputs of a run that is started with `given`; what does not fit is reported at its
/// declaration, and what is not declared at `on`.
pub(crate) fn resolve(
    declared: &[Input],
    given: &Inputs,
    on: Span,
    report: &mut Report<'_>,
) -> Inputs {
    for name in given.keys().filter(|name| declared.iter().all(|it| it.name.value != **name)) {
        let message = format!("this pipeline has no input {}", quoted(name));
        let known = declared.iter().map(|it| it.name.value.as_str());
        let help = match declared {
            [] => "start it without inputs, or declare this one under `inputs`".to_owned(),
            _ => suggest::advice(name, known, "its inputs are"),
        };
        report.error(Code::UnknownInput, on, message, help);
    }
    let resolve = |input: &Input| {
        let Spanned { value: name, span } = &input.name;
        let value = match (given.get(name), &input.default) {
            (Some(text), _) => match input.kind.check(text) {
                Ok(value) => value,
                Err(reason) => {
                    let message =
                        format!("the input {} cannot be {}: {reason}", quoted(name), quoted(text));
                    report.error(Code::InvalidInput, *span, message, input.kind.help(text));
                    return None;
                }
            },
            (None, Some(default)) => default.clone(),
            (None, None) => {
                let message = format!("the input {} is not given", quoted(name));
                let help = format!("give it: `--input {name}=…` on the command line");
                report.error(Code::MissingInput, *span, message, help);
                return None;
            }
        };
        Some((name.clone(), value))
    };
    declared.iter().filter_map(resolve).collect()
}

/// Reports what is written for inputs and does not fit those that are declared; none for a value that is not
/// known yet.
pub(crate) fn check_given<'g>(
    declared: &[Input],
    given: impl Iterator<Item = (&'g Spanned<String>, Option<&'g Spanned<String>>)>,
    report: &mut Report<'_>,
) {
    for (name, value) in given {
        let Some(input) = declared.iter().find(|it| it.name.value == name.value) else {
            let message = format!("this pipeline has no input {}", quoted(&name.value));
            let known = declared.iter().map(|it| it.name.value.as_str());
            let otherwise = "declare it under `inputs` of the pipeline; its inputs are";
            let help = match declared {
                [] => "declare it under `inputs` of the pipeline, or remove it".to_owned(),
                _ => suggest::advice(&name.value, known, otherwise),
            };
            report.error(Code::UnknownInput, name.span, message, help);
            continue;
        };
        if let Some(value) = value {
            checked(input, value, report);
        }
    }
}

/// The inputs of a pipeline that another one starts with `given`; none if something does not fit, which is
/// reported where it is written.
pub(crate) fn of_call(
    declared: &[Input],
    given: &BTreeMap<&str, Spanned<String>>,
    report: &mut Report<'_>,
) -> Option<Inputs> {
    let value = |input: &Input| {
        let name = input.name.value.clone();
        let value = match given.get(name.as_str()) {
            Some(value) => checked(input, value, report)?,
            None => input.default.clone()?,
        };
        Some((name, value))
    };
    declared.iter().map(value).collect()
}

/// The value in its one form; reported where it is written if it has none.
fn checked(input: &Input, value: &Spanned<String>, report: &mut Report<'_>) -> Option<String> {
    let text = &value.value;
    let reason = match input.kind.check(text) {
        Ok(value) => return Some(value),
        Err(reason) => reason,
    };
    let message =
        format!("the input {} cannot be {}: {reason}", quoted(&input.name.value), quoted(text));
    report.error(Code::InvalidInput, value.span, message, input.kind.help(text));
    None
}

/// The environment variables by which jobs know the inputs.
pub fn variables(inputs: &Inputs) -> impl Iterator<Item = (String, String)> {
    let variable = |name: &str| format!("{PREFIX}{}", name.to_ascii_uppercase());
    inputs.iter().map(move |(name, value)| (variable(name), value.clone()))
}
