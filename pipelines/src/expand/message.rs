//! What gates say of what they let through, which is known only once the plan is whole.

use std::collections::BTreeMap;

use super::Expansion;
use crate::ast::Text;
use crate::diagnostic::Report;
use crate::gate::Gates;
use crate::limits;
use crate::matrix::Combination;
use crate::name::PartitionName;
use crate::plan::Task;
use crate::scope;

/// The message of a gate that is in the plan already.
pub(super) struct Message<'p> {
    pub(super) gate: usize,
    pub(super) partition: &'p PartitionName,
    /// The summary of what it lets through, if missing.
    pub(super) text: Option<&'p Text>,
    /// What it reads as variables.
    pub(super) variables: BTreeMap<String, String>,
}

impl Expansion<'_> {
    /// Says what gates let through, now that all of it is known; none if it is too much.
    pub(super) fn write_messages(&mut self, report: &mut Report<'_>) -> Option<()> {
        let gates = Gates::new(&self.jobs);
        let (mut texts, mut bytes) = (Vec::new(), self.bytes);
        for Message { gate, partition, text, variables } in std::mem::take(&mut self.messages) {
            let place = scope::Place {
                partition: partition.as_str(),
                labels: self.known.inventories.get(partition).map(|inventory| &inventory.labels),
                matrix: &Combination::new(),
                device: None,
                agent: None,
            };
            let summary = gates.summary(gate);
            let text = match text {
                Some(text) => self.fill.message(&place, variables, text, &summary, report),
                None => summary,
            };
            bytes += text.len();
            if bytes > limits::PLAN_BYTES {
                break;
            }
            texts.push((gate, text));
        }
        self.bytes = bytes;
        for (gate, text) in texts {
            if let Task::Gate(gate) = &mut self.jobs[gate].task {
                gate.message = text;
            }
        }
        self.fits(report)
    }
}
