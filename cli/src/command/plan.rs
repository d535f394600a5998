//! `garrison plan`: what a trigger would run, without a coordinator.

mod mermaid;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use pipelines::compile::{Explained, explain};
use pipelines::event;
use pipelines::gate::{Asks, Gate, Gates};
use pipelines::left_out::LeftOut;
use pipelines::load::{Found, Need, load};
use pipelines::name::{LockName, PartitionName};
use pipelines::plan::{Job, Plan, Rollout, Task, When, Window};
use pipelines::schedule;
use pipelines::source::File;
use pipelines::trigger::Trigger;
use pipelines::trigger::limit::Limit;
use serde::Serialize;

use super::files::{self, Folders};
use super::trigger;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to plan.
#[derive(Debug, Args)]
pub struct Options {
    /// The pipeline's file, such as .garrison/deploy.yaml.
    file: PathBuf,
    /// As started by a push to this branch; by hand, if nothing else is said.
    #[arg(long, value_name = "BRANCH", group = "commits", conflicts_with = "tag")]
    push: Option<String>,
    /// As started by a pull request to this branch.
    #[arg(long, value_name = "BRANCH", group = "commits", conflicts_with = "tag")]
    pull_request: Option<String>,
    /// A file that the push or pull request changed; may be given several times. Without any, every file may
    /// have changed.
    #[arg(long, value_name = "PATH", requires = "commits")]
    changed: Vec<String>,
    /// As started by this tag.
    #[arg(long)]
    tag: Option<String>,
    /// As started by the event in this file: a CloudEvent, or any JSON.
    #[arg(long, value_name = "FILE", requires = "topic")]
    #[arg(conflicts_with_all = ["commits", "tag", "inputs", "limit"])]
    event: Option<PathBuf>,
    /// The event's topic.
    #[arg(long, requires = "event")]
    topic: Option<String>,
    /// The event's partition; none, if it is of none.
    #[arg(long, requires = "event")]
    partition: Option<PartitionName>,
    /// One of the pipeline's inputs; may be given several times.
    #[arg(long = "input", short, value_name = "NAME=VALUE", value_parser = trigger::input)]
    #[arg(conflicts_with_all = ["commits", "tag"])]
    inputs: Vec<(String, String)>,
    /// Where alone it goes; may be given several times.
    #[arg(long, value_name = "PARTITION[/DEVICE]", conflicts_with_all = ["commits", "tag"])]
    limit: Vec<Limit>,
    #[command(flatten)]
    folders: Folders,
    /// Another form than the one that `--output` names.
    #[arg(long = "as", value_enum, value_name = "FORM")]
    form: Option<Form>,
}

/// Forms beside text and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A Mermaid flowchart, for Markdown.
    Mermaid,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report<'p> {
    plan: &'p Plan,
    /// Of the plan's bytes, in hex: the same plan has the same one everywhere.
    sha256: String,
    left_out: &'p [LeftOut],
}

/// Shows what would run, in which order, and which jobs are left out and why.
pub fn run(options: &Options, format: Format) -> Result<Exit, Failure> {
    let happened = happened(options)?;
    let path = options.file.to_string_lossy();
    let among = files::partitions(options.folders.inventory.as_deref())?;
    let sources = load(path, among, |need| fetch(need, options));
    let explained = explain(&sources, &happened)
        .map_err(|diagnostics| Failure::usage(diagnostics.render().trim_end()))?;
    if options.form == Some(Form::Mermaid) {
        print(&mermaid::chart(&explained.plan))?;
        return Ok(Exit::Success);
    }
    let Explained { plan, left_out } = &explained;
    let report = Report { plan, sha256: plan.sha256(), left_out };
    output::print(format, &report, |report| text(report, &happened))?;
    Ok(Exit::Success)
}

fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn happened(options: &Options) -> Result<Trigger, Failure> {
    let changed = (!options.changed.is_empty()).then(|| options.changed.clone());
    if let Some(branch) = &options.push {
        return Ok(Trigger::push(branch).with_changed(changed));
    }
    if let Some(branch) = &options.pull_request {
        return Ok(Trigger::pull_request(branch).with_changed(changed));
    }
    if let Some(tag) = &options.tag {
        return Ok(Trigger::Tag { tag: tag.clone() });
    }
    if let (Some(event), Some(topic)) = (&options.event, &options.topic) {
        return of_event(options, event, topic);
    }
    Ok(Trigger::Manual { inputs: trigger::inputs(&options.inputs)?, limit: options.limit.clone() })
}

/// What an event starts, if the pipeline wants it.
fn of_event(options: &Options, event: &Path, topic: &str) -> Result<Trigger, Failure> {
    let read = |path: &Path| {
        let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
        std::fs::read(path).map_err(failed)
    };
    let received = event::Received {
        stream: "plan",
        id: "plan",
        topic,
        partition: options.partition.as_ref(),
        time_us: Timestamp::now().as_microsecond().cast_unsigned(),
        payload: &read(event)?,
    };
    let wrong = |reason| Failure::usage(format!("{} is no event: {reason}", event.display()));
    let message = event::read(&received).map_err(wrong)?.message;
    let name = options.file.to_string_lossy().into_owned();
    let file = File { name, bytes: read(&options.file)? };
    let found = schedule::find(&file)
        .map_err(|diagnostics| Failure::usage(diagnostics.render().trim_end()))?;
    let subscriptions = found.map(|it| it.subscriptions).unwrap_or_default();
    let Some(subscription) = subscriptions.into_iter().find(|it| it.wants(&message)) else {
        let text = "the pipeline does not want this event: see `topic`, `partition` and `when`";
        return Err(Failure::usage(text));
    };
    let inputs = subscription.inputs(&message).map_err(Failure::usage)?;
    let limit = options.partition.clone().map(|partition| Limit { partition, device: None });
    Ok(Trigger::Event { subscription, inputs, limit: limit.into_iter().collect() })
}

/// A partition whose inventory is not given is taken for one without devices.
fn fetch(need: &Need, options: &Options) -> Found {
    match (need, &options.folders.inventory) {
        (Need::Inventory(partition), None) => {
            let text = format!("partition: {partition}\ndevices: {{}}\n");
            Ok(File { name: format!("{partition}.yaml"), bytes: text.into_bytes() })
        }
        _ => files::fetch(need, &options.file, &options.folders),
    }
}

fn text(report: &Report<'_>, happened: &Trigger) -> String {
    let Report { plan, left_out, .. } = report;
    let mut text = format!("{} ({}), {happened}\n", plan.pipeline, plan.file);
    if let Some(lock) = &plan.lock {
        let _ = writeln!(text, "lock: {lock}");
    }
    for window in &plan.windows {
        let Window { partition, name, timezone, .. } = window;
        let _ = writeln!(text, "window in {partition}: {name}, {} ({timezone})", window.words());
    }
    for (name, value) in &plan.inputs {
        let _ = writeln!(text, "input {name}: {value}");
    }
    text.push('\n');
    let rows = plan.jobs.iter().enumerate().map(|(index, job)| row(index, job));
    text.push_str(&output::table(&["#", "PARTITION", "JOB", "RUNS", "AFTER"], rows));
    for (index, rollout) in plan.rollouts.iter().enumerate() {
        text.push_str(&waves(plan, index, rollout));
    }
    let gates = Gates::new(&plan.jobs);
    for (index, job) in plan.jobs.iter().enumerate() {
        if let Task::Gate(gate) = &job.task {
            let lock = plan.lock.as_ref().filter(|_| gates.is_behind_work(index));
            text.push_str(&message(index, job, gate, lock));
        }
    }
    if !left_out.is_empty() {
        text.push_str("\nleft out:\n");
        let rows = left_out.iter().map(|it| {
            vec![
                String::new(),
                it.partition.to_string(),
                it.title.to_string(),
                it.reason.to_string(),
            ]
        });
        text.push_str(&output::table(&["", "PARTITION", "JOB", "BECAUSE"], rows));
    }
    text
}

/// What people are told at a gate, and what is held while they think.
fn message(index: usize, job: &Job, gate: &Gate, lock: Option<&LockName>) -> String {
    let mut text = format!("\n{index} {} in {}: {}\n", job.title(), job.partition, gate.message);
    if let Asks::Acknowledgement { text: asked } = &gate.asks {
        let _ = writeln!(text, "   to be acknowledged: {asked}");
    }
    if let Some(lock) = lock {
        let _ = writeln!(text, "   the run may hold the lock {lock} while it waits");
    }
    text
}

/// What comes in which wave.
fn waves(plan: &Plan, index: usize, rollout: &Rollout) -> String {
    let is_of = |job: &&Job| job.rollouts.iter().any(|member| member.rollout as usize == index);
    let partition = plan.jobs.iter().find(is_of).map(|job| &job.partition);
    let over = match (&rollout.job, partition) {
        (Some(job), Some(partition)) => format!("devices of {job} in {partition}"),
        _ => "partitions".to_owned(),
    };
    let mut text = format!("\nrollout over {over}:\n");
    let rows = (0..rollout.waves()).map(|wave| {
        let units = rollout.units.iter().filter(|unit| unit.wave == wave);
        let units: Vec<&str> = units.map(|unit| unit.name.as_str()).collect();
        vec![(wave + 1).to_string(), units.join(", ")]
    });
    text.push_str(&output::table(&["WAVE", "UNITS"], rows));
    text
}

fn row(index: usize, job: &Job) -> Vec<String> {
    let mut how = match &job.task {
        Task::Process => "as a process".to_owned(),
        Task::Container(container) => format!("in {}", container.image),
        Task::Ssh(ssh) if ssh.reboot.is_some() => format!("on {}, which reboots", ssh.device),
        Task::Ssh(ssh) => format!("on {}", ssh.device),
        Task::Render(render) => format!("renders {}", render.to),
        Task::Wait => "waits".to_owned(),
        Task::Gate(gate) => format!("waits for {}", gate.wants(0)),
    };
    if let Some(lock) = &job.lock {
        let _ = write!(how, ", with the lock {lock}");
    }
    let needs: Vec<_> = job.needs.iter().map(u32::to_string).collect();
    let after = match (needs.is_empty(), job.when) {
        (true, _) => String::new(),
        (false, When::Success) => needs.join(", "),
        (false, When::Failure | When::Waive) => format!("a failure of {}", needs.join(", ")),
        (false, When::Always) => format!("the end of {}", needs.join(", ")),
    };
    vec![index.to_string(), job.partition.to_string(), job.title().to_string(), how, after]
}
