//! Jobs that need each other in a circle.

use crate::ast::Pipeline;
use crate::diagnostic::{Code, Report, quoted};
use crate::graph::Graph;

/// Most jobs of a circle that a message names.
const SHOWN: usize = 8;

/// Reports each circle at the entry of `needs` that closes it.
pub(super) fn check(pipeline: &Pipeline, report: &mut Report<'_>) {
    let graph = Graph::new(pipeline);
    for cycle in graph.cycles() {
        let (Some(&first), Some(&last)) = (cycle.first(), cycle.last()) else { continue };
        let name = |job: usize| pipeline.jobs[job].name.value.as_str();
        let closing =
            pipeline.jobs[last].needs.iter().find(|need| need.job.value.as_str() == name(first));
        let Some(closing) = closing else { continue };
        let shown: Vec<_> = cycle.iter().take(SHOWN).map(|&job| quoted(name(job))).collect();
        let dots = if cycle.len() > SHOWN { "… → " } else { "" };
        let path = format!("{} → {dots}{}", shown.join(" → "), quoted(name(first)));
        let message = format!("these jobs need each other in a circle: {path}");
        let help = "remove one of these `needs`, so that one of the jobs can be the first";
        report.error(Code::Cycle, closing.job.span, message, help);
    }
}
