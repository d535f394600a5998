//! `services`: containers that a job has beside it.

use super::resources::resources;
use super::variables;
use crate::ast::Services;
use crate::diagnostic::{Code, Report, quoted};
use crate::image;
use crate::keys;
use crate::limits;
use crate::name::ServiceName;
use crate::plan::{Health, Service};
use crate::quantity;
use crate::yaml::{Entry, Node};

const HELP: &str = "write a mapping from each service's name to its container, such as \
                    `db: { image: \"postgres:15\" }`";

const COMMAND_HELP: &str =
    "list the program's arguments, such as `command: [redis-server, --save, \"\"]`";

const HEALTH_HELP: &str = "write a command that succeeds once the service can be used, such as \
                           `health: { run: pg_isready, interval: 2s, timeout: 60s }`";

/// Between two tries, and until a service must be healthy, if nothing is said; in seconds.
const INTERVAL_S: u32 = 2;
const TIMEOUT_S: u32 = 60;

/// Reads a job's `services`.
pub(super) fn services(report: &mut Report<'_>, entry: &Entry) -> Option<Services> {
    let entries = report.entries(&entry.value, "`services`", HELP)?;
    if entries.is_empty() {
        report.error(Code::Empty, entry.value.span, "`services` is empty", HELP);
    }
    let services = entries.iter().filter_map(|entry| service(report, entry)).collect();
    Some(Services { span: entry.key.span, count: entries.len(), services })
}

fn service(report: &mut Report<'_>, entry: &Entry) -> Option<Service> {
    let Entry { key, value } = entry;
    let name = report.name_of::<ServiceName>(&key.text, key.span, "the service's name");
    let of = format!("the service {}", quoted(&key.text));
    report.entries(value, &of, HELP)?;
    let fields = report.fields(value, key.span, &keys::SERVICE)?;
    let image = report.required(&fields, "image", &of, HELP);
    let image = image.and_then(|entry| image_of(report, &entry.value));
    let command = fields.node("command").map(|node| command(report, node)).unwrap_or_default();
    let variables = fields.node("variables").map(|node| variables(report, node));
    let env = variables.unwrap_or_default().into_iter().map(|(name, value)| (name, value.value));
    let env = env.collect();
    let health = fields.entry("health").map(|entry| health(report, entry));
    let resources = fields.entry("resources").and_then(|entry| resources(report, entry));
    let (memory, millicpus) =
        resources.map_or((None, None), |it| (it.value.memory, it.value.millicpus));
    let health = match health {
        Some(health) => Some(health?),
        None => None,
    };
    Some(Service { name: name?.value, image: image?, command, env, health, memory, millicpus })
}

fn image_of(report: &mut Report<'_>, node: &Node) -> Option<String> {
    report.text(node, "`image`", image::HELP)?;
    let (code, help) = (Code::InvalidImage, image::HELP);
    Some(report.scalar(node, "`image`", code, help, image::reference)?.value)
}

fn command(report: &mut Report<'_>, node: &Node) -> Vec<String> {
    let items = report.list(node, "`command`", COMMAND_HELP).unwrap_or_default();
    let text = |item: &Node| {
        let text = report.text(item, "an argument of `command`", COMMAND_HELP)?;
        (!is_too_long(report, item, text)).then(|| text.to_owned())
    };
    items.iter().filter_map(text).collect()
}

fn health(report: &mut Report<'_>, entry: &Entry) -> Option<Health> {
    report.entries(&entry.value, "`health`", HEALTH_HELP)?;
    let fields = report.fields(&entry.value, entry.key.span, &keys::HEALTH)?;
    let interval_s = fields.node("interval").map(|node| seconds(report, node, "`interval`"));
    let timeout_s = fields.node("timeout").map(|node| seconds(report, node, "`timeout`"));
    let run = &report.required(&fields, "run", "`health`", HEALTH_HELP)?.value;
    let text = report.text(run, "`run` of `health`", HEALTH_HELP)?;
    if text.trim().is_empty() {
        report.error(Code::Empty, run.span, "this command is empty", HEALTH_HELP);
        return None;
    }
    if is_too_long(report, run, text) {
        return None;
    }
    Some(Health {
        run: text.to_owned(),
        interval_s: interval_s.unwrap_or(Some(INTERVAL_S))?,
        timeout_s: timeout_s.unwrap_or(Some(TIMEOUT_S))?,
    })
}

fn seconds(report: &mut Report<'_>, node: &Node, what: &str) -> Option<u32> {
    let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
    Some(report.scalar(node, what, code, help, quantity::duration)?.value)
}

fn is_too_long(report: &mut Report<'_>, node: &Node, text: &str) -> bool {
    let is_too_long = text.len() > limits::SCRIPT_LINE_BYTES;
    if is_too_long {
        let message = format!("this command has {} bytes; at most 64 KiB fit", text.len());
        report.error(Code::TooLong, node.span, message, "keep long scripts in the service's image");
    }
    is_too_long
}
