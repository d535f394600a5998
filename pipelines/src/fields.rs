//! Typed access to YAML nodes. Whatever is not as expected becomes a diagnostic, and reading goes
//! on, so that all mistakes of a file are reported at once.

use std::fmt::Display;
use std::str::FromStr;

use crate::diagnostic::{Code, Report, quoted};
use crate::foreign;
use crate::keys::Place;
use crate::name;
use crate::source::{Span, Spanned};
use crate::suggest;
use crate::yaml::{Entry, Node, Value};

/// A mapping, and which of its keys are known.
pub(crate) struct Fields<'n> {
    /// Where the mapping's owner is named: the key in front of it.
    pub(crate) owner: Span,
    entries: Vec<&'n Entry>,
    /// Keys that were refused: a planned one as it is, a misspelt one as it was probably meant.
    refused: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().copied().find(|entry| entry.key.text == key)
    }

    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entries that have none of these keys.
    pub(crate) fn others(&self, keys: &[&str]) -> impl Iterator<Item = &'n Entry> {
        let is_other = |entry: &&Entry| !keys.contains(&entry.key.text.as_str());
        self.entries.iter().copied().filter(is_other)
    }

    /// Takes out all but these keys.
    pub(crate) fn take_others(&mut self, keys: &[&str]) -> Vec<&'n Entry> {
        let entries = std::mem::take(&mut self.entries);
        let (kept, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| keys.contains(&entry.key.text.as_str()));
        self.entries = kept;
        others
    }

    /// Whether one of these keys was meant and refused, so that its absence need not be reported.
    pub(crate) fn has_refused(&self, keys: &[&str]) -> bool {
        self.refused.iter().any(|refused| keys.contains(refused))
    }
}

impl Report<'_> {
    /// A mapping with the keys of `place`; unknown and planned keys are reported and left out.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        owner: Span,
        place: &Place,
    ) -> Option<Fields<'n>> {
        let entries = self.entries(node, place.title, &example_of(place))?;
        let mut fields = Fields { owner, entries: Vec::new(), refused: Vec::new() };
        for entry in entries {
            if place.keys.contains(&entry.key.text.as_str()) {
                fields.entries.push(entry);
            } else {
                fields.refused.extend(self.refuse(entry, place));
            }
        }
        Some(fields)
    }

    /// As [`Report::fields`], where nothing at all means an empty mapping.
    pub(crate) fn fields_or_none<'n>(
        &mut self,
        node: &'n Node,
        owner: Span,
        place: &Place,
    ) -> Option<Fields<'n>> {
        match node.value {
            Value::Null => Some(Fields { owner, entries: Vec::new(), refused: Vec::new() }),
            _ => self.fields(node, owner, place),
        }
    }

    /// A mapping whose keys are names that the user gives.
    pub(crate) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        help: &str,
    ) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => self.wrong_type(node, what, "a mapping", help),
        }
    }

    /// The entry of a key that must be there.
    pub(crate) fn required<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        of: &str,
        help: &str,
    ) -> Option<&'n Entry> {
        let entry = fields.entry(key);
        if entry.is_none() && !fields.has_refused(&[key]) {
            let message = format!("{of} lacks {}", quoted(key));
            self.error(Code::MissingKey, fields.owner, message, help);
        }
        entry
    }

    pub(crate) fn list<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        help: &str,
    ) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.error(Code::Empty, node.span, format!("{what} is an empty list"), help);
                None
            }
            Value::List(items) => Some(items),
            _ => self.wrong_type(node, what, "a list", help),
        }
    }

    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str, help: &str) -> Option<&'n str> {
        match &node.value {
            Value::Str(text) => Some(text),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let written = node.value.scalar().unwrap_or_default();
                let help = format!("put it into quotes if it is meant as text: \"{written}\"");
                self.wrong_type(node, what, "text", &help)
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, what, "text", help)
            }
        }
    }

    /// A name; one that YAML takes for a number is a name all the same.
    pub(crate) fn name<T>(&mut self, node: &Node, what: &str) -> Option<Spanned<T>>
    where
        T: FromStr<Err = name::Error>,
    {
        match node.value.scalar() {
            Some(text) => self.name_of(text, node.span, what),
            None => self.wrong_type(node, what, "a name", "write a name such as `fra-equ01`"),
        }
    }

    pub(crate) fn name_of<T>(&mut self, text: &str, span: Span, what: &str) -> Option<Spanned<T>>
    where
        T: FromStr<Err = name::Error>,
    {
        match text.parse() {
            Ok(name) => Some(Spanned::new(name, span)),
            Err(error) => {
                let message = format!("{what} {} cannot be used: it {error}", quoted(text));
                self.error(Code::InvalidName, span, message, name_help(text));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let possible = words.iter().copied().map(quoted).collect::<Vec<_>>().join(", ");
        let text = self.text(node, what, &format!("write one of {possible}"))?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let message = format!("{what} cannot be {}", quoted(text));
        let help = suggest::advice(text, words, "possible are");
        self.error(Code::UnknownChoice, node.span, message, help);
        None
    }

    /// A scalar that `read` understands as it is written.
    pub(crate) fn scalar<T, E: Display>(
        &mut self,
        node: &Node,
        what: &str,
        code: Code,
        help: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let Some(text) = node.value.scalar() else {
            return self.wrong_type(node, what, "a single value", help);
        };
        match read(text) {
            Ok(value) => Some(Spanned::new(value, node.span)),
            Err(error) => {
                let message = format!("{what} cannot be {}: {error}", quoted(text));
                self.error(code, node.span, message, help);
                None
            }
        }
    }

    pub(crate) fn wrong_type<T>(
        &mut self,
        node: &Node,
        what: &str,
        wanted: &str,
        help: &str,
    ) -> Option<T> {
        let message = format!("{what} must be {wanted}, but this is {}", kind(&node.value));
        self.error(Code::WrongType, node.span, message, help);
        None
    }

    /// Reports a key that does not work at `place`; returns the key that was meant, if one is.
    fn refuse(&mut self, entry: &Entry, place: &Place) -> Option<&'static str> {
        let key = entry.key.text.as_str();
        if let Some((planned, meanwhile)) = place.planned.iter().find(|(name, _)| *name == key) {
            let message = format!(
                "{} in {} is planned, but this version does not execute it yet",
                quoted(key),
                place.title
            );
            self.error(Code::PlannedKey, entry.key.span, message, *meanwhile);
            return Some(planned);
        }
        let message = format!("unknown key {} in {}", quoted(key), place.title);
        let help = if self.is_full() { String::new() } else { unknown_key_help(key, place) };
        self.error(Code::UnknownKey, entry.key.span, message, help);
        foreign::stands_for(key).or_else(|| suggest::nearest(key, place.keys.iter().copied()))
    }
}

fn unknown_key_help(key: &str, place: &Place) -> String {
    if let Some(advice) = foreign::advice(place.title, key) {
        return advice.to_owned();
    }
    let keys = place.keys.iter().copied();
    if let Some(elsewhere) = place.elsewhere(key) {
        return format!("{} belongs in {}", quoted(key), elsewhere.title);
    }
    if keys.len() == 0 {
        return format!("{} takes no keys: remove it", place.title);
    }
    suggest::advice(key, keys, &format!("the keys of {} are", place.title))
}

fn example_of(place: &Place) -> String {
    match place.keys {
        [] => "write `{}`".to_owned(),
        keys => {
            let keys: Vec<_> = keys.iter().copied().map(quoted).collect();
            format!(
                "write `key: value` lines; the keys of {} are: {}",
                place.title,
                keys.join(", ")
            )
        }
    }
}

fn name_help(text: &str) -> String {
    let mut better = String::new();
    for c in text.chars().take(name::MAX_LEN) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => better.push(c),
            _ if better.ends_with('-') || better.is_empty() => {}
            _ => better.push('-'),
        }
    }
    match better.trim_end_matches('-') {
        "" => "write a name such as `fra-equ01`".to_owned(),
        better => format!("write {} for example", quoted(better)),
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(written) => quoted(&written.text),
        Value::Int(written) => format!("the number {}", written.text),
        Value::Float(written) => format!("the number {}", quoted(&written.text)),
        Value::Str(_) => "text".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}
