//! Which partitions `select` may ever choose.

use std::borrow::Cow;

use super::Inventories;
use crate::ast::Pipeline;
use crate::condition::Condition;
use crate::inventory::Inventory;
use crate::matrix::Combination;
use crate::name::PartitionName;
use crate::scope::{self, Scope};

/// The inventories that jobs are compared with: without those of partitions that `select` leaves out by
/// their names and labels alone, whatever the run.
pub(super) fn of_possible<'i>(
    pipeline: &Pipeline,
    inventories: &'i Inventories,
) -> Cow<'i, Inventories> {
    let select = pipeline.choice.as_ref().and_then(|choice| choice.select.as_ref());
    let condition = select.and_then(|it| Condition::parse(&it.value, &scope::names(pipeline)).ok());
    let Some(condition) = condition else { return Cow::Borrowed(inventories) };
    let is_possible = |(partition, inventory): &(&PartitionName, &Inventory)| {
        let mut known = Scope::new();
        let place = scope::Place {
            partition: partition.as_str(),
            labels: Some(&inventory.labels),
            matrix: &Combination::new(),
            device: None,
            agent: None,
        };
        place.extend(&mut known);
        // What also asks about the run cannot be told yet.
        !matches!(condition.when(&known, None), Ok(None))
    };
    let possible = inventories.iter().filter(is_possible);
    Cow::Owned(possible.map(|(name, its)| (name.clone(), its.clone())).collect())
}
