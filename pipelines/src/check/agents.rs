//! Whether there are agents for a job that runs on each.

use super::Inventories;
use crate::ast::{Job, Pipeline};
use crate::diagnostic::{Code, Report, quoted};
use crate::name::PartitionName;

/// Reports partitions of a job on each agent whose inventories list no agents.
pub(super) fn check(
    pipeline: &Pipeline,
    job: &Job,
    inventories: &Inventories,
    report: &mut Report<'_>,
) {
    let Some(span) = job.agents.each() else { return };
    for partition in pipeline.partitions_of(job) {
        let inventory = inventories.get(&partition.value);
        if inventory.is_some_and(|inventory| inventory.agents.is_empty()) && !report.is_full() {
            let message = format!(
                "the job {} runs on each agent, but the inventory of {} lists none",
                quoted(job.name.value.as_str()),
                quoted(partition.value.as_str())
            );
            let help = "list them in the inventory, such as `agents: { mgmt01: {} }`, or limit the \
                        job's `partitions`";
            report.error(Code::NoAgents, span, message, help);
        }
    }
}

/// On how many agents of a partition a job runs; one where that is not known.
pub(super) fn count(job: &Job, partition: &PartitionName, inventories: &Inventories) -> usize {
    match (job.agents.each(), inventories.get(partition)) {
        (Some(_), Some(inventory)) => inventory.agents.len(),
        (Some(_), None) | (None, _) => 1,
    }
}
