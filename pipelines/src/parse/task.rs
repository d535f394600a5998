//! By what means a job runs: `container`, `ssh` or `process`.

use crate::ast::{Container, Image, Ssh, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::limits;
use crate::plan::{Network, Pull};
use crate::quantity;
use crate::source::{Span, Spanned};
use crate::user;
use crate::yaml::{Entry, Node, Value};

const TASK_HELP: &str = "write one of `container: {}`, `ssh: { device: leaf01 }`, `process: {}`";

/// Planned kinds of jobs that run no script.
pub(super) const WITHOUT_SCRIPT: &[&str] = &["gate", "pipeline", "render"];

const WITH_SCRIPT: &[&str] = &["container", "ssh", "process"];

const IMAGE_HELP: &str = "write a reference such as `debian:12` or `registry.example.com/tools:1`";

const PULL: &[(&str, Pull)] =
    &[("if-missing", Pull::IfMissing), ("always", Pull::Always), ("never", Pull::Never)];

const NETWORK: &[(&str, Network)] =
    &[("bridge", Network::Bridge), ("host", Network::Host), ("none", Network::None)];

/// The one task of a job.
pub(super) fn task(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    of: &str,
) -> Option<Spanned<Task>> {
    let container = fields.entry("container").map(|entry| (entry, container(report, entry)));
    let ssh = fields.entry("ssh").map(|entry| (entry, ssh(report, entry)));
    let process = fields.entry("process").map(|entry| (entry, process(report, entry)));
    let mut tasks: Vec<_> = [container, ssh, process].into_iter().flatten().collect();
    tasks.sort_by_key(|(entry, _)| entry.key.span);
    match tasks.as_mut_slice() {
        [] if fields.has_refused(WITH_SCRIPT) || fields.has_refused(WITHOUT_SCRIPT) => None,
        [] => {
            let message = format!("{of} does nothing: it has no `container`, `ssh` or `process`");
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
        memory: fields.node("memory").and_then(|node| memory(report, node)),
        millicpus: fields.node("cpus").and_then(|node| cpus(report, node)),
    }))
}

fn named(image: Option<String>) -> Image {
    image.map_or(Image::Unusable, Image::Named)
}

fn memory(report: &mut Report<'_>, node: &Node) -> Option<u64> {
    let (code, help) = (Code::InvalidSize, quantity::SIZE_HELP);
    Some(report.scalar(node, "`memory`", code, help, quantity::memory)?.value)
}

fn cpus(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let (code, help) = (Code::InvalidNumber, quantity::CPUS_HELP);
    Some(report.scalar(node, "`cpus`", code, help, quantity::millicpus)?.value)
}

/// An image reference; one without tag and digest means `latest`, which is then written out.
pub(super) fn image(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "`image`", IMAGE_HELP)?;
    if let Err(reason) = check_image(text) {
        let message = format!("{} cannot be an image: {reason}", quoted(text));
        report.error(Code::InvalidImage, node.span, message, IMAGE_HELP);
        return None;
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    let is_pinned = last.contains(':') || text.contains('@');
    Some(if is_pinned { text.to_owned() } else { format!("{text}:latest") })
}

fn check_image(text: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let inner = |c: char| c.is_ascii_alphanumeric();
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > limits::IMAGE_BYTES {
        return Err("it is too long");
    }
    if !text.chars().all(allowed) {
        return Err("it holds something else than letters, digits and `._-/:@`");
    }
    if !text.starts_with(inner) || !text.ends_with(inner) {
        return Err("it must begin and end with a letter or digit");
    }
    let name = text.split('@').next().unwrap_or(text);
    let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
    let repository = last.split(':').next().unwrap_or(last);
    let without_registry = path.split_once('/').map_or("", |(_, rest)| rest);
    if repository.chars().chain(without_registry.chars()).any(|c| c.is_ascii_uppercase()) {
        return Err("only its registry and tag may have upper-case letters");
    }
    if name.contains("//") || text.matches('@').count() > 1 || last.matches(':').count() > 1 {
        return Err("its parts are not separated by one `/`, `:` or `@` each");
    }
    Ok(())
}

fn ssh(report: &mut Report<'_>, entry: &Entry) -> Option<Task> {
    let help = "name a device of the partition's inventory: `ssh: { device: leaf01 }`";
    let span: Span = entry.key.span;
    report.entries(&entry.value, "`ssh`", help)?;
    let fields = report.fields(&entry.value, span, &keys::SSH)?;
    let device = report.required(&fields, "device", "`ssh`", help);
    let device = device.and_then(|entry| report.name(&entry.value, "the device's name"));
    let user = fields.node("user").and_then(|node| user::read(report, node));
    Some(Task::Ssh(Ssh { device, user }))
}
