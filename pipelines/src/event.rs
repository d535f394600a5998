//! Events from outside: which of them a pipeline wants, and what it takes of them.
//!
//! Everything in an event was written by somebody else. It becomes inputs, which are checked like those
//! of a start by hand, and nothing else.

mod envelope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::diagnostic::{Complaint, quoted};
use crate::glob::Glob;
use crate::input::Inputs;
use crate::name::PartitionName;
use crate::scope::{Names, Scope, Type, Value};
use crate::template::{Context, Kind, Templates, is_template};
use crate::tree::Tree;
pub use envelope::{Read, Received, read};

/// How old an event may be where nothing else is said, in seconds.
pub const MAX_AGE_S: u32 = 10 * 60;

/// An entry of `on: event` as it is written, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subscription {
    /// A pattern of topics, such as `machine.*`.
    pub topic: String,
    /// Patterns of partitions; any, and none, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
    /// A condition that must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the runs are started with: texts that are filled in from the event.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// How old an event may be, in seconds.
    pub max_age_s: u32,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its own name for itself, one of its source.
    pub id: String,
    /// Who sent it, such as `garrison://garrison`.
    pub source: String,
    /// Its type, such as `garrison.run.finished.v1`; empty if it has none.
    pub kind: String,
    /// What it is about, such as `run/17`; empty if it does not say.
    pub subject: String,
    /// Its topic, such as `run.finished`.
    pub topic: String,
    /// Its partition, if it is of one.
    pub partition: Option<PartitionName>,
    /// When it happened, in µs since 1970.
    pub time_us: u64,
    /// What it says.
    pub data: serde_json::Value,
}

impl Subscription {
    /// Whether it is for events of a topic.
    pub fn is_about(&self, topic: &str) -> bool {
        matches(&self.topic, topic)
    }

    /// Whether it is for an event. What its condition reads must be there: else it does not hold. One
    /// whose condition is wrong takes all, so that the pipeline's mistake shows.
    pub fn wants(&self, message: &Message) -> bool {
        let partition = message.partition.as_ref().map(PartitionName::as_str);
        let is_partition = |pattern: &String| partition.is_some_and(|it| matches(pattern, it));
        let is_there = self.partitions.is_empty() || self.partitions.iter().any(is_partition);
        let holds = |when: &String| match Condition::parse(when, &names()) {
            Ok(condition) => condition.when(&scope(message), None).is_ok_and(|it| it.is_some()),
            Err(_) => true,
        };
        self.is_about(&message.topic) && is_there && self.when.as_ref().is_none_or(holds)
    }

    /// What a run is started with.
    ///
    /// # Errors
    /// Which input cannot be filled in, and why.
    pub fn inputs(&self, message: &Message) -> Result<Inputs, String> {
        let templates = Templates::new(Tree::unavailable(NO_FILES));
        let context = Context::new(&scope(message));
        let fill = |(name, text): (&String, &String)| {
            let filled = match is_template(text) {
                true => templates.render(text, Kind::Plain, &context),
                false => Ok(text.clone()),
            };
            let told = |it: Complaint| format!("the input {}: {}", quoted(name), it.message);
            Ok((name.clone(), filled.map_err(told)?))
        };
        self.inputs.iter().map(fill).collect()
    }
}

/// Why no text here can read files.
pub(crate) const NO_FILES: &str = "an event is of no commit";

/// What `when` and `inputs` of an entry can read.
pub(crate) fn names() -> Names {
    let texts = ["id", "partition", "source", "subject", "time", "topic", "type"];
    let mut fields: BTreeMap<_, _> = texts.map(|name| (name.to_owned(), Type::Text)).into();
    fields.insert("data".to_owned(), Type::Any);
    Names::from([("event", Type::Record(fields))])
}

fn scope(message: &Message) -> Scope {
    let partition = message.partition.as_ref().map_or("", |it| it.as_str());
    let time = i64::try_from(message.time_us).ok();
    let time = time.and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or_default();
    let time = time.to_string();
    let texts = [
        ("id", message.id.as_str()),
        ("partition", partition),
        ("source", &message.source),
        ("subject", &message.subject),
        ("time", &time),
        ("topic", &message.topic),
        ("type", &message.kind),
    ];
    let mut fields: BTreeMap<_, _> =
        texts.map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned()))).into();
    fields.insert("data".to_owned(), Value::Json(message.data.clone()));
    Scope::from([("event", Value::Map(fields))])
}

fn matches(pattern: &str, text: &str) -> bool {
    pattern.parse::<Glob>().is_ok_and(|glob| glob.matches(text))
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)
    }
}
