//! By what means a job runs: `container`, `ssh`, `process`, `render`, or as another `pipeline`; that it
//! waits for people: `gate`; or that it only waits.

use super::call::call;
use super::{gate, render, secrets, timeout, yes_or_no};
use crate::ast::{Container, Image, Ssh, Task, Text};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::image;
use crate::keys;
use crate::plan::{Network, Pull};
use crate::source::{Span, Spanned};
use crate::template;
use crate::user;
use crate::yaml::{Entry, Node, Value};

const TASK_HELP: &str = "write one of `container: {}`, `ssh: { device: leaf01 }`, `process: {}`, `gate: {}`, \
                         `pipeline: .garrison/other.yaml`";

pub(super) const GATE: &str = "gate";

/// Kinds of jobs that run no script.
pub(super) const WITHOUT_SCRIPT: &[&str] = &[GATE, "pipeline", "render"];

pub(super) const WITH_SCRIPT: &[&str] = &["container", "ssh", "process"];

pub(crate) const PULL: &[(&str, Pull)] =
    &[("if-missing", Pull::IfMissing), ("always", Pull::Always), ("never", Pull::Never)];

pub(crate) const NETWORK: &[(&str, Network)] =
    &[("bridge", Network::Bridge), ("host", Network::Host), ("none", Network::None)];

/// The one task of a job.
pub(super) fn task(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    of: &str,
) -> Option<Spanned<Task>> {
    let container = fields.entry("container").map(|entry| (entry, container(report, entry)));
    let of_each = fields.entry("devices").is_some();
    let ssh = fields.entry("ssh").map(|entry| (entry, ssh(report, entry, of_each)));
    let process = fields.entry("process").map(|entry| (entry, process(report, entry)));
    let render = fields.entry("render").map(|entry| (entry, render::render(report, entry)));
    let gate = fields.entry(GATE).map(|entry| (entry, gate::gate(report, entry)));
    let pipeline = fields.entry("pipeline");
    let pipeline = pipeline.map(|entry| (entry, call(report, entry).map(Task::Pipeline)));
    let tasks = [container, ssh, process, render, gate, pipeline];
    let mut tasks: Vec<_> = tasks.into_iter().flatten().collect();
    tasks.sort_by_key(|(entry, _)| entry.key.span);
    match tasks.as_mut_slice() {
        [] if fields.has_refused(WITH_SCRIPT) || fields.has_refused(WITHOUT_SCRIPT) => None,
        [] if fields.entry("run").is_none() && fields.entry("wait").is_some() => {
            fields.entry("wait").map(|entry| Spanned::new(Task::Wait, entry.key.span))
        }
        [] => {
            let message = format!(
                "{of} does nothing: it has no `container`, `ssh`, `process`, `gate` or `pipeline`"
            );
            report.error(Code::NotOneTask, fields.owner, message, TASK_HELP);
            None
        }
        [(entry, task)] => task.take().map(|task| Spanned::new(task, entry.key.span)),
        [(first, _), more @ ..] => {
            for (entry, _) in more {
                let (one, other) = (quoted(&first.key.text), quoted(&entry.key.text));
                let message = format!("{of} has both {one} and {other}");
                let help = "keep one of them, and make a second job for the other";
                report.error(Code::NotOneTask, entry.key.span, message, help);
            }
            None
        }
    }
}

fn process(report: &mut Report<'_>, entry: &Entry) -> Option<Task> {
    report.fields_or_none(&entry.value, entry.key.span, &keys::PROCESS)?;
    Some(Task::Process)
}

fn container(report: &mut Report<'_>, entry: &Entry) -> Option<Task> {
    if let Value::Str(_) = entry.value.value {
        return Some(Task::Container(Container {
            image: named(image(report, &entry.value)),
            ..Container::default()
        }));
    }
    let fields = report.fields_or_none(&entry.value, entry.key.span, &keys::CONTAINER)?;
    let image = fields.node("image").map(|node| named(image(report, node)));
    Some(Task::Container(Container {
        image: image.unwrap_or_default(),
        pull: fields.node("pull").and_then(|node| report.choice(node, "`pull`", PULL)),
        network: fields.node("network").and_then(|node| report.choice(node, "`network`", NETWORK)),
    }))
}

fn named(image: Option<Text>) -> Image {
    image.map_or(Image::Unusable, Image::Named)
}

/// An image reference, which may be a template.
pub(super) fn image(report: &mut Report<'_>, node: &Node) -> Option<Text> {
    let text = report.text(node, "`image`", image::HELP)?;
    if template::is_template(text) {
        return Some(Spanned::new(text.to_owned(), node.span));
    }
    match image::reference(text) {
        Ok(reference) => Some(Spanned::new(reference, node.span)),
        Err(reason) => {
            let message = format!("{} cannot be an image: {reason}", quoted(text));
            report.error(Code::InvalidImage, node.span, message, image::HELP);
            None
        }
    }
}

fn ssh(report: &mut Report<'_>, entry: &Entry, of_each: bool) -> Option<Task> {
    let help = "name a device of the partition's inventory: `ssh: { device: leaf01 }`";
    let span: Span = entry.key.span;
    let fields = if of_each {
        report.fields_or_none(&entry.value, span, &keys::SSH)?
    } else {
        report.entries(&entry.value, "`ssh`", help)?;
        report.fields(&entry.value, span, &keys::SSH)?
    };
    let device = match fields.entry("device") {
        Some(entry) if of_each => {
            let message = "the job runs for each of its `devices`, and `ssh` names one";
            let help = "remove the one or the other";
            report.error(Code::InvalidDevices, entry.key.span, message, help);
            None
        }
        None if of_each => None,
        Some(entry) => report.name(&entry.value, "the device's name"),
        None => {
            report.required(&fields, "device", "`ssh`", help);
            None
        }
    };
    let user = fields.node("user").and_then(|node| user::read(report, node, "`user`"));
    Some(Task::Ssh(Ssh {
        device,
        user,
        key: fields.node("key").and_then(|node| secrets::name(report, node, "`key`")),
        sudo: fields.node("sudo").and_then(|node| sudo(report, node)),
        pty: fields.node("pty").and_then(|node| yes_or_no(report, node, "`pty`")).unwrap_or(false),
        timeout_s: fields.node("timeout").and_then(|node| timeout(report, node)),
    }))
}

/// The user that the script runs as: `true` stands for root, `false` for none.
fn sudo(report: &mut Report<'_>, node: &Node) -> Option<Spanned<String>> {
    let user = match &node.value {
        Value::Bool(written) if written.value => Some("root".to_owned()),
        Value::Bool(_) => None,
        _ => user::read(report, node, "`sudo`"),
    };
    user.map(|user| Spanned::new(user, node.span))
}
