//! What jobs' Ansible is given: each partition's devices once for all of its jobs.

use std::collections::BTreeSet;

use crate::ast::Ansible as Written;
use crate::check::Inventories;
use crate::diagnostic::{Code, Report, quoted};
use crate::inventory::ansible::{HostKeys, document, known_hosts};
use crate::limits;
use crate::name::PartitionName;
use crate::plan::{Ansible, AnsibleInventory, Job};
use crate::source::Span;

/// An inventory's recap is always wanted.
pub(super) fn ansible(written: &Written) -> Option<Ansible> {
    let Written { inventory, recap } = written;
    (inventory.is_some() || recap.is_some()).then(|| Ansible { inventory: inventory.is_some() })
}

/// The inventories that the jobs are given, beside `bytes` of other texts; none if they are too much.
pub(super) fn inventories(
    jobs: &[Job],
    inventories: &Inventories,
    mut bytes: usize,
    report: &mut Report<'_>,
) -> Option<Vec<AnsibleInventory>> {
    let with_inventory = |job: &&Job| job.ansible.as_ref().is_some_and(|it| it.inventory);
    let partitions: BTreeSet<&PartitionName> =
        jobs.iter().filter(with_inventory).map(|job| &job.partition).collect();
    let mut given = Vec::new();
    for partition in partitions {
        let inventory = inventories.get(partition)?;
        let hosts = document(inventory, HostKeys::OfTheJob);
        let known_hosts = known_hosts(inventory);
        let own = hosts.len() + known_hosts.len();
        bytes += own;
        if own > limits::ANSIBLE_BYTES || bytes > limits::PLAN_BYTES {
            too_large(partition, own, report);
            return None;
        }
        given.push(AnsibleInventory { partition: partition.clone(), hosts, known_hosts });
    }
    Some(given)
}

fn too_large(partition: &PartitionName, own: usize, report: &mut Report<'_>) {
    let name = quoted(partition.as_str());
    let message = match own > limits::ANSIBLE_BYTES {
        true => format!(
            "the inventory of {name} has {} KiB as Ansible reads it, with its host keys; at most {} MiB fit",
            own >> 10,
            limits::ANSIBLE_BYTES >> 20
        ),
        false => format!(
            "the plan would hold more than {} MiB with the inventory of {name} for Ansible",
            limits::PLAN_BYTES >> 20
        ),
    };
    let help =
        "shorten variables of devices, name fewer partitions, or remove `inventory: ansible`";
    report.error(Code::PlanTooLarge, Span::START, message, help);
}
