//! Entries of `on: event`: conditions and texts that read what events have, and inputs of the pipeline.

use crate::ast::Pipeline;
use crate::condition::Condition;
use crate::diagnostic::{Code, Complaint, Report, quoted};
use crate::event;
use crate::input;
use crate::source::Spanned;
use crate::template::{Templates, is_template};

/// Reports what could never be decided or filled in, or does not fit the pipeline's inputs.
pub(super) fn check(pipeline: &Pipeline, templates: &Templates, report: &mut Report<'_>) {
    let Some(on) = &pipeline.on else { return };
    let names = event::names();
    for Spanned { value: written, span } in &on.event {
        if let Some(when) = &written.when {
            let complaint = match Condition::parse(&when.value, &names) {
                Ok(condition) if condition.speaks_of_a_run() => Some(Complaint {
                    message: "an event comes before any commit or job".to_owned(),
                    help: "remove `success()`, `failure()`, `always()` and `changed(…)`, or write \
                           them into `when` of a job"
                        .to_owned(),
                }),
                Ok(_) => None,
                Err(complaint) => Some(complaint),
            };
            if let Some(complaint) = complaint {
                report.complain(Code::InvalidCondition, when.span, complaint);
            }
        }
        for (_, text) in &written.inputs {
            if is_template(&text.value)
                && let Err(complaint) = templates.check(&text.value, &names)
            {
                report.complain(Code::InvalidTemplate, text.span, complaint);
            }
        }
        let given = written
            .inputs
            .iter()
            .map(|(name, value)| (name, Some(value).filter(|value| !is_template(&value.value))));
        input::check_given(&pipeline.inputs, given, report);
        let is_given = |name: &str| written.inputs.iter().any(|(given, _)| given.value == name);
        let required = pipeline.inputs.iter().filter(|input| input.default.is_none());
        for input in required.filter(|input| !is_given(&input.name.value)) {
            let name = &input.name.value;
            let message = format!("the event does not give the required input {}", quoted(name));
            let help = format!(
                "add `inputs: {{ {name}: \"{{{{ event.data.{name} }}}}\" }}` to it, or give the \
                 input a `default`"
            );
            report.error(Code::EventLacksInput, *span, message, help);
        }
    }
}
