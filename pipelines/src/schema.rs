//! The JSON Schemas of pipelines and inventories, for editors.
//!
//! Which keys there are comes from the tables that the parser reads, so that the two cannot
//! disagree; a schema knows forms, and the parser alone what forms mean. Dialect: JSON Schema
//! 2020-12.

mod inventory;
mod pipeline;

use serde_json::{Map, Value, json};

use crate::keys::Place;
use crate::name;

/// The schema of a pipeline's file.
pub fn of_pipelines() -> Value {
    named("garrison pipeline", pipeline::file())
}

/// The schema of a file that pipelines include.
pub fn of_included() -> Value {
    named("garrison include", pipeline::included())
}

/// The schema of an inventory's file.
pub fn of_inventories() -> Value {
    named("garrison inventory", inventory::file())
}

fn named(title: &str, schema: Value) -> Value {
    let mut named = Map::new();
    named.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    named.insert("title".into(), title.into());
    named.extend(schema.as_object().cloned().unwrap_or_default());
    Value::Object(named)
}

/// A mapping with the keys of a place, each with the schema that `property` gives.
fn mapping(place: &Place, required: &[&str], property: impl Fn(&str) -> Option<Value>) -> Value {
    let properties = place.keys.iter().map(|key| {
        let schema = property(key).expect("each key of a place has a schema");
        ((*key).to_owned(), schema)
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
        "required": required,
    })
}

/// A schema with a sentence for whoever points at the key.
fn about(words: &str, schema: Value) -> Option<Value> {
    let mut about = schema;
    about.as_object_mut()?.insert("description".into(), words.into());
    Some(about)
}

fn any_of(schemas: &[Value]) -> Value {
    json!({ "anyOf": schemas })
}

fn or_nothing(schema: Value) -> Value {
    any_of(&[schema, json!({ "type": "null" })])
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items, "minItems": 1 })
}

fn by_name(value: Value) -> Value {
    json!({ "type": "object", "additionalProperties": value })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn yes_or_no() -> Value {
    json!({ "type": "boolean" })
}

/// A single value, which is read as it is written.
fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// A name; one that looks like a number is a name all the same.
fn name() -> Value {
    let pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
    any_of(&[
        json!({ "type": "string", "pattern": pattern, "maxLength": name::MAX_LEN }),
        json!({ "type": ["number", "boolean"] }),
    ])
}

/// A text to be filled in, whose form shows then.
fn template() -> Value {
    json!({ "type": "string", "pattern": "\\{[{%]" })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2 })
}

/// One of the words that the parser knows.
fn one_of<T>(choices: &[(&'static str, T)]) -> Value {
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    json!({ "enum": words })
}
