//! Conditions: `when` of a job. The language is CEL without its macros.
//!
//! Types are checked before anything starts. A condition that speaks of how other jobs ended is
//! evaluated for both cases when the plan is made, so that the plan says all.

mod shape;
mod types;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::{Context, Env, ExecutionError};

use crate::diagnostic::Complaint;
use crate::glob::Glob;
use crate::limits;
use crate::plan::When;
use crate::scope::{Names, Scope, Type, Value};

/// A condition whose types fit.
#[derive(Debug)]
pub(crate) struct Condition {
    expression: IdedExpr,
    /// It says itself after which results of other jobs it holds.
    speaks_of_results: bool,
    /// It asks which files changed.
    speaks_of_changes: bool,
    /// Texts by name that it reads, such as `variables.X`: one that is not there is empty.
    texts: Vec<(String, String)>,
}

/// Functions that speak of the jobs that a job needs.
const RESULTS: [&str; 3] = ["always", "failure", "success"];

/// The function that asks which files changed.
const CHANGES: &str = "changed";

impl Condition {
    /// Reads a condition that may read `names`.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Condition, Complaint> {
        if text.len() > limits::CONDITION_BYTES {
            let message = format!("this condition has more than {} bytes", limits::CONDITION_BYTES);
            return Err(Complaint { message, help: "write it shorter".to_owned() });
        }
        shape::check(text)?;
        let expression = environment().parser().parse(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
            let message = format!("this condition cannot be read: {first}");
            let help = "write one such as `branch == \"main\" && !inputs.check`".to_owned();
            Complaint { message, help }
        })?;
        let mut checker = types::Checker { names, texts: Vec::new(), depth: 0, calls: Vec::new() };
        let kind = checker.infer(&expression)?;
        if kind != Type::Bool {
            let message = format!("this condition is {}, not true or false", types::name(&kind));
            let help = "compare it with something, such as `… == \"main\"`".to_owned();
            return Err(Complaint { message, help });
        }
        let speaks_of_results = checker.calls.iter().any(|call| RESULTS.contains(&call.as_str()));
        let speaks_of_changes = checker.calls.iter().any(|call| call == CHANGES);
        let texts = checker.texts;
        Ok(Condition { expression, speaks_of_results, speaks_of_changes, texts })
    }

    /// Whether it asks how other jobs ended.
    pub(crate) fn speaks_of_results(&self) -> bool {
        self.speaks_of_results
    }

    /// Whether it asks for what only a run has: how jobs ended, or which files changed.
    pub(crate) fn speaks_of_a_run(&self) -> bool {
        self.speaks_of_results || self.speaks_of_changes
    }

    /// After which results of the jobs that it needs a job runs; none if it never does.
    ///
    /// # Errors
    /// Why that cannot be said, such as a division by zero.
    pub(crate) fn when(
        &self,
        scope: &Scope,
        changed: Option<&[String]>,
    ) -> Result<Option<When>, Complaint> {
        let after = |success: bool| self.holds(scope, changed, success);
        if !self.speaks_of_results {
            return Ok(after(true)?.then_some(When::Success));
        }
        Ok(match (after(true)?, after(false)?) {
            (true, true) => Some(When::Always),
            (true, false) => Some(When::Success),
            (false, true) => Some(When::Failure),
            (false, false) => None,
        })
    }

    fn holds(
        &self,
        scope: &Scope,
        changed: Option<&[String]>,
        success: bool,
    ) -> Result<bool, Complaint> {
        let mut context = Context::with_env(environment());
        for (name, value) in scope {
            context.add_variable_from_value(*name, self.value(name, value));
        }
        let changed = changed.map(<[String]>::to_vec);
        let has_changed = move |pattern: Arc<String>| {
            let error = |error| ExecutionError::function_error(CHANGES, error);
            let glob: Glob =
                pattern.parse().map_err(|it: crate::glob::Error| error(it.to_string()))?;
            // Where nobody knows what changed, everything may have.
            Ok(changed.as_ref().is_none_or(|paths| paths.iter().any(|it| glob.matches_file(it))))
        };
        let added = context
            .add_function("success", move || success)
            .and_then(|()| context.add_function("failure", move || !success))
            .and_then(|()| context.add_function("always", || true))
            .and_then(|()| context.add_function(CHANGES, has_changed));
        added.expect("the standard library has no such names");
        match context.resolve(&self.expression) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err(failed("it is neither true nor false")),
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    /// A value with empty texts where a condition reads some that are not there.
    fn value(&self, name: &str, value: &Value) -> cel::Value {
        match value {
            Value::Text(text) => cel::Value::from(text.as_str()),
            Value::Int(number) => cel::Value::Int(*number),
            Value::Bool(is) => cel::Value::Bool(*is),
            Value::Map(map) => {
                let missing =
                    self.texts.iter().filter(|(of, key)| of == name && !map.contains_key(key));
                let missing = missing.map(|(_, key)| (key.clone(), cel::Value::from("")));
                let there = map.iter().map(|(key, value)| (key.clone(), self.value("", value)));
                cel::Value::from(there.chain(missing).collect::<HashMap<_, _>>())
            }
            Value::Json(json) => of_json(json),
        }
    }
}

/// A value from outside.
fn of_json(json: &serde_json::Value) -> cel::Value {
    match json {
        serde_json::Value::Null => cel::Value::Null,
        serde_json::Value::Bool(is) => cel::Value::Bool(*is),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::Float(number),
            (None, None) => cel::Value::Null,
        },
        serde_json::Value::String(text) => cel::Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            cel::Value::from(items.iter().map(of_json).collect::<Vec<_>>())
        }
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), of_json(value)));
            cel::Value::from(fields.collect::<HashMap<_, _>>())
        }
    }
}

/// The standard functions, and none of the macros, which loop.
fn environment() -> Arc<Env> {
    static ENVIRONMENT: std::sync::OnceLock<Arc<Env>> = std::sync::OnceLock::new();
    Arc::clone(ENVIRONMENT.get_or_init(|| Arc::new(Env::default().with_stdlib())))
}

fn failed(reason: &str) -> Complaint {
    let message = format!("this condition cannot be decided: {reason}");
    Complaint {
        message,
        help: "see that it can be decided for each partition and input".to_owned(),
    }
}
