//! `templates` and `extends`: jobs that share what they have in common.
//!
//! It is done on the YAML tree, before anything is read: a job that extends a template is the
//! template's mapping with its own keys in it, mapping in mapping; everything else it replaces. What
//! came from a template keeps its place there, so that a mistake is told where it was written.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::limits;
use crate::suggest;
use crate::yaml::{Entry, Node, Value, merge};

const TEMPLATES_HELP: &str = "write a mapping from each template's name to keys of a job";

const EXTENDS_HELP: &str = "name a template, or list them: `extends: [base, leaf]`";

/// Templates by name.
type Templates<'n> = BTreeMap<&'n str, &'n Entry>;

/// The root with its jobs extended, and without `templates`.
pub(crate) fn resolve(mut root: Node, report: &mut Report<'_>) -> Node {
    let Value::Map(entries) = &mut root.value else { return root };
    let templates = entries.iter().position(|entry| entry.key.text == "templates");
    let templates = templates.map(|index| entries.remove(index));
    let templates = match &templates {
        Some(entry) => report.entries(&entry.value, "`templates`", TEMPLATES_HELP),
        None => None,
    };
    let templates: Templates<'_> =
        templates.unwrap_or_default().iter().map(|it| (it.key.text.as_str(), it)).collect();
    for template in templates.values() {
        // Also a template that no job uses says what is wrong with it.
        report.fields(&template.value, template.key.span, &keys::JOB);
    }
    let mut extender = Extender { templates, left: limits::NODES, is_spent: false };
    let jobs = entries.iter_mut().find(|entry| entry.key.text == "jobs");
    if let Some(Entry { value: Node { value: Value::Map(jobs), .. }, .. }) = jobs {
        for job in jobs {
            let extended = extender.extended(&job.value, &mut Vec::new(), report);
            job.value = extended.unwrap_or_else(|| job.value.clone());
        }
    }
    root
}

struct Extender<'n> {
    templates: Templates<'n>,
    /// How many nodes templates may still add.
    left: usize,
    is_spent: bool,
}

impl<'n> Extender<'n> {
    /// The job or template with what it extends; none if it extends nothing.
    fn extended(
        &mut self,
        node: &Node,
        path: &mut Vec<&'n str>,
        report: &mut Report<'_>,
    ) -> Option<Node> {
        let Value::Map(entries) = &node.value else { return None };
        let extends = entries.iter().find(|entry| entry.key.text == "extends")?;
        let named = match &extends.value.value {
            Value::List(_) => report.list(&extends.value, "`extends`", EXTENDS_HELP)?,
            _ => std::slice::from_ref(&extends.value),
        };
        let mut merged: Vec<Entry> = Vec::new();
        for name in named {
            let Some(template) = self.template(name, path, report) else { continue };
            path.push(template.key.text.as_str());
            let extended = self.extended(&template.value, path, report);
            path.pop();
            let Value::Map(base) =
                extended.map_or_else(|| template.value.value.clone(), |it| it.value)
            else {
                continue;
            };
            self.spend(&base, name, report)?;
            merge(&mut merged, base);
        }
        let own = entries.iter().filter(|entry| entry.key.text != "extends");
        merge(&mut merged, own.cloned().collect());
        Some(Node { span: node.span, value: Value::Map(merged) })
    }

    fn template(
        &self,
        name: &Node,
        path: &[&'n str],
        report: &mut Report<'_>,
    ) -> Option<&'n Entry> {
        let text = report.text(name, "the template's name", EXTENDS_HELP)?;
        let Some(template) = self.templates.get(text).copied() else {
            let message = format!("there is no template {}", quoted(text));
            let known = self.templates.keys().copied();
            let help = match self.templates.is_empty() {
                true => "add it under `templates` at the top of the file".to_owned(),
                false => suggest::advice(text, known, "the templates are"),
            };
            report.error(Code::UnknownTemplate, name.span, message, help);
            return None;
        };
        if path.contains(&text) {
            let path: Vec<_> = path.iter().map(|name| quoted(name)).collect();
            let message = format!(
                "these templates extend each other: {} → {}",
                path.join(" → "),
                quoted(text)
            );
            report.error(Code::TemplateCycle, name.span, message, "remove one of these `extends`");
            return None;
        }
        Some(template)
    }

    /// Counts what a template adds; none if it is too much.
    fn spend(&mut self, base: &[Entry], name: &Node, report: &mut Report<'_>) -> Option<()> {
        let size = base.iter().map(|entry| entry.value.size()).sum();
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => {
                if !std::mem::replace(&mut self.is_spent, true) {
                    let message = format!(
                        "the file holds more than {} values with its templates",
                        limits::NODES
                    );
                    let help = "write smaller templates, or several pipelines";
                    report.error(Code::TooManyNodes, name.span, message, help);
                }
                return None;
            }
        }
        Some(())
    }
}
