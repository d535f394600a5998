//! `devices` of a job, and `rollout` of a job or of partitions: over what it goes, and how fast.

use super::partitions;
use crate::ast::{Devices, Rollout, Waves};
use crate::diagnostic::{Code, Report, quoted};
use crate::keys;
use crate::label;
use crate::limits;
use crate::name;
use crate::quantity;
use crate::source::Spanned;
use crate::yaml::{Entry, Node, Value};

const HELP: &str = "name them, such as `devices: [leaf01, leaf02]`, or say which, such as \
                    `devices: { role: leaf }`";

const LABELS_HELP: &str = "write labels that the devices have: `labels: { rack: r1 }`";

const ROLLOUT_HELP: &str = "write `rollout: { serial: 1, stop_after: 1 }`";

const PARTITIONS_HELP: &str =
    "write `rollout: { canary: [fra-lab], waves: [25%, 100%], stop_after: 1 }`";

const SIZE_HELP: &str = "write a number such as `2`, a share such as `25%`, or a list of them";

/// Words of which one may stand for whether devices of one redundancy group are worked at together.
pub(crate) const GROUPS: &[(&str, bool)] = &[("never-together", false), ("together", true)];

/// Words that stand for the sizes of waves.
pub(crate) const SERIAL: &[(&str, ())] = &[("halves", ())];

/// Reads `devices`.
pub(super) fn devices(report: &mut Report<'_>, entry: &Entry) -> Option<Devices> {
    let (span, node) = (entry.key.span, &entry.value);
    if let Value::List(_) = node.value {
        let names = names(report, node, "`devices`", "the device's name")?;
        return Some(Devices { names: Some(names), ..Devices::default() });
    }
    report.entries(node, "`devices`", HELP)?;
    let fields = report.fields(node, span, &keys::DEVICES)?;
    let of = fields.node("of").map(|node| report.name(node, "the job's name"));
    let named =
        fields.node("names").map(|node| names(report, node, "`names`", "the device's name"));
    let roles =
        fields.node("role").map(|node| one_or_more(report, node, "`role`", "the role's name"));
    let groups =
        fields.node("group").map(|node| one_or_more(report, node, "`group`", "the group's name"));
    let labels =
        fields.node("labels").map(|node| label::read(report, node, "`labels`", LABELS_HELP));
    if node.value == Value::Map(Vec::new()) {
        report.error(Code::Empty, span, "`devices` says nothing of them", HELP);
        return None;
    }
    if let (Some(of), Some(other)) = (fields.entry("of"), fields.others(&["of"]).next()) {
        let message = format!(
            "`of` stands for all devices of another job, and {} stands beside it",
            quoted(&other.key.text)
        );
        let help = "remove it, or remove `of` and say which devices are meant";
        report.error(Code::InvalidDevices, of.key.span, message, help);
    }
    Some(Devices {
        of: of.flatten(),
        names: named.flatten(),
        roles: roles.flatten(),
        groups: groups.flatten(),
        labels: labels.unwrap_or_default(),
    })
}

fn names<T>(report: &mut Report<'_>, node: &Node, what: &str, of: &str) -> Option<Vec<Spanned<T>>>
where
    T: std::str::FromStr<Err = name::Error>,
{
    let items = report.list(node, what, HELP)?;
    Some(items.iter().filter_map(|item| report.name(item, of)).collect())
}

fn one_or_more<T>(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
    of: &str,
) -> Option<Vec<Spanned<T>>>
where
    T: std::str::FromStr<Err = name::Error>,
{
    match node.value {
        Value::List(_) => names(report, node, what, of),
        _ => Some(vec![report.name(node, of)?]),
    }
}

/// Reads `rollout` of a job.
pub(super) fn of_job(report: &mut Report<'_>, entry: &Entry) -> Option<Rollout> {
    let (span, node) = (entry.key.span, &entry.value);
    report.entries(node, "`rollout`", ROLLOUT_HELP)?;
    let fields = report.fields(node, span, &keys::ROLLOUT)?;
    let is_halves = |node: &&Node| node.value == Value::Str(SERIAL[0].0.to_owned());
    let waves = match fields.node("serial") {
        Some(node) if is_halves(&node) => Some(Waves::Halves),
        Some(node) => sizes(report, node, "`serial`").map(Waves::Sizes),
        None => Some(Waves::One),
    };
    let together = fields.node("groups").and_then(|node| report.choice(node, "`groups`", GROUPS));
    Some(Rollout {
        span,
        waves: waves.unwrap_or_default(),
        together: together.unwrap_or(false),
        ..pace(report, &fields)
    })
}

/// Reads `rollout` of `partitions`.
pub(super) fn of_partitions(report: &mut Report<'_>, entry: &Entry) -> Option<Rollout> {
    let (span, node) = (entry.key.span, &entry.value);
    report.entries(node, "`rollout`", PARTITIONS_HELP)?;
    let fields = report.fields(node, span, &keys::PARTITIONS_ROLLOUT)?;
    let canary = fields.node("canary").and_then(|node| partitions::names(report, node, "`canary`"));
    let waves = fields.node("waves").and_then(|node| sizes(report, node, "`waves`"));
    Some(Rollout {
        span,
        canary: canary.unwrap_or_default(),
        waves: waves.map_or(Waves::One, Waves::Sizes),
        ..pace(report, &fields)
    })
}

/// How fast it goes, and where it stops.
fn pace(report: &mut Report<'_>, fields: &crate::fields::Fields<'_>) -> Rollout {
    let mut count = |key: &str| {
        let node = fields.node(key)?;
        let read = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err("it is not a number from 1"),
            Ok(number) => Ok::<u32, _>(number),
        };
        let help = "write a number such as `1`";
        Some(report.scalar(node, &quoted(key), Code::InvalidNumber, help, read)?.value)
    };
    let (max_parallel, stop_after) = (count("max_parallel"), count("stop_after"));
    let pause_s = fields.node("pause").and_then(|node| {
        let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
        Some(report.scalar(node, "`pause`", code, help, quantity::duration)?.value)
    });
    Rollout { max_parallel, stop_after, pause_s: pause_s.unwrap_or_default(), ..Rollout::default() }
}

/// Reads how many there are in each wave.
fn sizes(report: &mut Report<'_>, node: &Node, what: &str) -> Option<Vec<quantity::Share>> {
    let items = match &node.value {
        Value::List(items) if items.len() > limits::WAVES => {
            let message =
                format!("{what} has {} entries; at most {} fit", items.len(), limits::WAVES);
            report.error(
                Code::TooLong,
                node.span,
                message,
                "the last one counts for all that follow",
            );
            return None;
        }
        Value::List(_) => report.list(node, what, SIZE_HELP)?,
        _ => std::slice::from_ref(node),
    };
    let size = |item: &Node| {
        let (code, read) = (Code::InvalidNumber, quantity::Share::parse);
        Some(report.scalar(item, what, code, SIZE_HELP, read)?.value)
    };
    Some(items.iter().filter_map(size).collect())
}
