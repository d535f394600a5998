//! What a template of the commit reads, which the plan carries to where it is rendered.

use serde_json::{Map, Value, json};

use super::fill::Filled;
use crate::ast::Render as Written;
use crate::diagnostic::Report;
use crate::inventory::{Device, Inventory};
use crate::plan::Render;
use crate::scope::{self, Scope};

/// A file to be rendered in a partition with this inventory.
pub(super) fn render(
    written: &Written,
    inventory: Option<&Inventory>,
    fill: &Filled<'_>,
    report: &mut Report<'_>,
) -> Render {
    let mut values = values(fill.scope());
    let devices = inventory.iter().flat_map(|inventory| &inventory.devices);
    let devices = devices.map(|(name, it)| (name.to_string(), device(it)));
    values.insert("devices".to_owned(), Value::Object(devices.collect()));
    Render {
        template: fill.render_path(&written.template, report),
        to: fill.render_path(&written.to, report),
        values,
    }
}

fn values(scope: &Scope) -> Map<String, Value> {
    scope.iter().map(|(name, value)| ((*name).to_owned(), value_of(value))).collect()
}

fn value_of(value: &scope::Value) -> Value {
    match value {
        scope::Value::Text(text) => Value::from(text.as_str()),
        scope::Value::Int(number) => Value::from(*number),
        scope::Value::Bool(is) => Value::from(*is),
        scope::Value::Map(map) => {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), value_of(value))).collect())
        }
        scope::Value::Json(json) => json.clone(),
    }
}

/// One without a role or a group has an empty text there.
fn device(device: &Device) -> Value {
    let role = device.role.as_ref().map(ToString::to_string).unwrap_or_default();
    let group = device.group.as_ref().map(ToString::to_string).unwrap_or_default();
    json!({
        "address": device.address,
        "port": device.port,
        "role": role,
        "group": group,
        "labels": device.labels,
        "variables": device.variables,
    })
}
