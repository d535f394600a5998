//! Texts with `{{ … }}` and `{% if … %}` in them, filled in when the plan is made.
//!
//! The language is that of minijinja, strict about what is not there and without what could make a
//! small file cost much: no assignments, macros or includes, few filters, a budget for all of a plan.

use std::cell::Cell;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior, filters};

use crate::diagnostic::{Complaint, quoted};
use crate::glob::{self, Glob};
use crate::limits;
use crate::scope::{self, Names, Scope, Value};
use crate::tree::Tree;

/// Statements that may be used.
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// The function that tells whether files changed.
const HASH: &str = "hash";

const HASH_HELP: &str = "name files by their paths from the repository's root: `hash('roles/**')`";

const RAW_HELP: &str =
    "write `{% raw %}…{% endraw %}` around braces that are not meant for garrison";

/// Where a text stands, which says what may be put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A shell command, into which only what the shell takes as it is may be put.
    Command,
    /// Anything else.
    Plain,
}

/// Fills in texts, as long as its budget lasts.
pub(crate) struct Templates {
    commands: Environment<'static>,
    plain: Environment<'static>,
    fuel: Cell<u64>,
}

/// What a template reads.
pub(crate) struct Context(minijinja::Value);

/// Whether a text has anything to be filled in.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

impl Templates {
    /// `tree` holds the files of the commit, for `hash`.
    pub(crate) fn new(tree: Tree) -> Templates {
        let mut plain = Environment::empty();
        plain.set_undefined_behavior(UndefinedBehavior::Strict);
        plain.set_syntax(syntax());
        plain.set_recursion_limit(20);
        plain.set_formatter(|out, _, value| print(out, value));
        plain.add_filter("default", filters::default);
        plain.add_filter("first", filters::first);
        plain.add_filter("last", filters::last);
        plain.add_filter("length", filters::length);
        plain.add_filter("lower", filters::lower);
        plain.add_filter("trim", filters::trim);
        plain.add_filter("upper", filters::upper);
        plain.add_function(HASH, move |pattern: &str| hash(&tree, pattern));
        let mut commands = plain.clone();
        commands.set_formatter(print_into_command);
        Templates { commands, plain, fuel: Cell::new(limits::TEMPLATES_FUEL) }
    }

    /// Whether a text could be filled in, given what it may read.
    pub(crate) fn check(&self, text: &str, names: &Names) -> Result<(), Complaint> {
        statements(text)?;
        let template = self.plain.template_from_str(text).map_err(|error| told(&error, text))?;
        let mut mentioned: Vec<_> = template.undeclared_variables(true).into_iter().collect();
        mentioned.retain(|name| name != HASH);
        mentioned.sort_unstable();
        match mentioned.iter().find_map(|dotted| scope::unknown(names, dotted)) {
            Some((message, help)) => Err(Complaint { message, help }),
            None => Ok(()),
        }
    }

    /// The text, filled in.
    pub(crate) fn render(
        &self,
        text: &str,
        kind: Kind,
        context: &Context,
    ) -> Result<String, Complaint> {
        let mut environment = match kind {
            Kind::Command => self.commands.clone(),
            Kind::Plain => self.plain.clone(),
        };
        let fuel = self.fuel.get().min(limits::TEMPLATE_FUEL);
        environment.set_fuel(Some(fuel));
        let mut out = Bounded(Vec::new());
        let rendered = environment
            .template_from_str(text)
            .and_then(|template| template.render_captured_to(context.0.clone(), &mut out));
        let spent = match &rendered {
            Ok(captured) => captured.state().fuel_levels().map_or(fuel, |(spent, _)| spent),
            Err(_) => fuel,
        };
        drop(rendered.map_err(|error| told(&error, text))?);
        self.fuel.set(self.fuel.get().saturating_sub(spent));
        Ok(String::from_utf8_lossy(&out.0).into_owned())
    }
}

impl Context {
    /// Values of [`limits::TEMPLATE_VALUE_BYTES`] at most; a longer one is not there.
    pub(crate) fn new(scope: &Scope) -> Context {
        let values = scope.iter().filter_map(|(name, value)| Some((*name, of(value)?)));
        Context(minijinja::Value::from_pairs(values))
    }
}

fn of(value: &Value) -> Option<minijinja::Value> {
    match value {
        Value::Text(text) if text.len() > limits::TEMPLATE_VALUE_BYTES => None,
        Value::Text(text) => Some(minijinja::Value::from(text.as_str())),
        Value::Int(number) => Some(minijinja::Value::from(*number)),
        Value::Bool(is) => Some(minijinja::Value::from(*is)),
        Value::Map(map) => {
            let values = map.iter().filter_map(|(name, value)| Some((name.as_str(), of(value)?)));
            Some(minijinja::Value::from_pairs(values))
        }
        Value::Json(json) => of_json(json),
    }
}

/// A value from outside; what is too long in it is not there.
fn of_json(json: &serde_json::Value) -> Option<minijinja::Value> {
    match json {
        serde_json::Value::String(text) if text.len() > limits::TEMPLATE_VALUE_BYTES => None,
        serde_json::Value::Array(items) => {
            Some(minijinja::Value::from_iter(items.iter().filter_map(of_json)))
        }
        serde_json::Value::Object(fields) => {
            let fields =
                fields.iter().filter_map(|(name, value)| Some((name.as_str(), of_json(value)?)));
            Some(minijinja::Value::from_pairs(fields))
        }
        serde_json::Value::String(text) => Some(minijinja::Value::from(text.as_str())),
        serde_json::Value::Bool(is) => Some(minijinja::Value::from(*is)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Some(minijinja::Value::from(number)),
            (None, number) => number.map(minijinja::Value::from),
        },
        serde_json::Value::Null => Some(minijinja::Value::from(())),
    }
}

/// Comments would begin in the middle of a shell's `${#list}`, so they look otherwise.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.comment_delimiters("{%#", "#%}").trim_blocks(true).lstrip_blocks(true);
    syntax.keep_trailing_newline(true).build().expect("the delimiters differ")
}

/// Refuses statements that are not for these texts.
fn statements(text: &str) -> Result<(), Complaint> {
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        rest = &rest[at + 2..];
        let statement = rest.trim_start_matches(['-', '+']).trim_start();
        let end = statement.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(statement.len());
        let word = &statement[..end];
        if !STATEMENTS.contains(&word) {
            let message = format!("there is no statement {} here", quoted(word));
            return Err(Complaint { message, help: "there are `if`, `for` and `raw`".to_owned() });
        }
    }
    Ok(())
}

/// A short text that changes with the files that a pattern means.
fn hash(tree: &Tree, pattern: &str) -> Result<String, minijinja::Error> {
    let failed = |text: String| minijinja::Error::new(ErrorKind::NonKey, text);
    let glob: Glob = pattern.parse().map_err(|error: glob::Error| {
        failed(format!("{} cannot be a pattern of files: {error}", quoted(pattern)))
    })?;
    tree.hash(&glob).map_err(failed)
}

fn print(out: &mut Output<'_>, value: &minijinja::Value) -> Result<(), minijinja::Error> {
    if value.is_undefined() || value.is_none() {
        return Err(minijinja::Error::from(ErrorKind::UndefinedError));
    }
    if value.as_object().is_some() {
        let text = "this is no single value";
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, text));
    }
    match value.kind() {
        // As in YAML, and as in the input's own variable; Jinja writes `True`.
        ValueKind::Bool => Ok(write!(out, "{}", value.is_true())?),
        _ => Ok(write!(out, "{value}")?),
    }
}

/// A command is code: what is put into it must mean nothing to the shell.
fn print_into_command(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &minijinja::Value,
) -> Result<(), minijinja::Error> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    match value.as_str().and_then(|text| text.chars().find(|&c| !harmless(c))) {
        Some(found) => Err(minijinja::Error::new(ErrorKind::BadEscape, format!("{found:?}"))),
        None => print(out, value),
    }
}

fn told(error: &minijinja::Error, text: &str) -> Complaint {
    let detail = error.detail().unwrap_or_default();
    let in_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    // Of `a.b.c` the range has `.c` alone.
    let begin = |at: usize| text.get(..at).map_or(at, |it| it.trim_end_matches(in_name).len());
    let at = error.range().and_then(|range| text.get(begin(range.start)..range.end)).map(str::trim);
    let at = at.filter(|at| !at.is_empty() && at.len() < 100).unwrap_or("this text");
    let (message, help) = match error.kind() {
        ErrorKind::UndefinedError => (
            format!("{} is not there", quoted(at)),
            "correct its name, or give it a value, as with `| default('…')`",
        ),
        ErrorKind::BadEscape => (
            format!("{} holds {detail}, which the shell would take as code", quoted(at)),
            "read it from its environment variable, such as \"$INPUT_OS\", in quotes",
        ),
        ErrorKind::OutOfFuel => (
            "this text takes too much work to fill in".to_owned(),
            "write it simpler, or have a script in the repository do it",
        ),
        ErrorKind::WriteFailure => (
            format!(
                "this text has more than {} bytes when it is filled in",
                limits::RENDERED_BYTES
            ),
            "write it shorter",
        ),
        ErrorKind::UnknownFilter => (
            format!("{} is no filter here", quoted(at)),
            "there are `default`, `first`, `last`, `length`, `lower`, `trim` and `upper`",
        ),
        // Only `hash` has such errors.
        ErrorKind::MissingArgument => (format!("{} lacks a pattern", quoted(at)), HASH_HELP),
        ErrorKind::NonKey => (format!("{} cannot be filled in: {detail}", quoted(at)), HASH_HELP),
        ErrorKind::SyntaxError => (format!("this text cannot be filled in: {detail}"), RAW_HELP),
        kind if detail.is_empty() => {
            (format!("{} cannot be filled in: {kind}", quoted(at)), RAW_HELP)
        }
        _ => (format!("{} cannot be filled in: {detail}", quoted(at)), RAW_HELP),
    };
    Complaint { message, help: help.to_owned() }
}

/// Takes what is written, up to a limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > limits::RENDERED_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn render(text: &str, kind: Kind) -> Result<String, String> {
        let map = |pairs: &[(&str, Value)]| {
            Value::Map(pairs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
        };
        let inputs = map(&[
            ("os", Value::Text("4.2.1".into())),
            ("check", Value::Bool(true)),
            ("count", Value::Int(3)),
            ("words", Value::Text("a b; rm".into())),
        ]);
        let scope = Scope::from([("inputs", inputs), ("labels", Value::Map(BTreeMap::new()))]);
        let rendered = Templates::new(Tree::unavailable("nothing is filled in yet")).render(
            text,
            kind,
            &Context::new(&scope),
        );
        rendered.map_err(|error| error.message)
    }

    #[test]
    fn a_text_is_filled_in() {
        let text = "install {{ inputs.os }}{% if inputs.check %} --check{% endif %} -n{{ inputs.count }}\n";
        assert_eq!(render(text, Kind::Command).unwrap(), "install 4.2.1 --check -n3\n");
        let text = "${#list[@]} {% raw %}{{ .Names }}{% endraw %} {{ inputs.words | upper }}";
        assert_eq!(render(text, Kind::Plain).unwrap(), "${#list[@]} {{ .Names }} A B; RM");
        assert_eq!(render("{{ labels.x | default('none') }}", Kind::Plain).unwrap(), "none");
    }

    #[test]
    fn nothing_in_a_command_becomes_code() {
        let error = render("install {{ inputs.words }}", Kind::Command).unwrap_err();
        assert_eq!(error, "`inputs.words` holds ' ', which the shell would take as code");
        assert!(render("{{ '$(date)' }}", Kind::Command).is_err());
        assert!(render("{{ inputs }}", Kind::Command).is_err());
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let error = render("{{ labels.x }}", Kind::Plain).unwrap_err();
        assert_eq!(error, "`labels.x` is not there");
        assert!(render("{% if labels.x %}{% endif %}", Kind::Plain).is_err());
    }

    #[test]
    fn no_small_text_costs_much() {
        let templates = Templates::new(Tree::unavailable("nothing is filled in yet"));
        let check = |text: &str| templates.check(text, &Names::new()).unwrap_err().message;
        assert_eq!(check("{% set x = 'a' %}"), "there is no statement `set` here");
        assert_eq!(check("{%- macro x() %}"), "there is no statement `macro` here");
        let loops = "{% for a in 'aaaaaaaaaaaaaaaaaaaaaaaaa' %}".repeat(8);
        let text = format!("{loops}x{}", "{% endfor %}".repeat(8));
        assert_eq!(
            render(&text, Kind::Plain).unwrap_err(),
            "this text takes too much work to fill in"
        );
        assert!(render("{{ 'aaaaaaaaaa' * 1000000 }}", Kind::Plain).is_err());
    }
}
