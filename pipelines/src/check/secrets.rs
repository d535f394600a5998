//! Whether a job's secrets go with its variables, with each other, and with what the job does.

use std::collections::BTreeSet;

use crate::ast::{Job, Pipeline, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::plan::Delivery;
use crate::source::Spanned;

/// Reports names that stand for two things, and secrets that cannot be delivered.
pub(super) fn check(pipeline: &Pipeline, job: &Job, report: &mut Report<'_>) {
    let of = quoted(job.name.value.as_str());
    let is_on_device = job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Ssh(_)));
    let mut seen = BTreeSet::new();
    for Spanned { value: secret, span } in &job.secrets {
        let name = quoted(secret.name.as_str());
        if !seen.insert(&secret.name) {
            let message = format!("`secrets` names {name} twice");
            report.error(Code::Duplicate, *span, message, "remove one of the two");
            continue;
        }
        let variable = secret.name.as_str();
        if job.variables.contains_key(variable) || pipeline.variables.contains_key(variable) {
            let message = format!("the job {of} has {name} as a variable and as a secret");
            let help = "remove it from `variables`, or give it another name";
            report.error(Code::SecretIsVariable, *span, message, help);
        }
        if is_on_device && secret.delivery == Delivery::File {
            let message = format!(
                "the job {of} runs on a device, where the secret {name} would need a file on its disk"
            );
            let help = "remove `as: file`: the script then has it as a variable";
            report.error(Code::SecretFileOnDevice, *span, message, help);
        }
    }
    if let Some(first) = job.secrets.get(limits::SECRETS) {
        let message = format!(
            "the job {of} has {} secrets; at most {} fit",
            job.secrets.len(),
            limits::SECRETS
        );
        let help = "put several values into one secret, or make several jobs";
        report.error(Code::TooManySecrets, first.span, message, help);
    }
}
