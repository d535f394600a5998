//! `garrison gates`, `approve`, `reject` and `acknowledge`: what waits for people, and what they say.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use coordinator::api::types::{Acknowledge, Approve, Reject, RunGate};
use pipelines::id::RunId;
use pipelines::name::{JobName, PartitionName};
use serde::Serialize;

use crate::client::Client;
use crate::confirm::confirm;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with gates.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists gates that wait for people, with what each lets through; the same without a word.
    List,
}

/// Which gates of a run.
#[derive(Debug, Args)]
pub struct Which {
    /// The run's number.
    run: RunId,
    /// The gate's name; may be missing if only one of the run is open.
    job: Option<JobName>,
    /// Only in this partition; in all that you may answer for, if missing.
    #[arg(long)]
    partition: Option<PartitionName>,
}

/// What is approved.
#[derive(Debug, Args)]
pub struct ApproveOptions {
    #[command(flatten)]
    which: Which,
    /// What you want to have said; kept with your approval.
    #[arg(long)]
    comment: Option<String>,
}

/// What is rejected.
#[derive(Debug, Args)]
pub struct RejectOptions {
    /// The run's number.
    run: RunId,
    /// The gate's name.
    job: JobName,
    /// Only in this partition; in all that you may answer for, if missing.
    #[arg(long)]
    partition: Option<PartitionName>,
    /// Why; kept with your reject.
    #[arg(long)]
    reason: String,
}

/// What was done by hand.
#[derive(Debug, Args)]
pub struct AcknowledgeOptions {
    #[command(flatten)]
    which: Which,
    /// The very text that the gate asks for, instead of typing it when asked.
    #[arg(long, value_name = "TEXT")]
    confirm: Option<String>,
}

/// Lists open gates.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    match options.action {
        None | Some(Action::List) => {}
    }
    let gates: Vec<RunGate> = client.get("/api/v1/gates")?;
    output::print(format, &gates, |gates| {
        if gates.is_empty() {
            return "no gate waits for anybody\n".to_owned();
        }
        let headings = ["GATE", "NAME", "PARTITION", "PIPELINE", "BY", "WAITS FOR", "SINCE", "YOU"];
        let mut text = output::table(&headings, gates.iter().map(row));
        for gate in gates {
            text.push_str(&format!("\n{} {}: {}\n", gate.job, gate.name, gate.gate.message));
        }
        text
    })?;
    Ok(Exit::Success)
}

/// Approves at each gate that is meant.
pub fn approve(client: &Client, options: &ApproveOptions, format: Format) -> Result<Exit, Failure> {
    let is_asked = |gate: &RunGate| gate.gate.acknowledge.is_none();
    let gates = meant(client, &options.which, is_asked, |gate| gate.gate.may_answer)?;
    let body = Approve { comment: options.comment.clone() };
    say(client, &gates, "approve", format, |_| &body)
}

/// Rejects at each gate that is meant.
pub fn reject(client: &Client, options: &RejectOptions, format: Format) -> Result<Exit, Failure> {
    let RejectOptions { run, job, partition, reason } = options;
    let which = Which { run: *run, job: Some(job.clone()), partition: partition.clone() };
    let gates = meant(client, &which, |_| true, |gate| gate.gate.may_reject)?;
    let body = Reject { reason: reason.clone() };
    say(client, &gates, "reject", format, |_| &body)
}

/// Acknowledges at each gate that is meant, once for each text.
pub fn acknowledge(
    client: &Client,
    options: &AcknowledgeOptions,
    format: Format,
) -> Result<Exit, Failure> {
    let is_asked = |gate: &RunGate| gate.gate.acknowledge.is_some();
    let gates = meant(client, &options.which, is_asked, |gate| gate.gate.may_answer)?;
    let mut said = BTreeSet::new();
    for gate in &gates {
        // One that is approved is refused below, in words.
        let Some(text) = gate.gate.acknowledge.as_deref() else { continue };
        if said.insert(text) {
            let consequences =
                format!("{} in {}: {}\n", gate.name, gate.partition, gate.gate.message);
            confirm(&consequences, text, options.confirm.as_deref())?;
        }
    }
    say(client, &gates, "acknowledge", format, |gate| Acknowledge {
        text: gate.gate.acknowledge.clone().unwrap_or_default(),
    })
}

/// The open gates of a run that are meant: those of the name, or the only ones that ask for this; of
/// those, where no partition is named, the ones at which this person has a say, if there are any.
fn meant(
    client: &Client,
    which: &Which,
    is_asked: impl Fn(&RunGate) -> bool,
    has_say: impl Fn(&RunGate) -> bool,
) -> Result<Vec<RunGate>, Failure> {
    let Which { run, job, partition } = which;
    let mut gates: Vec<RunGate> = client.get(&format!("/api/v1/gates?run={run}"))?;
    gates.retain(|gate| {
        let is_named = job.as_ref().is_none_or(|job| gate.name == job.as_str());
        let is_there = partition.as_ref().is_none_or(|partition| gate.partition == *partition);
        is_named && is_there && (job.is_some() || is_asked(gate))
    });
    let names: BTreeSet<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
    if names.len() > 1 {
        let names: Vec<_> = names.into_iter().collect();
        return Err(Failure::usage(format!(
            "several gates of run {run} are open: name one of {}",
            names.join(", ")
        )));
    }
    if gates.is_empty() {
        let name = job.as_ref().map(|job| format!(" '{job}'")).unwrap_or_default();
        let place = partition.as_ref().map(|it| format!(" in {it}")).unwrap_or_default();
        let message =
            format!("no gate{name} of run {run} is open{place}: 'garrison show {run}' says why");
        return Err(Failure { exit: Exit::Refused, message });
    }
    if partition.is_none() && gates.iter().any(&has_say) {
        gates.retain(has_say);
    }
    Ok(gates)
}

/// Says the same at each gate, and then what was said where. What one refuses does not keep the others
/// from hearing it.
#[allow(clippy::print_stderr, reason = "standard output is the answer")]
fn say<'g, B: Serialize>(
    client: &Client,
    gates: &'g [RunGate],
    verb: &str,
    format: Format,
    body: impl Fn(&'g RunGate) -> B,
) -> Result<Exit, Failure> {
    let (mut heard, mut refused) = (Vec::new(), None);
    for gate in gates {
        let path = format!("/api/v1/gates/{}/{verb}", gate.job);
        match client.post::<RunGate>(&path, &body(gate)) {
            Ok(gate) => heard.push(gate),
            Err(failure) if gates.len() == 1 => return Err(failure),
            Err(failure) => {
                eprintln!("garrison: {failure}");
                refused = Some(failure.exit);
            }
        }
    }
    output::print(format, &heard, |heard| heard.iter().map(line).collect())?;
    Ok(refused.unwrap_or(Exit::Success))
}

fn line(gate: &RunGate) -> String {
    let detail = gate.detail.as_deref().unwrap_or(&gate.status);
    format!("gate {} ({} in {}): {detail}\n", gate.job, gate.name, gate.partition)
}

fn row(gate: &RunGate) -> Vec<String> {
    let you = match (gate.gate.may_answer, &gate.gate.acknowledge) {
        (true, None) => "may approve",
        (true, Some(_)) => "may acknowledge",
        (false, _) => "",
    };
    vec![
        gate.job.to_string(),
        gate.name.clone(),
        gate.partition.to_string(),
        gate.pipeline.to_string(),
        gate.actor.clone(),
        gate.gate.waits_for.clone().unwrap_or_default(),
        gate.gate.since_us.map(output::moment).unwrap_or_default(),
        you.to_owned(),
    ]
}
