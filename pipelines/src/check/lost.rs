//! Whether what is to be done when an agent is away for long goes with what the job does.

use crate::ast::{Job, OnLost, Task};
use crate::diagnostic::{Code, Report, quoted};
use crate::plan::Network;
use crate::source::Spanned;

/// Reports what `on_lost` and `lost_after` lack, and what they cannot promise.
pub(super) fn check(job: &Job, report: &mut Report<'_>) {
    let name = quoted(job.name.value.as_str());
    let gives_up = job.on_lost.as_ref().filter(|on_lost| on_lost.value != OnLost::Wait);
    let Some(on_lost) = gives_up else {
        if let Some(Spanned { span, .. }) = &job.lost_after {
            let message = format!("the job {name} has `lost_after`, and nothing is done then");
            let help = "add `on_lost: fail` or `on_lost: retry`, or remove `lost_after`";
            report.error(Code::LostAfterUnused, *span, message, help);
        }
        return;
    };
    if job.lost_after.is_none() {
        let message = format!("the job {name} has `on_lost`, and lacks `lost_after`");
        let help = "say after how long, such as `lost_after: 30m`";
        report.error(Code::LostAfterMissing, on_lost.span, message, help);
    }
    match job.task.as_ref().map(|task| &task.value) {
        Some(Task::Ssh(_)) => {
            let message = format!("the job {name} runs on a device, and cannot be given up");
            let help = "remove `on_lost`: ending a connection does not end what runs on the device";
            report.error(Code::LostOnDevice, on_lost.span, message, help);
        }
        Some(Task::Container(container)) if container.network == Some(Network::Host) => {
            let message = format!(
                "the job {name} reaches other hosts over its host's network: what it started there \
                 may go on when it is given up"
            );
            let help = "see that another attempt does no harm then, or write `on_lost: wait`";
            report.warning(Code::LostOnHostNetwork, on_lost.span, message, help);
        }
        Some(
            Task::Container(_)
            | Task::Gate(_)
            | Task::Process
            | Task::Pipeline(_)
            | Task::Render(_)
            | Task::Wait,
        )
        | None => {}
    }
}
