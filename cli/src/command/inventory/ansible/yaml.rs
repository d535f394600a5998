//! Inventories and files of variables in YAML.

use std::collections::BTreeSet;
use std::rc::Rc;

use pipelines::diagnostic::{Code, Diagnostics, Severity, quoted};
use pipelines::source::{File, Position, Source, Span};
use pipelines::yaml::{self, Entry, Key, Node, Value};

use super::{Ansible, Findings, Place, Var, Vars, content};

/// A file that was read.
pub(super) struct Document {
    source: Rc<Source>,
    root: Node,
    /// Where values with a tag begin.
    tagged: BTreeSet<Position>,
}

impl Document {
    /// Reads a file; what is wrong with it is told. An empty file is none.
    pub(super) fn read(file: &File, findings: &mut Findings) -> Option<Document> {
        let mut found = Diagnostics::default();
        let document = yaml::read(file, &mut found);
        let mut tagged = BTreeSet::new();
        for mut one in found.iter().cloned() {
            match one.code {
                Code::Tag => drop(tagged.insert(one.span.start)),
                Code::EmptyFile => {}
                Code::MergeKey => {
                    one.severity = Severity::Warning;
                    one.message = "what `<<` merges here is left out".to_owned();
                    one.code = Code::AnsibleLeftOut;
                    findings.0.push(one);
                }
                _ => findings.0.push(one),
            }
        }
        let yaml::Document { source, root } = document?;
        Some(Document { source: Rc::new(source), root, tagged })
    }

    /// Reads a file of JSON, whose values have no places.
    pub(super) fn read_json(file: &File, findings: &mut Findings) -> Option<Document> {
        let source = Rc::new(Source::new(&file.name, ""));
        match serde_json::from_slice(&file.bytes) {
            Ok(value) => Some(Document { source, root: node(value), tagged: BTreeSet::new() }),
            Err(error) => {
                let place = Place { source, span: Span::START };
                let message = format!("the file is not JSON: {error}");
                findings.error(Code::AnsibleUnreadable, &place, message, "correct it");
                None
            }
        }
    }

    /// Whether it can be an inventory at all.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.root.value, Value::Map(_))
    }

    fn place(&self, span: Span) -> Place {
        Place { source: Rc::clone(&self.source), span }
    }
}

/// Adds what an inventory says: groups by name.
pub(super) fn read(document: &Document, ansible: &mut Ansible, findings: &mut Findings) {
    let groups = mapping(document, &document.root, "an inventory", findings).unwrap_or_default();
    if let Some(plugin) = groups.iter().find(|entry| entry.key.text == "plugin") {
        let message = "this configures a plugin of Ansible, and lists no hosts";
        let help = "save what `ansible-inventory --list --yaml -i FILE` says, and import that";
        findings.error(Code::AnsibleUnreadable, &document.place(plugin.key.span), message, help);
        return;
    }
    for entry in groups {
        group(document, entry, ansible, findings);
    }
}

/// Variables of a file of them.
pub(super) fn vars(document: &Document, findings: &mut Findings) -> Vars {
    let entries = mapping(document, &document.root, "a file of variables", findings);
    variables(document, entries.unwrap_or_default())
}

fn group(document: &Document, entry: &Entry, ansible: &mut Ansible, findings: &mut Findings) {
    let Entry { key: Key { text: name, span }, value } = entry;
    let place = document.place(*span);
    if !matches!(value.value, Value::Map(_) | Value::Null) {
        let message = format!("{} is left out: it is no group", quoted(name));
        let help = "a group is a mapping with `hosts`, `children` and `vars`";
        findings.warning(Code::AnsibleLeftOut, &place, message, help);
        return;
    }
    ansible.group(name, &place);
    for Entry { key, value } in entries(value) {
        match key.text.as_str() {
            "vars" => {
                let listed = section(document, value, "`vars`", findings);
                for (var, value) in variables(document, &listed) {
                    ansible.set(name, &var, value);
                }
            }
            "children" => {
                for child in section(document, value, "`children`", findings) {
                    group(document, &child, ansible, findings);
                    let place = document.place(child.key.span);
                    if ansible.groups.contains_key(&child.key.text) {
                        ansible.add_child(name, &child.key.text, &place, findings);
                    }
                }
            }
            "hosts" => {
                for host in section(document, value, "`hosts`", findings) {
                    let place = document.place(host.key.span);
                    let listed = section(document, &host.value, "a host", findings);
                    let vars = variables(document, &listed);
                    content::add_hosts(&host.key.text, name, &place, vars, ansible, findings);
                }
            }
            other => {
                let message =
                    format!("{} of the group {} is left out", quoted(other), quoted(name));
                let help = "Ansible knows `hosts`, `children` and `vars` there";
                findings.warning(Code::AnsibleLeftOut, &document.place(key.span), message, help);
            }
        }
    }
}

/// A mapping within a group; nothing, and a single name, are some too.
fn section(document: &Document, node: &Node, what: &str, findings: &mut Findings) -> Vec<Entry> {
    match &node.value {
        Value::Null => Vec::new(),
        Value::Str(name) if what != "a host" => {
            let key = Key { span: node.span, text: name.clone() };
            vec![Entry { key, value: Node { span: node.span, value: Value::Null } }]
        }
        _ => mapping(document, node, what, findings).unwrap_or_default().to_vec(),
    }
}

fn mapping<'n>(
    document: &Document,
    node: &'n Node,
    what: &str,
    findings: &mut Findings,
) -> Option<&'n [Entry]> {
    if let Value::Map(entries) = &node.value {
        return Some(entries);
    }
    let message = format!("{what} must be a mapping");
    let help = "write `NAME: VALUE` lines";
    findings.error(Code::AnsibleUnreadable, &document.place(node.span), message, help);
    None
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn variables(document: &Document, entries: &[Entry]) -> Vars {
    let var = |Entry { key, value }: &Entry| {
        let place = document.place(key.span);
        (key.text.clone(), Var { value: content::of_node(value, &document.tagged), place })
    };
    entries.iter().map(var).collect()
}

/// JSON as a tree of YAML.
fn node(value: serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::String(text) => Value::Str(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(node).collect()),
        serde_json::Value::Object(map) => Value::Map(
            map.into_iter()
                .map(|(text, value)| Entry {
                    key: Key { span: Span::START, text },
                    value: node(value),
                })
                .collect(),
        ),
        other => Value::Str(other.to_string()),
    };
    Node { span: Span::START, value }
}
