//! In which of its partitions a pipeline runs.

use std::collections::BTreeMap;

use crate::ast::Pipeline;
use crate::check::Inventories;
use crate::condition::Condition;
use crate::diagnostic::{Code, Report};
use crate::left_out::Reason;
use crate::matrix::Combination;
use crate::name::PartitionName;
use crate::parse;
use crate::scope::{self, Scope};
use crate::source::Spanned;
use crate::trigger::Trigger;
use crate::trigger::limit::Limit;

/// The partitions, or `only` this one of them, in which nothing runs, and why.
pub(super) fn unchosen<'p>(
    pipeline: &'p Pipeline,
    only: Option<&PartitionName>,
    trigger: &Trigger,
    run: &Scope,
    inventories: &Inventories,
    report: &mut Report<'_>,
) -> BTreeMap<&'p PartitionName, Reason> {
    let mut unchosen = BTreeMap::new();
    for Spanned { value: partition, .. } in &pipeline.partitions {
        if !Limit::allow(trigger.limit(), partition) {
            unchosen.insert(partition, Reason::Limited);
        }
    }
    let Some(choice) = &pipeline.choice else { return unchosen };
    let names = scope::names(pipeline);
    let select = choice
        .select
        .as_ref()
        .and_then(|text| Some((Condition::parse(&text.value, &names).ok()?, text.span)));
    for Spanned { value: partition, .. } in &pipeline.partitions {
        if only.is_some_and(|only| only != partition) {
            continue;
        }
        if let Some((condition, span)) = &select {
            let mut scope = run.clone();
            let labels = inventories.get(partition).map(|inventory| &inventory.labels);
            let place = scope::Place {
                partition: partition.as_str(),
                labels,
                matrix: &Combination::new(),
                device: None,
                agent: None,
            };
            place.extend(&mut scope);
            match condition.when(&scope, trigger.changed()) {
                Ok(Some(_)) => {}
                Ok(None) => drop(unchosen.insert(partition, Reason::NotSelected)),
                Err(complaint) => report.complain(Code::InvalidCondition, *span, complaint),
            }
        }
        let (Some(pattern), Some(changed)) = (&choice.changed, trigger.changed()) else { continue };
        let Some(files) = parse::files_of(&pattern.value, partition) else { continue };
        if !changed.iter().any(|path| files.matches_file(path)) {
            let files = files.as_str().to_owned();
            unchosen.entry(partition).or_insert(Reason::Unchanged { files });
        }
    }
    unchosen
}
