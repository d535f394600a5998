//! The published schemas of events (JSON Schema 2020-12): made of the envelope's own types.
//!
//! They are version 1, and `docs/schemas/events-v1.json` holds them as they were promised. Within the
//! version fields and topics are added; nothing else changes. They do not forbid further fields, so
//! that a reader who validates by an older copy goes on when one is added.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::envelope::{Agent, Attempt, Envelope, Environment, Job, Lock, Run};

/// The version of what events say, as the end of their `type`.
pub const VERSION: &str = "v1";

/// How runs stand; words of the HTTP API.
pub(super) const RUN_STATES: [&str; 8] =
    ["waiting", "active", "cancelling", "succeeded", "failed", "cancelled", "planned", "invalid"];

/// How jobs stand: an ended attempt gives them its outcome.
pub(super) const JOB_STATES: [&str; 20] = [
    "waiting",
    "queued",
    "open",
    "paused",
    "active",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "cancel_unconfirmed",
    "refused",
    "infra_error",
    "lost",
    "approved",
    "acknowledged",
    "rejected",
    "expired",
    "skipped",
    "unneeded",
    "stopped",
];

/// How attempts stand.
pub(super) const ATTEMPT_STATES: [&str; 11] = [
    "assigned",
    "accepted",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "cancel_unconfirmed",
    "refused",
    "infra_error",
    "lost",
];

/// How attempts end.
pub(super) const OUTCOMES: [&str; 8] = [
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "cancel_unconfirmed",
    "refused",
    "infra_error",
    "lost",
];

/// Ids as texts.
pub(super) const JOB_ID: &str = r"^[0-9]+\.[0-9]+$";
pub(super) const ATTEMPT_ID: &str = r"^[0-9]+\.[0-9]+\.[0-9]+$";

/// What events are about.
struct Kind {
    name: &'static str,
    topics: &'static [&'static str],
    /// The envelope's `subject`.
    subject: &'static str,
    data: fn() -> Value,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "run",
        topics: &["run.created", "run.started", "run.cancelling", "run.finished", "run.retried"],
        subject: "^run/[0-9]+$",
        data: bare::<Run>,
    },
    Kind {
        name: "job",
        topics: &[
            "job.waiting",
            "job.queued",
            "job.paused",
            "job.started",
            "job.opened",
            "job.approving",
            "job.finished",
        ],
        subject: r"^job/[0-9]+\.[0-9]+$",
        data: bare::<Job>,
    },
    Kind {
        name: "attempt",
        topics: &[
            "attempt.assigned",
            "attempt.accepted",
            "attempt.started",
            "attempt.cancelling",
            "attempt.finished",
        ],
        subject: r"^attempt/[0-9]+\.[0-9]+\.[0-9]+$",
        data: bare::<Attempt>,
    },
    Kind {
        name: "environment",
        topics: &["environment.deployed", "environment.failed"],
        subject: "^environment/[^/]+/.",
        data: bare::<Environment>,
    },
    Kind {
        name: "agent",
        topics: &[
            "agent.enrolled",
            "agent.connected",
            "agent.disconnected",
            "agent.cordoned",
            "agent.uncordoned",
            "agent.upgrade_asked",
            "agent.upgraded",
            "agent.upgrade_failed",
            "agent.revoked",
        ],
        subject: "^agent/[^/]+/[^/]+$",
        data: bare::<Agent>,
    },
    Kind {
        name: "lock",
        topics: &["lock.taken", "lock.freed", "lock.doubted"],
        subject: "^lock/[^/]+/[^/]+$",
        data: bare::<Lock>,
    },
];

/// All topics, as in subjects and types: `job.finished`.
pub fn topics() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|kind| kind.topics).copied()
}

/// Words for a topic that there is not.
pub fn unknown(topic: &str) -> String {
    let topics: Vec<&str> = topics().collect();
    format!("there is no topic '{topic}'; there are {}", topics.join(", "))
}

/// The schema of any event.
pub fn of_all() -> Value {
    let mut schema = envelope("");
    let (mut kinds, mut data) = (Vec::new(), Map::new());
    for kind in &KINDS {
        let types: Vec<String> = kind.topics.iter().map(|topic| type_of(topic)).collect();
        let then = kind.properties(&json!({ "$ref": format!("#/$defs/{}", kind.name) }));
        let is = json!({ "properties": { "type": { "enum": types } } });
        kinds.push(json!({ "if": is, "then": { "properties": then } }));
        data.insert(kind.name.to_owned(), (kind.data)());
    }
    schema["properties"]["type"]["enum"] = topics().map(type_of).collect();
    schema["allOf"] = Value::Array(kinds);
    schema["$defs"] = Value::Object(data);
    schema
}

/// The schema of a topic's events; none if there is no such topic.
pub fn of(topic: &str) -> Option<Value> {
    let kind = KINDS.iter().find(|kind| kind.topics.contains(&topic))?;
    let mut schema = envelope(topic);
    let properties = schema["properties"].as_object_mut()?;
    properties["type"]["const"] = Value::String(type_of(topic));
    for (key, value) in kind.properties(&(kind.data)()) {
        let described = properties[&key]["description"].take();
        properties[&key] = value;
        if properties[&key]["description"].is_null() {
            properties[&key]["description"] = described;
        }
    }
    Some(schema)
}

/// The `type` of a topic's events.
pub(super) fn type_of(topic: &str) -> String {
    format!("garrison.{topic}.{VERSION}")
}

impl Kind {
    /// What of the envelope is peculiar to it.
    fn properties(&self, data: &Value) -> Map<String, Value> {
        let subject = json!({ "type": "string", "pattern": self.subject });
        [("subject".to_owned(), subject), ("data".to_owned(), data.clone())].into_iter().collect()
    }
}

fn envelope(topic: &str) -> Value {
    let mut schema = schema_of::<Envelope<'_>>().to_value();
    let name = ["urn:garrison:events", VERSION, topic].join(":");
    schema["$id"] = Value::String(name.trim_end_matches(':').to_owned());
    schema
}

/// The schema of data, to stand within another.
fn bare<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    schema.remove("$schema");
    schema.remove("title");
    schema.to_value()
}

fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests;
