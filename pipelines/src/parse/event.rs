//! `event` of `on`: the events from outside that start a pipeline.

use super::schedule;
use crate::ast::Event as Written;
use crate::diagnostic::{Code, Report, quoted};
use crate::event::{MAX_AGE_S, Subscription};
use crate::glob::Glob;
use crate::input::Inputs;
use crate::keys;
use crate::limits;
use crate::quantity;
use crate::source::Spanned;
use crate::yaml::{Entry, Node, Value};

const HELP: &str = "list them, such as `event: [{ topic: machine.provisioned, inputs: { machine: \
                    \"{{ event.data.machine }}\" } }]`";

const TOPIC_HELP: &str =
    "write words with dots between them, such as `machine.provisioned`, with `*` for any part";

const PARTITION_HELP: &str = "write a partition such as `fra-equ01`, or a pattern such as `fra-*`";

const MAX_AGE_HELP: &str = "write a duration up to `1d`, such as `10m`";

/// Longest topic, in bytes.
const LONGEST_TOPIC: usize = 200;

/// Reads `event`.
pub(super) fn events(report: &mut Report<'_>, entry: &Entry) -> Vec<Spanned<Written>> {
    let node = &entry.value;
    let Some(items) = report.list(node, "`event`", HELP) else { return Vec::new() };
    if items.len() > limits::EVENTS {
        let (count, most) = (items.len(), limits::EVENTS);
        let message = format!("there are {count} entries; at most {most} fit");
        report.error(Code::TooLong, node.span, message, "write several pipelines");
        return Vec::new();
    }
    let mut events: Vec<Spanned<Written>> = Vec::new();
    for item in items {
        let Some(written) = event(report, item) else { continue };
        if events.iter().any(|other| other.value.subscription == written.subscription) {
            let message = format!("`event` has {} twice", quoted(&written.subscription.topic));
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        }
        events.push(Spanned::new(written, item.span));
    }
    events
}

fn event(report: &mut Report<'_>, node: &Node) -> Option<Written> {
    let fields = report.fields(node, node.span, &keys::EVENT)?;
    let partitions = fields.node("partition").map(|node| partitions(report, node));
    let when = match fields.node("when") {
        None => None,
        Some(node) => {
            let help = "write a condition such as `event.data.state == \"waiting\"`";
            let read = |text: &str| Ok::<_, String>(text.to_owned());
            Some(report.scalar(node, "`when`", Code::InvalidCondition, help, read)?)
        }
    };
    let inputs =
        fields.node("inputs").map(|node| schedule::inputs(report, node, "`inputs` of an event"));
    let inputs = inputs.unwrap_or_default();
    let max_age_s = match fields.node("max_age") {
        None => Some(MAX_AGE_S),
        Some(node) => max_age(report, node),
    };
    let entry = report.required(&fields, "topic", "the event", TOPIC_HELP)?;
    let topic = report.scalar(&entry.value, "`topic`", Code::InvalidTopic, TOPIC_HELP, topic)?;
    let texts = inputs.iter().map(|(name, text)| (name.value.clone(), text.value.clone()));
    let subscription = Subscription {
        topic: topic.value,
        partitions: partitions.unwrap_or_default(),
        when: when.as_ref().map(|it| it.value.clone()),
        inputs: texts.collect::<Inputs>(),
        max_age_s: max_age_s?,
    };
    Some(Written { subscription, when, inputs })
}

fn topic(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_*".contains(c);
    let is_word = |word: &str| !word.is_empty() && word.chars().all(allowed);
    if text.len() > LONGEST_TOPIC {
        return Err("it is longer than 200 bytes");
    }
    if !text.split('.').all(is_word) || text.contains("**") {
        return Err("its words hold letters, digits, `-`, `_` and `*` only");
    }
    Ok(text.to_owned())
}

/// One pattern, or several.
fn partitions(report: &mut Report<'_>, node: &Node) -> Vec<String> {
    let items = match &node.value {
        Value::List(_) => report.list(node, "`partition`", PARTITION_HELP).unwrap_or_default(),
        _ => std::slice::from_ref(node),
    };
    let read = |text: &str| text.parse::<Glob>().map(|glob| glob.as_str().to_owned());
    let mut pattern = |item| {
        let code = Code::InvalidGlob;
        Some(report.scalar(item, "`partition`", code, PARTITION_HELP, read)?.value)
    };
    items.iter().filter_map(&mut pattern).collect()
}

fn max_age(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let read = |text: &str| match quantity::duration(text) {
        Ok(seconds) if seconds > limits::EVENT_AGE_S => Err("it is longer than a day".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    };
    Some(report.scalar(node, "`max_age`", Code::InvalidDuration, MAX_AGE_HELP, read)?.value)
}
