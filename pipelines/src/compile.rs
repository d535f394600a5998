//! From sources to a plan, or to everything that is wrong with them.

use crate::ast::Pipeline;
use crate::check::{self, Inventories};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Report, quoted};
use crate::expand::expand;
use crate::input;
use crate::inventory;
use crate::load::{Sources, Unavailable};
use crate::name::PartitionName;
use crate::parse;
use crate::plan::Plan;
use crate::source::{Source, Span};
use crate::suggest;
use crate::trigger::{self, Answer, Trigger};
use crate::yaml;

/// The plan of a run that `trigger` starts. The same sources and trigger give the same plan, byte
/// for byte.
///
/// # Errors
/// Everything that is wrong with the pipeline or the inventories that it uses; or, if nothing is,
/// that it does not start on this trigger.
pub fn compile(sources: &Sources, trigger: &Trigger) -> Result<Plan, Diagnostics> {
    let mut found = Diagnostics::default();
    let plan = read(sources, &mut found).and_then(|read| {
        if found.has_errors() {
            return None;
        }
        not_triggered(&read, trigger, &mut found);
        let on = read.pipeline.on.as_ref().map_or(Span::START, |on| on.span);
        let mut report = Report::new(&read.source, &mut found);
        let inputs = input::resolve(&read.pipeline.inputs, &trigger.inputs(), on, &mut report);
        expand(&read.pipeline, &sources.path, &inputs, &read.inventories)
    });
    match plan {
        Some(plan) if !found.has_errors() => Ok(plan),
        _ => Err(found.sorted()),
    }
}

/// Everything that is wrong with the pipeline, whatever would start it. Inventories that are not at
/// hand are a warning here, as nothing is about to run.
pub fn lint(sources: &Sources) -> Diagnostics {
    let mut found = Diagnostics::default();
    read(sources, &mut found);
    found.warn_only_about(Code::InventoryNotAtHand);
    found.sorted()
}

/// What could be read.
struct Read {
    source: Source,
    pipeline: Pipeline,
    inventories: Inventories,
}

fn read(sources: &Sources, found: &mut Diagnostics) -> Option<Read> {
    let file = match &sources.pipeline {
        Ok(file) => file,
        Err(unavailable) => {
            found.push(no_pipeline(&sources.path, unavailable));
            return None;
        }
    };
    let document = yaml::read(file, found)?;
    let pipeline = parse::pipeline(&document, &mut Report::new(&document.source, found))?;
    let inventories = inventories(&pipeline, sources, &document.source, found);
    check::check(&pipeline, &inventories, &mut Report::new(&document.source, found));
    Some(Read { source: document.source, pipeline, inventories })
}

fn no_pipeline(path: &str, unavailable: &Unavailable) -> Diagnostic {
    let (reason, help) = match unavailable {
        Unavailable::Failed(reason) => {
            (reason.as_str(), "try again; if it stays so, tell who runs the coordinator")
        }
        Unavailable::NotBound { .. }
        | Unavailable::NotAllowed
        | Unavailable::NotFound
        | Unavailable::NotAtHand => ("there is no such file", "check the path and the commit"),
    };
    let message = format!("the pipeline {} cannot be read: {reason}", quoted(path));
    let mut diagnostic = Diagnostic::about_file(Code::FileUnavailable, path, message);
    diagnostic.help = Some(help.to_owned());
    diagnostic
}

fn inventories(
    pipeline: &Pipeline,
    sources: &Sources,
    source: &Source,
    found: &mut Diagnostics,
) -> Inventories {
    let mut inventories = Inventories::new();
    for partition in &pipeline.partitions {
        if inventories.contains_key(&partition.value) {
            continue;
        }
        let name = &partition.value;
        match sources.inventories.get(name).unwrap_or(&Err(Unavailable::NotAtHand)) {
            Ok(file) => {
                let inventory = inventory::read_into(file, name, found);
                inventories.extend(inventory.map(|inventory| (name.clone(), inventory)));
            }
            Err(unavailable) => {
                let mut report = Report::new(source, found);
                no_inventory(name, partition.span, unavailable, &mut report);
            }
        }
    }
    inventories
}

fn no_inventory(
    partition: &PartitionName,
    span: Span,
    unavailable: &Unavailable,
    report: &mut Report<'_>,
) {
    let name = quoted(partition.as_str());
    let (code, message, help) = match unavailable {
        Unavailable::NotBound { known } => {
            let otherwise =
                "bind it to its inventory in the coordinator's configuration; known are";
            let known = known.iter().map(PartitionName::as_str);
            let help = suggest::advice(partition.as_str(), known, otherwise);
            (Code::UnknownPartition, format!("there is no partition {name}"), help)
        }
        Unavailable::NotAllowed => (
            Code::PartitionNotAllowed,
            format!("this repository may not deploy to {name}"),
            "remove it, or have the repository allowed there in the coordinator's configuration"
                .to_owned(),
        ),
        Unavailable::NotFound => (
            Code::InventoryUnavailable,
            format!("the inventory of {name} does not exist where it should"),
            "add the file to the inventory's repository, or correct the coordinator's binding"
                .to_owned(),
        ),
        Unavailable::Failed(reason) => (
            Code::InventoryUnavailable,
            format!("the inventory of {name} cannot be fetched: {reason}"),
            "try again; if it stays so, tell who runs the coordinator".to_owned(),
        ),
        Unavailable::NotAtHand => (
            Code::InventoryNotAtHand,
            format!("the inventory of {name} is not at hand, so its devices were not checked"),
            "give the inventory's file to have them checked".to_owned(),
        ),
    };
    report.error(code, span, message, help);
}

fn not_triggered(read: &Read, trigger: &Trigger, found: &mut Diagnostics) {
    let Some(on) = &read.pipeline.on else { return };
    let Answer::Ignored { reason } = trigger::accepts(on, trigger) else { return };
    let message = format!("this pipeline {reason}");
    let help = "trigger it that way, or extend `on`";
    Report::new(&read.source, found).error(Code::NotTriggered, on.span, message, help);
}
