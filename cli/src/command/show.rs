//! `garrison show`, and how runs are told to people.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::Args;
use coordinator::api::types::{Attempt, Job, RunDetail};
use pipelines::id::RunId;

use super::runs::short;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which run.
#[derive(Debug, Args)]
pub struct Options {
    /// Its number.
    run: RunId,
}

/// Shows a run and its jobs.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let detail: RunDetail = client.get(&format!("/api/v1/runs/{}", options.run))?;
    output::print(format, &detail, text)?;
    Ok(Exit::Success)
}

/// A run as people read it.
pub fn text(detail: &RunDetail) -> String {
    let run = &detail.run;
    let mut text = format!(
        "run {} of {}: {}\n{} at {} of {} ({})\nstarted by {} at {}",
        run.id,
        run.pipeline,
        run.status,
        short(&run.reference),
        run.commit.get(..10).unwrap_or(&run.commit),
        run.repository,
        run.file,
        run.actor,
        output::moment(run.created_us),
    );
    if let Some(finished) = run.finished_us {
        let _ = write!(text, ", took {}", output::lasting(run.created_us, finished));
    }
    if let Some(by) = &run.cancelled_by {
        let _ = write!(text, ", cancelled by {by}");
    }
    text.push('\n');
    if let Some(detail) = run.detail() {
        let _ = writeln!(text, "{detail}");
    }
    if let Some(word) = &run.window_overridden {
        let at = output::moment(word.at_us);
        let _ = writeln!(
            text,
            "may begin outside of its window, by {} at {at}: {}",
            word.by, word.reason
        );
    }
    for (name, value) in &detail.inputs {
        let _ = writeln!(text, "input {name}: {value}");
    }
    if let Some(diagnostics) = &run.diagnostics {
        let _ = write!(text, "\n{diagnostics}\n");
    }
    if !detail.jobs.is_empty() {
        let headings = ["JOB", "NAME", "PARTITION", "STATUS", "AGENT", "TOOK", "LOG"];
        let _ = write!(text, "\n{}", output::table(&headings, detail.jobs.iter().map(row)));
    }
    let details = detail.jobs.iter().filter(|job| job.detail.is_some());
    for job in details {
        let _ = write!(text, "\n{} {}: {}", job.id, job.title, detail_of(job));
    }
    if detail.jobs.iter().any(|job| job.detail.is_some()) {
        text.push('\n');
    }
    for job in &detail.jobs {
        for (name, value) in &job.outputs {
            let _ = write!(text, "\n{} {} output {name}: {value}", job.id, job.title.name);
        }
    }
    if detail.jobs.iter().any(|job| !job.outputs.is_empty()) {
        text.push('\n');
    }
    for job in &detail.jobs {
        let Some(recap) = job.attempts.last().and_then(|it| it.recap.as_ref()) else { continue };
        let _ = writeln!(text, "\n{} {}: {recap}", job.id, job.title);
        for failure in recap.failures_in_words() {
            let _ = writeln!(text, "  {failure}");
        }
    }
    text
}

/// The status in words; of an open gate with the time since when it waits.
fn detail_of(job: &Job) -> String {
    let detail = job.detail.clone().unwrap_or_default();
    match job.gate.as_ref().and_then(|gate| gate.since_us) {
        Some(since) => {
            let since = output::moment(since);
            match detail.split_once("; ") {
                Some((waits, approved)) => format!("{waits} since {since}; {approved}"),
                None => format!("{detail} since {since}"),
            }
        }
        None => detail,
    }
}

fn row(job: &Job) -> Vec<String> {
    let attempt = job.attempts.last();
    let took = |attempt: &Attempt| Some(output::lasting(attempt.started_us?, attempt.finished_us?));
    vec![
        job.id.to_string(),
        job.title.to_string(),
        job.partition.to_string(),
        attempt.filter(|_| job.status == "active").map_or(&job.status, |it| &it.status).clone(),
        attempt.map(|it| it.agent.to_string()).unwrap_or_default(),
        attempt.and_then(took).unwrap_or_default(),
        attempt.map(log).unwrap_or_default(),
    ]
}

fn log(attempt: &Attempt) -> String {
    match attempt.log_length {
        Some(length) if attempt.log_complete => format!("{length} B"),
        Some(length) => format!("{length} B, arriving"),
        None => "arriving".to_owned(),
    }
}

/// Prints a line for each job whose status differs from the last time.
pub fn print_news(last: Option<&RunDetail>, now: &RunDetail) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if last.is_none() {
        writeln!(out, "run {} of {}", now.run.id, now.run.pipeline)?;
    }
    let detail = now.run.detail();
    if let Some(detail) =
        detail.filter(|it| last.and_then(|last| last.run.detail()).as_ref() != Some(it))
    {
        writeln!(out, "  {detail}")?;
    }
    for (index, job) in now.jobs.iter().enumerate() {
        let before = last.and_then(|last| last.jobs.get(index));
        let status = visible(job);
        let silent = job.opens_us.is_none()
            && matches!(status, "waiting" | "queued" | "assigned" | "accepted");
        // At an open gate each approval is news.
        let is_told = before.is_some_and(|it| {
            visible(it) == status && (job.gate.is_none() || it.detail == job.detail)
        });
        if is_told || silent {
            continue;
        }
        let detail = Some(detail_of(job)).filter(|detail| !detail.is_empty());
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        writeln!(out, "  {:<10} {:<20} {status}{detail}", job.partition, job.title.to_string())?;
    }
    out.flush()
}

fn visible(job: &Job) -> &str {
    match job.attempts.last() {
        Some(attempt) if job.status == "active" => &attempt.status,
        _ => &job.status,
    }
}

/// The last lines about a run that was followed.
pub fn conclusion(detail: &RunDetail) -> String {
    let run = &detail.run;
    let took = run.finished_us.map(|at| output::lasting(run.created_us, at));
    let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
    let mut text = String::new();
    if let Some(diagnostics) = &run.diagnostics {
        let _ = writeln!(text, "{diagnostics}");
    }
    let _ = writeln!(text, "run {} {}{took}", run.id, run.status);
    text
}
