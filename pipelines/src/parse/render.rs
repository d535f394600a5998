//! `render`: a file that is made of a template of the commit.

use crate::ast::{Render, Task, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::probe;
use crate::source::Spanned;
use crate::template::is_template;
use crate::yaml::{Entry, Node};

const HELP: &str = "write a template of the commit and the file to make of it: `render: { template: \
                    firewall.conf.j2, to: out/firewall.conf }`";

const PATH_HELP: &str = "write a path below the working directory, such as `out/firewall.conf`";

/// Reads a job's `render`.
pub(super) fn render(report: &mut Report<'_>, entry: &Entry) -> Option<Task> {
    report.entries(&entry.value, "`render`", HELP)?;
    let fields = report.fields(&entry.value, entry.key.span, &keys::RENDER)?;
    let template = report.required(&fields, "template", "`render`", HELP);
    let template = template.and_then(|entry| path(report, &entry.value, "`template`"));
    let to = report.required(&fields, "to", "`render`", HELP);
    let to = to.and_then(|entry| path(report, &entry.value, "`to`"));
    Some(Task::Render(Render { template: template?, to: to? }))
}

fn path(report: &mut Report<'_>, node: &Node, what: &str) -> Option<Text> {
    let text = report.text(node, what, PATH_HELP)?;
    let text = Spanned::new(text.to_owned(), node.span);
    (is_template(&text.value) || check_path(report, &text.value, &text)).then_some(text)
}

/// Whether `filled` names one file, as which `written` was filled in; reported if not.
pub(crate) fn check_path(report: &mut Report<'_>, filled: &str, written: &Text) -> bool {
    // What is left is found as an artifact, by a pattern.
    let is_of_patterns = |c: char| "*?[]{}\\".contains(c);
    let checked = match filled.contains(is_of_patterns) {
        true => Err("it holds a character of patterns"),
        false => probe::check_path(filled),
    };
    let Err(reason) = checked else { return true };
    let message = format!("{} cannot be the path of a file: {reason}", quoted(filled));
    report.error(Code::InvalidRender, written.span, message, PATH_HELP);
    false
}
