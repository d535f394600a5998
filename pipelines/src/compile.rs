//! From sources to a plan, or to everything that is wrong with them.

use crate::ast::Pipeline;
use crate::call::{self, Calls};
use crate::check::{self, Inventories};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Report, quoted};
use crate::expand::{Known, expand};
use crate::extend;
use crate::files::Files;
use crate::include::{self, Pinned};
use crate::input;
use crate::inventory;
use crate::left_out::LeftOut;
use crate::load::{Sources, UNREADABLE, Unavailable};
use crate::name::PartitionName;
use crate::parse;
use crate::plan::Plan;
use crate::source::{File, Source, Span, Spanned};
use crate::suggest;
use crate::template::Templates;
use crate::tree::Tree;
use crate::trigger::{self, Answer, Trigger};
use crate::yaml;

/// The plan of a run that `trigger` starts. The same sources and trigger give the same plan, byte
/// for byte.
///
/// # Errors
/// Everything that is wrong with the pipeline or the inventories that it uses; or, if nothing is,
/// that it does not start on this trigger.
pub fn compile(sources: &Sources, trigger: &Trigger) -> Result<Plan, Diagnostics> {
    explain(sources, trigger).map(|explained| explained.plan)
}

/// A plan, and what is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The plan.
    pub plan: Plan,
    /// The jobs that are not in it, in the order in which they would stand there.
    pub left_out: Vec<LeftOut>,
}

/// The same as [`compile`], with the jobs that are left out.
///
/// # Errors
/// As [`compile`].
pub fn explain(sources: &Sources, trigger: &Trigger) -> Result<Explained, Diagnostics> {
    let mut found = Diagnostics::default();
    let explained = read(sources, &mut found).and_then(|read| {
        if found.has_errors() {
            return None;
        }
        not_triggered(&read, trigger, &mut found);
        let on = read.pipeline.on.as_ref().map_or(Span::START, |on| on.span);
        let mut report = Report::among(&read.files, &mut found);
        let inputs = input::resolve(&read.pipeline.inputs, &trigger.inputs(), on, &mut report);
        let Read { pipeline, inventories, calls, .. } = &read;
        trigger::limit::check(trigger.limit(), pipeline, inventories, on, &mut report);
        let templates = Templates::new(tree(sources));
        let known = Known { trigger, inventories, calls, templates: &templates, only: None };
        let explained = expand(pipeline, &sources.path, &inputs, known, &mut report)?;
        nothing_to_do(&explained, trigger, on, &mut report);
        Some(explained)
    });
    match explained {
        Some(explained) if !found.has_errors() => Ok(explained),
        _ => Err(found.sorted()),
    }
}

/// The files of the commit. That they cannot be had matters where something asks for them.
fn tree(sources: &Sources) -> Tree {
    match &sources.tree {
        Some(Ok(listing)) => Tree::parse(&listing.bytes),
        Some(Err(Unavailable::Failed(reason))) => Tree::unavailable(reason),
        Some(Err(_)) | None => Tree::unavailable("they are not at hand"),
    }
}

/// Who asks for a run wants one; a push that concerns no job is nothing special.
fn nothing_to_do(explained: &Explained, trigger: &Trigger, on: Span, report: &mut Report<'_>) {
    let (Trigger::Manual { .. }, true) = (trigger, explained.plan.jobs.is_empty()) else { return };
    let message = match explained.left_out.first() {
        Some(first) => format!(
            "there is nothing to do: every job is left out, such as {} in {}: {}",
            quoted(&first.title.to_string()),
            first.partition,
            first.reason
        ),
        None => "there is nothing to do: this repository may deploy to no partition".to_owned(),
    };
    let help = "choose other inputs, or see with `garrison plan` why each job is left out";
    report.error(Code::NothingToDo, on, message, help);
}

/// Everything that is wrong with the pipeline, whatever would start it. Inventories that are not at
/// hand are a warning here, as nothing is about to run.
pub fn lint(sources: &Sources) -> Diagnostics {
    let mut found = Diagnostics::default();
    read(sources, &mut found);
    found.warn_only_about(Code::InventoryNotAtHand);
    found.sorted()
}

/// What a pipeline's jobs cannot find in their repository, or cannot do where they run; nothing of what
/// [`lint`] finds.
pub fn lint_source(sources: &Sources, files: &Files) -> Diagnostics {
    let (mut found, mut told) = (Diagnostics::default(), Diagnostics::default());
    let file = sources.pipeline.as_ref().ok();
    let parsed = file.and_then(|file| parse(file, None, sources, &mut told));
    if let Some((pipeline, texts)) = parsed {
        check::source::check(&pipeline, files, &mut Report::among(&texts, &mut found));
    }
    found.sorted()
}

/// What could be read.
struct Read {
    /// The pipeline's own, and those that it includes.
    files: Vec<Source>,
    pipeline: Pipeline,
    inventories: Inventories,
    calls: Calls,
}

fn read(sources: &Sources, found: &mut Diagnostics) -> Option<Read> {
    let file = match &sources.pipeline {
        Ok(file) => file,
        Err(unavailable) => {
            found.push(no_pipeline(&sources.path, unavailable));
            return None;
        }
    };
    let (pipeline, files) = parse(file, None, sources, found)?;
    let inventories = inventories(&pipeline, sources, &files, found);
    check::check(&pipeline, &inventories, &mut Report::among(&files, found));
    let calls = call::resolve(&pipeline, &files, sources, &inventories, found);
    Some(Read { files, pipeline, inventories, calls })
}

/// The pipeline in `file`, with what it includes, and the texts of all its files; what it includes
/// without a repository is of its own.
pub(crate) fn parse(
    file: &File,
    own: Option<&Pinned>,
    sources: &Sources,
    found: &mut Diagnostics,
) -> Option<(Pipeline, Vec<Source>)> {
    let document = yaml::read(file, found)?;
    let (root, files) = include::resolve(document, own, &sources.included, found)?;
    let root = extend::resolve(root, &mut Report::among(&files, found));
    let mut pipeline = parse::pipeline(&root, &mut Report::among(&files, found))?;
    if let (Some(choice), true) = (&pipeline.choice, pipeline.partitions.is_empty()) {
        let among = sources.among.iter().map(|name| Spanned::new(name.clone(), choice.span));
        pipeline.partitions = among.collect();
    }
    Some((pipeline, files))
}

fn no_pipeline(path: &str, unavailable: &Unavailable) -> Diagnostic {
    let (reason, help) = match unavailable {
        Unavailable::Failed(reason) => {
            (reason.as_str(), "try again; if it stays so, tell who runs the coordinator")
        }
        Unavailable::Unreadable(reason) => (reason.as_str(), UNREADABLE),
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
    files: &[Source],
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
                let mut report = Report::among(files, found);
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
        Unavailable::Unreadable(reason) => (
            Code::InventoryUnavailable,
            format!("the inventory of {name} cannot be read: {reason}"),
            UNREADABLE.to_owned(),
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
    Report::among(&read.files, found).error(Code::NotTriggered, on.span, message, help);
}
