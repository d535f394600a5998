//! A plan as a Mermaid flowchart. Source: mermaid.js.org/syntax/flowchart.html.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipelines::name::PartitionName;
use pipelines::plan::{Plan, Task, When};

/// One subgraph a partition, a hexagon for a gate, one arrow a need; dotted where a job runs after a failure or any end.
pub(super) fn chart(plan: &Plan) -> String {
    let mut partitions: BTreeMap<&PartitionName, Vec<usize>> = BTreeMap::new();
    for (index, job) in plan.jobs.iter().enumerate() {
        partitions.entry(&job.partition).or_default().push(index);
    }
    let mut chart = String::from("flowchart LR\n");
    for (number, (partition, jobs)) in partitions.iter().enumerate() {
        let _ = writeln!(chart, "  subgraph p{number}[\"{partition}\"]");
        for &index in jobs {
            let job = &plan.jobs[index];
            let title = escaped(&job.title().to_string());
            let _ = match &job.task {
                Task::Gate(gate) => {
                    writeln!(chart, "    j{index}{{{{\"{title}: {}\"}}}}", gate.wants(0))
                }
                Task::Process
                | Task::Container(_)
                | Task::Ssh(_)
                | Task::Render(_)
                | Task::Wait => {
                    writeln!(chart, "    j{index}[\"{title}\"]")
                }
            };
        }
        chart.push_str("  end\n");
    }
    for (index, job) in plan.jobs.iter().enumerate() {
        let arrow = match job.when {
            When::Success => "-->",
            When::Failure | When::Waive => "-. failure .->",
            When::Always => "-. end .->",
        };
        for need in &job.needs {
            let _ = writeln!(chart, "  j{need} {arrow} j{index}");
        }
    }
    chart
}

/// Variants may be named by any text.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '#' | '&' | '<' | '>' | '`' | '\\' => format!("#{};", u32::from(c)),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_box() {
        assert_eq!(escaped("a (x=\"]\n<b>)"), "a (x=#34;] #60;b#62;)");
    }
}
