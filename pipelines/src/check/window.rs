//! Whether each partition has the maintenance window of a pipeline.

use super::Inventories;
use crate::ast::Pipeline;
use crate::diagnostic::{Code, Report, quoted};
use crate::name::WindowName;
use crate::source::Spanned;
use crate::suggest;

/// Reports partitions whose inventories have no window of that name.
pub(super) fn check(pipeline: &Pipeline, inventories: &Inventories, report: &mut Report<'_>) {
    let Some(Spanned { value: window, span }) = &pipeline.window else { return };
    for partition in &pipeline.partitions {
        let Some(inventory) = inventories.get(&partition.value) else { continue };
        if inventory.windows.contains_key(window) || report.is_full() {
            continue;
        }
        let message = format!(
            "the inventory of {} has no window {}",
            quoted(partition.value.as_str()),
            quoted(window.as_str())
        );
        let known = inventory.windows.keys().map(WindowName::as_str);
        let help = match inventory.windows.is_empty() {
            true => "it has no `windows`: add them there, or remove the partition here".to_owned(),
            false => suggest::advice(
                window.as_str(),
                known,
                "add it there, or remove the partition here; windows there are",
            ),
        };
        report.error(Code::UnknownWindow, *span, message, &help);
    }
}
