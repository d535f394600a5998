//! Inventories in INI form.

use std::collections::BTreeSet;
use std::rc::Rc;

use pipelines::diagnostic::{Code, quoted};
use pipelines::source::{Source, Span};

use super::{Ansible, Findings, OWN, Place, Var, Vars, content, literal, words};
use crate::command::inventory::lines::lines;

/// A section: lines of one kind about one group.
struct Section<'t> {
    group: &'t str,
    kind: Kind,
    place: Place,
    lines: Vec<(Place, &'t str)>,
}

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hosts,
    Children,
    Vars,
}

/// Adds what a file says.
pub(super) fn read(source: &Rc<Source>, ansible: &mut Ansible, findings: &mut Findings) {
    let sections = sections(source, findings);
    let declares = |section: &&Section<'_>| section.kind != Kind::Vars;
    let declared: BTreeSet<&str> =
        sections.iter().filter(declares).map(|section| section.group).chain(OWN).collect();
    for name in &declared {
        let named = sections.iter().find(|section| section.group == *name);
        named.map(|section| ansible.group(name, &section.place));
    }
    for section in &sections {
        if section.kind == Kind::Vars && !ansible.groups.contains_key(section.group) {
            undeclared(section.group, &section.place, findings);
            continue;
        }
        for (place, line) in &section.lines {
            match section.kind {
                Kind::Hosts => hosts(line, section.group, place, ansible, findings),
                Kind::Vars => variable(line, section.group, place, ansible, findings),
                Kind::Children => child(line, section.group, place, ansible, findings),
            }
        }
    }
}

/// The file's sections; lines before the first are hosts of no group.
fn sections<'t>(source: &'t Rc<Source>, findings: &mut Findings) -> Vec<Section<'t>> {
    let mut sections = Vec::new();
    let start = Place { source: Rc::clone(source), span: Span::START };
    let mut section =
        Section { group: "ungrouped", kind: Kind::Hosts, place: start, lines: Vec::new() };
    for (span, line) in lines(source.text()) {
        if line.starts_with(';') {
            continue;
        }
        let place = Place { source: Rc::clone(source), span };
        if let Some((group, kind)) = header(line) {
            let kind = match kind {
                None | Some("hosts") => Kind::Hosts,
                Some("children") => Kind::Children,
                Some("vars") => Kind::Vars,
                Some(other) => {
                    let message = format!("there are no sections of the kind {}", quoted(other));
                    let help = "write `[GROUP]`, `[GROUP:children]` or `[GROUP:vars]`";
                    findings.error(Code::AnsibleUnreadable, &place, message, help);
                    continue;
                }
            };
            let next = Section { group, kind, place, lines: Vec::new() };
            sections.push(std::mem::replace(&mut section, next));
        } else if line.starts_with('[') && line.ends_with(']') {
            let help = "write `[GROUP]`, `[GROUP:children]` or `[GROUP:vars]`, without spaces";
            findings.error(Code::AnsibleUnreadable, &place, "this is no section", help);
        } else {
            section.lines.push((place, line));
        }
    }
    sections.push(section);
    sections
}

/// Group and kind of a section's first line.
fn header(line: &str) -> Option<(&str, Option<&str>)> {
    let (inner, behind) = line.strip_prefix('[')?.split_once(']')?;
    let behind = behind.trim_start();
    if !behind.is_empty() && !behind.starts_with('#') {
        return None;
    }
    let (group, kind) = match inner.split_once(':') {
        Some((group, kind)) => (group, Some(kind)),
        None => (inner, None),
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_name = !group.is_empty() && !group.contains(char::is_whitespace);
    let is_kind = kind.is_none_or(|kind| !kind.is_empty() && kind.chars().all(is_word));
    (is_name && is_kind).then_some((group, kind))
}

/// A line of hosts: a pattern, and variables of each of them.
fn hosts(line: &str, group: &str, place: &Place, ansible: &mut Ansible, findings: &mut Findings) {
    let words = match words::split(line) {
        Ok(words) => words,
        Err(error) => {
            let message = format!("this line cannot be read: {error}");
            findings.error(Code::AnsibleUnreadable, place, message, "correct it");
            return;
        }
    };
    let Some((pattern, settings)) = words.split_first() else { return };
    let mut vars = Vars::new();
    for setting in settings {
        match setting.split_once('=') {
            Some((name, value)) => {
                vars.insert(name.to_owned(), var(value, place));
            }
            None => {
                let message = format!("{} behind the host is no variable", quoted(setting));
                let help = "write `NAME=VALUE`, and a value with spaces in quotes";
                findings.error(Code::AnsibleUnreadable, place, message, help);
            }
        }
    }
    content::add_hosts(pattern, group, place, vars, ansible, findings);
}

/// A line of variables: a name, and all behind its `=`.
fn variable(
    line: &str,
    group: &str,
    place: &Place,
    ansible: &mut Ansible,
    findings: &mut Findings,
) {
    match line.split_once('=') {
        Some((name, value)) => ansible.set(group, name.trim(), var(value.trim(), place)),
        None => {
            let message = "this line is no variable";
            findings.error(Code::AnsibleUnreadable, place, message, "write `NAME=VALUE`");
        }
    }
}

/// A line of groups: one name.
fn child(line: &str, parent: &str, place: &Place, ansible: &mut Ansible, findings: &mut Findings) {
    let name = line.split('#').next().unwrap_or_default().trim_end();
    if name.is_empty() || name.contains([':', ']', ' ', '\t']) {
        let help = "write one name a line";
        findings.error(Code::AnsibleUnreadable, place, "this is no group's name", help);
    } else if ansible.groups.contains_key(name) {
        ansible.add_child(parent, name, place, findings);
    } else {
        undeclared(name, place, findings);
    }
}

fn undeclared(group: &str, place: &Place, findings: &mut Findings) {
    let message = format!("there is no group {}", quoted(group));
    let help = format!("correct the name, or add a section `[{group}]`");
    findings.error(Code::AnsibleUnreadable, place, message, help);
}

fn var(written: &str, place: &Place) -> Var {
    let value = literal::value(written).and_then(content::text);
    Var { value, place: place.clone() }
}
