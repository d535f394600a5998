//! Inputs of schedules: those of the pipeline, each with a value that it may have.

use crate::ast::Pipeline;
use crate::diagnostic::{Code, Report, quoted};
use crate::input;
use crate::source::Spanned;

/// Reports what does not fit the pipeline's inputs.
pub(super) fn check(pipeline: &Pipeline, report: &mut Report<'_>) {
    let Some(on) = &pipeline.on else { return };
    for Spanned { value: written, span } in &on.schedule {
        let given = written.inputs.iter().map(|(name, value)| (name, Some(value)));
        input::check_given(&pipeline.inputs, given, report);
        let is_given = |name: &str| written.inputs.iter().any(|(given, _)| given.value == name);
        let required = pipeline.inputs.iter().filter(|input| input.default.is_none());
        for input in required.filter(|input| !is_given(&input.name.value)) {
            let name = &input.name.value;
            let message = format!("the schedule does not give the required input {}", quoted(name));
            let help =
                format!("add `inputs: {{ {name}: … }}` to it, or give the input a `default`");
            report.error(Code::ScheduleLacksInput, *span, message, help);
        }
    }
}
