//! Whether a job's secrets go with its variables, with each other, and with what the job does.

use std::collections::BTreeSet;

use super::{Inventories, device_of};
use crate::ast::{Job, Pipeline, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::plan::Delivery;
use crate::source::Spanned;

/// Reports names that stand for two things, and secrets that cannot be delivered.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
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
        } else if let Some(place) = in_inventory(pipeline, job, inventories, variable) {
            let message = format!(
                "the job {of} has the secret {name}, and {place} has a variable of that \
                 name"
            );
            let help = "remove the variable from the inventory, or give the secret another name";
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

/// Which partition's inventory gives the job a variable of this name, in words.
fn in_inventory(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    variable: &str,
) -> Option<String> {
    pipeline.partitions_of(job).iter().find_map(|partition| {
        let inventory = inventories.get(&partition.value)?;
        let device = device_of(job, &partition.value, inventories);
        let on_device = device.is_some_and(|device| device.variables.contains_key(variable));
        let has_it = on_device || inventory.variables.contains_key(variable);
        has_it.then(|| format!("the inventory of {}", quoted(partition.value.as_str())))
    })
}
