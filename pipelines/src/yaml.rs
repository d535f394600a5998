//! A small strict YAML tree that knows where everything stands.
//!
//! YAML 1.2 with the core schema: `true` and `false` are booleans, `on`, `yes` and `no` are text.
//! Anchors work. Duplicate keys, merge keys, tags and several documents are refused. Everything is
//! bounded by [`crate::limits`], so that no file costs more than a fraction of a second.

mod build;
mod position;
mod scalar;
mod syntax;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Report};
use crate::limits;
use crate::source::{File, FileIndex, Source, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From its first character to behind its last; of an alias, where the anchor stands.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(Written<bool>),
    /// A whole number.
    Int(Written<i64>),
    /// Any other number.
    Float(Written<f64>),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file; no key stands in it twice.
    Map(Vec<Entry>),
}

/// A value and how it was written: `1.10` is not the same version as `1.1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// The same, as it stands in the file.
    pub text: String,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Node,
}

/// A key; always text, whatever it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// What it says.
    pub text: String,
}

/// A file that could be read as YAML.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its text.
    pub source: Source,
    /// What it holds; never null.
    pub root: Node,
}

impl Value {
    /// A scalar as it is written; none for null, lists and mappings.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Value::Bool(Written { text, .. })
            | Value::Int(Written { text, .. })
            | Value::Float(Written { text, .. })
            | Value::Str(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl Node {
    /// How many nodes it is, with itself and keys.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::size).sum::<usize>(),
            Value::Map(entries) => entries.iter().map(|entry| 1 + entry.value.size()).sum(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => 0,
        }
    }

    /// Makes it a node of the file with that index.
    pub(crate) fn mark(&mut self, file: FileIndex) {
        self.span.file = file;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.mark(file)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.key.span.file = file;
                entry.value.mark(file);
            }),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
        }
    }
}

/// Puts entries into others: a mapping into a mapping, everything else in its place.
pub(crate) fn merge(into: &mut Vec<Entry>, entries: Vec<Entry>) {
    for entry in entries {
        let Some(there) = into.iter_mut().find(|it| it.key.text == entry.key.text) else {
            into.push(entry);
            continue;
        };
        match (&mut there.value.value, entry.value.value) {
            (Value::Map(old), Value::Map(new)) => merge(old, new),
            (_, value) => {
                let value = Node { span: entry.value.span, value };
                *there = Entry { key: entry.key, value };
            }
        }
    }
}

/// Reads a file as YAML.
///
/// With mistakes that leave the rest readable (a duplicate key, a tag) there are both a document
/// and diagnostics; it then lacks what was refused.
pub fn read(file: &File, found: &mut Diagnostics) -> Option<Document> {
    let source = Source::new(&file.name, text(file, found)?);
    let mut report = Report::new(&source, found);
    if let Some(span) = position::first_nul(&source) {
        let message = "the file holds a NUL character";
        report.error(Code::NulCharacter, span, message, "save it as plain UTF-8 text");
        return None;
    }
    let root = build::tree(&mut report)?;
    Some(Document { source, root })
}

fn text<'f>(file: &'f File, found: &mut Diagnostics) -> Option<&'f str> {
    let mut refuse = |code, message: String, help: &str| {
        let refused = Diagnostic::about_file(code, &file.name, message);
        found.push(Diagnostic { help: Some(help.to_owned()), ..refused });
    };
    let size = file.bytes.len();
    if size > limits::FILE_BYTES {
        let message = format!("the file has {size} bytes; at most {} fit", limits::FILE_BYTES);
        refuse(Code::FileTooLarge, message, "move long scripts into files of their own");
        return None;
    }
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = &file.bytes[..error.valid_up_to()];
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let message = format!("the file is not UTF-8: the first wrong byte is in line {line}");
            refuse(Code::NotUtf8, message, "save it as UTF-8");
            None
        }
    }
}
