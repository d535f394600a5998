//! What templates and conditions can read: one set of names for both, each with its type.

use std::collections::BTreeMap;

use crate::ast::{Job, Pipeline, Task};
use crate::input::{Inputs, Kind};
use crate::inventory::Device;
use crate::matrix;
use crate::name::{DeviceName, LabelName};
use crate::suggest;
use crate::trigger::Trigger;

/// The types of what can be read, by name.
pub(crate) type Names = BTreeMap<&'static str, Type>;

/// What can be read, by name.
pub(crate) type Scope = BTreeMap<&'static str, Value>;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    /// Any number of texts by name; which ones is not known before the start.
    Texts,
    /// Values by name, all of them known.
    Record(BTreeMap<String, Type>),
    List(Box<Type>),
    /// Something from outside: what it is, is not known before it comes.
    Any,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    Map(BTreeMap<String, Value>),
    /// From outside.
    Json(serde_json::Value),
}

/// Where an instance of a job is.
pub(crate) struct Place<'a> {
    pub(crate) partition: &'a str,
    /// Those of the partition's inventory.
    pub(crate) labels: Option<&'a BTreeMap<LabelName, String>>,
    pub(crate) matrix: &'a matrix::Combination,
    /// For a job at one.
    pub(crate) device: Option<(&'a DeviceName, &'a Device)>,
    /// Its name, for a job on each agent.
    pub(crate) agent: Option<&'a str>,
}

/// What everything in a pipeline can read.
pub(crate) fn names(pipeline: &Pipeline) -> Names {
    let of_kind = |kind: &Kind| match kind {
        Kind::Text | Kind::Choice(_) => Type::Text,
        Kind::Int => Type::Int,
        Kind::Bool => Type::Bool,
    };
    let inputs = pipeline.inputs.iter();
    let inputs = inputs.map(|it| (it.name.value.clone(), of_kind(&it.kind))).collect();
    Names::from([
        ("branch", Type::Text),
        ("event", Type::Text),
        ("inputs", Type::Record(inputs)),
        ("labels", Type::Texts),
        ("partition", Type::Text),
        ("pipeline", Type::Text),
        ("tag", Type::Text),
    ])
}

/// What a job can read.
pub(crate) fn names_of_job(pipeline: &Pipeline, job: &Job) -> Names {
    let mut names = names(pipeline);
    names.insert("variables", Type::Texts);
    if let Some(matrix) = &job.matrix {
        let keys = matrix.keys.iter().map(|key| (key.clone(), Type::Text));
        names.insert("matrix", Type::Record(keys.collect()));
    }
    let is_on_one = job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Ssh(_)));
    if is_on_one || job.devices.is_some() {
        let known = ["name", "address", "role", "group"];
        let known = known.map(|key| (key.to_owned(), Type::Text));
        names.insert("device", Type::Record(known.into()));
    }
    if job.agents.each().is_some() {
        let known = [("name".to_owned(), Type::Text)];
        names.insert("agent", Type::Record(known.into()));
    }
    names
}

/// What the message of a gate can read beside what its job can.
pub(crate) fn names_of_message(mut names: Names) -> Names {
    let known = [("summary".to_owned(), Type::Text)];
    names.insert("plan", Type::Record(known.into()));
    names
}

/// Adds what the message of a gate reads: what it lets through, in words.
pub(crate) fn extend_message(scope: &mut Scope, summary: &str) {
    let plan = [("summary".to_owned(), text(summary))];
    scope.insert("plan", Value::Map(plan.into()));
}

/// What everything in a run reads, whatever its partition.
pub(crate) fn of_run(pipeline: &Pipeline, inputs: &Inputs, trigger: &Trigger) -> Scope {
    let typed = |(name, text): (&String, &String)| {
        let declared = pipeline.inputs.iter().find(|it| it.name.value == *name);
        let value = match declared.map(|it| &it.kind) {
            Some(Kind::Int) => text.parse().map_or_else(|_| Value::Text(text.clone()), Value::Int),
            Some(Kind::Bool) => Value::Bool(text == "true"),
            _ => Value::Text(text.clone()),
        };
        (name.clone(), value)
    };
    let name = pipeline.name.as_ref().map(|name| name.as_str().to_owned());
    Scope::from([
        ("branch", text(trigger.branch())),
        ("event", text(trigger.event())),
        ("inputs", Value::Map(inputs.iter().map(typed).collect())),
        ("pipeline", Value::Text(name.unwrap_or_default())),
        ("tag", text(trigger.tag())),
    ])
}

impl Place<'_> {
    /// Adds what is read at this place.
    pub(crate) fn extend(&self, scope: &mut Scope) {
        scope.insert("partition", text(self.partition));
        let labels = self.labels.into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.to_string(), text(value)));
        scope.insert("labels", Value::Map(labels.collect()));
        let matrix = self.matrix.iter().map(|(key, value)| (key.clone(), text(value)));
        scope.insert("matrix", Value::Map(matrix.collect()));
        if let Some((name, device)) = self.device {
            let role = device.role.as_ref().map_or("", |role| role.as_str());
            let group = device.group.as_ref().map_or("", |group| group.as_str());
            let address = device.address.as_str();
            let known =
                [("name", name.as_str()), ("address", address), ("role", role), ("group", group)];
            let device = known.map(|(key, value)| (key.to_owned(), text(value)));
            scope.insert("device", Value::Map(device.into()));
        }
        if let Some(name) = self.agent {
            let agent = [("name".to_owned(), text(name))];
            scope.insert("agent", Value::Map(agent.into()));
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Why a dotted name cannot be read, with advice; none if it can.
pub(crate) fn unknown(names: &Names, dotted: &str) -> Option<(String, String)> {
    let (root, field) = match dotted.split_once('.') {
        Some((root, rest)) => (root, Some(rest.split('.').next().unwrap_or(rest))),
        None => (dotted, None),
    };
    let Some(kind) = names.get(root) else {
        let help = suggest::advice(root, names.keys().copied(), "what can be read here is");
        return Some((format!("there is no `{root}` here"), help));
    };
    let (Type::Record(fields), Some(field)) = (kind, field) else { return None };
    if fields.contains_key(field) {
        return None;
    }
    let help = match fields.is_empty() {
        true => format!("the pipeline has no {root}"),
        false => suggest::advice(field, fields.keys().map(String::as_str), "there are"),
    };
    Some((format!("there is no `{field}` in `{root}`"), help))
}
