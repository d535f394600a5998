//! `garrison trigger`.

use clap::Args;
use coordinator::api::types::{NewTrigger, RunDetail, Trigger, Triggered};
use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::name::{PipelineName, RepositoryName};
use pipelines::trigger::limit::Limit;
use uuid::Uuid;

use super::show;
use crate::client::Client;
use crate::exit::{self, Exit, Failure};
use crate::output::{self, Format};

/// What to start.
#[derive(Debug, Args)]
pub struct Options {
    /// The pipeline's name.
    pipeline: PipelineName,
    /// Its repository, as the coordinator's configuration calls it.
    #[arg(long, short)]
    repository: RepositoryName,
    /// Branch, full reference, or full hash of a commit.
    #[arg(long = "ref", default_value = "main")]
    reference: String,
    /// One of the pipeline's inputs; may be given several times.
    #[arg(long = "input", short, value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, String)>,
    /// Where alone it goes; may be given several times.
    #[arg(long, value_name = "PARTITION[/DEVICE]")]
    limit: Vec<Limit>,
    /// Waits for the run's end, shows its progress, and exits with its outcome.
    #[arg(long, short)]
    follow: bool,
    /// Makes it safe to repeat this command: the same key starts one run.
    #[arg(long)]
    key: Option<String>,
}

/// Starts a pipeline, waits until its run exists, and follows it if asked to.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let request = NewTrigger {
        repository: options.repository.clone(),
        pipeline: options.pipeline.clone(),
        reference: options.reference.clone(),
        inputs: inputs(&options.inputs)?,
        limit: options.limit.clone(),
        // A key of our own makes each request safe to send again.
        key: Some(options.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string())),
    };
    start(client, &request, options.follow, format)
}

/// Triggers, waits until the run exists, and follows it if asked to.
pub(super) fn start(
    client: &Client,
    request: &NewTrigger,
    follow: bool,
    format: Format,
) -> Result<Exit, Failure> {
    let Triggered { trigger, .. } = client.post("/api/v1/triggers", request)?;
    let trigger = resolved(client, trigger)?;
    if let Some(reason) = trigger.reason {
        return Err(Failure { exit: Exit::Failed, message: reason });
    }
    let Some(run) = trigger.runs.first().copied() else {
        return Err(Failure::internal("the trigger gave no run"));
    };
    if follow { self::follow(client, run, format) } else { show_once(client, run, format) }
}

/// Reads `NAME=VALUE`.
pub(super) fn input(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The inputs that were given, each once.
pub(super) fn inputs(given: &[(String, String)]) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::new();
    for (name, value) in given {
        if inputs.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("the input '{name}' is given twice")));
        }
    }
    Ok(inputs)
}

/// The trigger once its source is fetched and compiled.
fn resolved(client: &Client, trigger: u64) -> Result<Trigger, Failure> {
    loop {
        let trigger: Trigger = client.get(&format!("/api/v1/triggers/{trigger}"))?;
        if trigger.status != "pending" {
            return Ok(trigger);
        }
    }
}

fn show_once(client: &Client, run: RunId, format: Format) -> Result<Exit, Failure> {
    let detail: RunDetail = client.get(&format!("/api/v1/runs/{run}"))?;
    output::print(format, &detail, |detail| match &detail.run.diagnostics {
        Some(diagnostics) => format!("{diagnostics}\n"),
        None => format!("run {run} of {} started\n", detail.run.pipeline),
    })?;
    Ok(if detail.run.status == "invalid" { Exit::Failed } else { Exit::Success })
}

/// Shows a run's progress until its end; the exit status is its outcome.
pub fn follow(client: &Client, run: RunId, format: Format) -> Result<Exit, Failure> {
    let mut last: Option<RunDetail> = None;
    let path = format!("/api/v1/runs/{run}/events");
    // A coordinator that restarts ends the stream; its successor carries on with the run.
    loop {
        for detail in client.events::<RunDetail>(&path)? {
            let Ok(detail) = detail else { break };
            if format == Format::Text {
                show::print_news(last.as_ref(), &detail)?;
            }
            let done = detail.run.finished_us.is_some() || detail.run.status == "invalid";
            if done {
                output::print(format, &detail, show::conclusion)?;
                return Ok(exit::of_run(&detail.run.status));
            }
            last = Some(detail);
        }
        super::again(client)?;
    }
}
