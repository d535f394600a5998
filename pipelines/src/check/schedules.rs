//! Inputs of schedules: those of the pipeline, each with a value that it may have.

use crate::ast::Pipeline;
use crate::diagnostic::{Code, Report, quoted};
use crate::source::Spanned;
use crate::suggest;

/// Reports what does not fit the pipeline's inputs.
pub(super) fn check(pipeline: &Pipeline, report: &mut Report<'_>) {
    let Some(on) = &pipeline.on else { return };
    for Spanned { value: written, span } in &on.schedule {
        for (name, value) in &written.inputs {
            let declared = pipeline.inputs.iter().find(|it| it.name.value == name.value);
            let Some(input) = declared else {
                let message = format!("this pipeline has no input {}", quoted(&name.value));
                let known = pipeline.inputs.iter().map(|it| it.name.value.as_str());
                let otherwise = "declare it under `inputs` of the pipeline; its inputs are";
                let help = match pipeline.inputs.as_slice() {
                    [] => "declare it under `inputs` of the pipeline, or remove it".to_owned(),
                    _ => suggest::advice(&name.value, known, otherwise),
                };
                report.error(Code::UnknownInput, name.span, message, help);
                continue;
            };
            if let Err(reason) = input.kind.check(&value.value) {
                let (name, text) = (quoted(&name.value), quoted(&value.value));
                let message = format!("the input {name} cannot be {text}: {reason}");
                let help = input.kind.help(&value.value);
                report.error(Code::InvalidInput, value.span, message, help);
            }
        }
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
