//! Pipelines that jobs of another one stand for: read and checked as what they are, and against the
//! jobs that start them.
//!
//! A pipeline that is started so gets no run of its own: its jobs stand in the plan of the one that
//! starts it. So the plan says beforehand all that will happen, and no run waits for another while it
//! holds a lock.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Call, Job, Pipeline, Task};
use crate::check::{self, Inventories};
use crate::compile;
use crate::diagnostic::{Code, Diagnostics, Report, quoted};
use crate::include::{self, Include};
use crate::input;
use crate::limits;
use crate::load::{Sources, Unavailable};
use crate::name::{LockName, PartitionName, WindowName};
use crate::parse;
use crate::source::{Source, Spanned};
use crate::template::is_template;
use crate::yaml::{Document, Entry, Node, Value};

/// The pipelines that a pipeline starts, and those that these start, by their files.
pub(crate) type Calls = BTreeMap<Include, Called>;

/// A pipeline that another one starts.
pub(crate) struct Called {
    /// Its own file, and those that it includes.
    pub(crate) files: Vec<Source>,
    /// Only in partitions of the one that starts it.
    pub(crate) pipeline: Pipeline,
    /// Its own.
    lock: Option<LockName>,
    /// Its own.
    window: Option<WindowName>,
    /// How many jobs it is at most in one partition, itself counted as one.
    weight: usize,
}

/// The files of pipelines that the jobs and templates of a file start.
pub(crate) fn named(document: &Document, report: &mut Report<'_>) -> Vec<Include> {
    let jobs = |key: &str| {
        let jobs = entries(&document.root).iter().find(|entry| entry.key.text == key);
        jobs.map(|entry| entries(&entry.value)).unwrap_or_default()
    };
    let keys = jobs("jobs").iter().chain(jobs("templates")).flat_map(|job| entries(&job.value));
    let calls = keys.filter(|entry| entry.key.text == "pipeline");
    calls.filter_map(|entry| Some(parse::call(report, entry)?.file.value)).collect()
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

/// All that `root`, whose files are `files`, starts. What cannot be read or started is reported, and
/// missing.
pub(crate) fn resolve(
    root: &Pipeline,
    files: &[Source],
    sources: &Sources,
    inventories: &Inventories,
    found: &mut Diagnostics,
) -> Calls {
    let mut reader = Reader { root, sources, inventories, calls: Calls::new(), bytes: 0 };
    let own = Include { pinned: None, file: sources.path.clone() };
    reader.follow(root, files, &mut vec![own], found);
    let is_call = |job: &&Job| call_of(job).is_some();
    let copies = root.jobs.iter().filter(is_call).map(|job| {
        root.partitions_of(job)
            .len()
            .saturating_mul(weight(std::slice::from_ref(job), &reader.calls))
    });
    let count = copies.fold(0_usize, usize::saturating_add);
    if count > limits::JOBS {
        let message = format!(
            "the pipelines that this one starts have {count} jobs, counted once for each partition; \
             at most {} fit",
            limits::JOBS
        );
        let help = "use fewer partitions or jobs, or start the pipelines by themselves";
        let span =
            root.jobs.iter().find_map(call_of).map(|call| call.file.span).unwrap_or_default();
        Report::among(files, found).error(Code::TooManyJobs, span, message, help);
    }
    reader.calls
}

/// What a job starts.
fn call_of(job: &Job) -> Option<&Call> {
    match &job.task.as_ref()?.value {
        Task::Pipeline(call) => Some(call),
        Task::Process
        | Task::Container(_)
        | Task::Ssh(_)
        | Task::Render(_)
        | Task::Wait
        | Task::Gate(_) => None,
    }
}

fn weight(jobs: &[Job], calls: &Calls) -> usize {
    let of_job = |job: &Job| match call_of(job) {
        Some(call) => calls.get(&call.file.value).map_or(1, |called| called.weight),
        None => job.matrix.as_ref().map_or(1, |matrix| matrix.combinations.len()),
    };
    jobs.iter().map(of_job).fold(0, usize::saturating_add)
}

struct Reader<'r> {
    root: &'r Pipeline,
    sources: &'r Sources,
    inventories: &'r Inventories,
    calls: Calls,
    /// Of all files that were read.
    bytes: usize,
}

impl Reader<'_> {
    /// Reads what `pipeline` starts; `path` leads from the first pipeline to it.
    fn follow(
        &mut self,
        pipeline: &Pipeline,
        files: &[Source],
        path: &mut Vec<Include>,
        found: &mut Diagnostics,
    ) {
        for job in &pipeline.jobs {
            let Some(call) = call_of(job) else { continue };
            let include = &call.file.value;
            if path.contains(include) {
                let names: Vec<_> = path.iter().chain([include]).map(ToString::to_string).collect();
                let names = quoted(&names.join(" → "));
                let message = format!("these pipelines start each other: {names}");
                let help = "remove one of these jobs";
                let mut report = Report::among(files, found);
                report.error(Code::CallCycle, call.file.span, message, help);
                continue;
            }
            if !self.calls.contains_key(include) {
                let Some(mut called) = self.read(call, files, found) else { continue };
                path.push(include.clone());
                self.follow(&called.pipeline, &called.files, path, found);
                path.pop();
                called.weight = weight(&called.pipeline.jobs, &self.calls).saturating_add(1);
                self.calls.insert(include.clone(), called);
            }
            if let Some(called) = self.calls.get(include) {
                let mut report = Report::among(files, found);
                fits(self.root, pipeline, job, call, called, &mut report);
            }
        }
    }

    fn read(&mut self, call: &Call, files: &[Source], found: &mut Diagnostics) -> Option<Called> {
        let Spanned { value: include, span } = &call.file;
        let file = match self.sources.included.get(include) {
            Some(Ok(file)) => file,
            unavailable => {
                let unavailable = unavailable.and_then(|it| it.as_ref().err());
                let why = unavailable.unwrap_or(&Unavailable::NotAtHand);
                include::not_to_be_had(include, *span, why, &mut Report::among(files, found));
                return None;
            }
        };
        self.bytes += file.bytes.len();
        if self.bytes > limits::EXPANDED_BYTES {
            let most = limits::EXPANDED_BYTES;
            let message = format!("the pipelines that this one starts have more than {most} bytes");
            let help = "move long scripts into files of their own, or start some by themselves";
            let mut report = Report::among(files, found);
            report.error(Code::TooManyIncludes, *span, message, help);
            return None;
        }
        let own = include.pinned.as_ref();
        let (mut pipeline, files) = compile::parse(file, own, self.sources, found)?;
        self.bytes += files.iter().skip(1).map(|included| included.text().len()).sum::<usize>();
        let among: BTreeSet<&PartitionName> =
            self.root.partitions.iter().map(|partition| &partition.value).collect();
        pipeline.partitions.retain(|partition| among.contains(&partition.value));
        for partitions in pipeline.jobs.iter_mut().filter_map(|job| job.partitions.as_mut()) {
            partitions.retain(|partition| among.contains(&partition.value));
        }
        // Its jobs work under the lock of the run that they belong to.
        let lock = std::mem::replace(&mut pipeline.lock, self.root.lock.clone());
        // They begin when that run may.
        let window = pipeline.window.take().map(|window| window.value);
        check::check(&pipeline, self.inventories, &mut Report::among(&files, found));
        Some(Called { files, pipeline, lock, window, weight: 1 })
    }
}

/// Reports why a job cannot start what it names.
fn fits(
    root: &Pipeline,
    caller: &Pipeline,
    job: &Job,
    call: &Call,
    called: &Called,
    report: &mut Report<'_>,
) {
    let Spanned { value: include, span } = &call.file;
    let name = quoted(&include.to_string());
    let mut cannot = |why: String, help: &str| {
        report.error(
            Code::InvalidCall,
            *span,
            format!("{name} cannot be started here: {why}"),
            help,
        );
    };
    if called.pipeline.on.as_ref().is_some_and(|on| !on.manual) {
        let help = "add `manual: {}` to its `on`: what others start can also be started by hand";
        cannot("it does not start by hand".to_owned(), help);
    }
    if called.pipeline.concurrency.is_some() {
        let help =
            "give `concurrency` to this pipeline instead: what it starts is part of its runs";
        cannot("it has `concurrency`, which is of whole runs".to_owned(), help);
    }
    if called.pipeline.rollout.is_some() {
        let help = "give `rollout` to the partitions of the first pipeline instead";
        cannot("its partitions have a `rollout`, which is of whole runs".to_owned(), help);
    }
    if let Some(lock) = called.lock.as_ref().filter(|lock| root.lock.as_ref() != Some(lock)) {
        let help = "give the first pipeline the same `lock`: it is taken once, for the whole run";
        let lock = quoted(lock.as_str());
        let why = match &root.lock {
            Some(own) => format!("it has the lock {lock}, and the run {}", quoted(own.as_str())),
            None => format!("it has the lock {lock}, and the run has none"),
        };
        cannot(why, help);
    }
    let own = root.window.as_ref().map(|window| &window.value);
    if let Some(window) = called.window.as_ref().filter(|window| own != Some(window)) {
        let help = "give the first pipeline the same `window`: what it starts is part of its runs";
        let window = quoted(window.as_str());
        let why = match own {
            Some(own) => {
                format!("it has the window {window}, and the run {}", quoted(own.as_str()))
            }
            None => format!("it has the window {window}, and the run has none"),
        };
        cannot(why, help);
    }
    let runs_in: BTreeSet<_> = called.pipeline.partitions.iter().map(|it| &it.value).collect();
    let lacking = caller.partitions_of(job).iter().find(|it| !runs_in.contains(&it.value));
    if let Some(lacking) = lacking {
        let help = "add the partition there, or limit the job's `partitions`";
        cannot(format!("it does not run in {}", quoted(lacking.value.as_str())), help);
    }
    let declared = &called.pipeline.inputs;
    let given = call.inputs.iter();
    let given = given.map(|(name, text)| (name, (!is_template(&text.value)).then_some(text)));
    input::check_given(declared, given, report);
    let is_given = |name: &str| call.inputs.iter().any(|(given, _)| given.value == name);
    for input in declared.iter().filter(|it| it.default.is_none() && !is_given(&it.name.value)) {
        let input = &input.name.value;
        let message = format!("{name} lacks its required input {}", quoted(input));
        let help = format!("add `inputs: {{ {input}: … }}`, or give the input a `default` there");
        report.error(Code::MissingInput, *span, message, help);
    }
}
