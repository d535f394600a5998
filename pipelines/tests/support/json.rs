//! Files as JSON, which schemas speak of.

use pipelines::source::File;
use pipelines::yaml::{self, Node, Value};
use serde_json::json;

/// A file as JSON, as an editor sees it.
pub(crate) fn as_json(name: &str, bytes: &[u8]) -> serde_json::Value {
    let file = File { name: name.to_owned(), bytes: bytes.to_vec() };
    json_of(&yaml::read(&file, &mut Default::default()).unwrap().root)
}

fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => json!(null),
        Value::Bool(written) => json!(written.value),
        Value::Int(written) => json!(written.value),
        Value::Float(written) => json!(written.value),
        Value::Str(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|it| (it.key.text.clone(), json_of(&it.value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

/// Whether a file fits a schema.
pub(crate) fn check(schema: &serde_json::Value, name: &str, bytes: &[u8]) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let value = as_json(name, bytes);
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}
