//! `garrison override-window`: a run begins outside of its maintenance window.

use clap::Args;
use coordinator::api::types::{OverrideWindow, RunDetail};
use pipelines::id::RunId;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which run, and why.
#[derive(Debug, Args)]
pub struct Options {
    /// Its number.
    run: RunId,
    /// Why; kept with the run.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Asks for it, which is durable once this returns.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let path = format!("/api/v1/runs/{}/override-window", options.run);
    let body = OverrideWindow { reason: options.reason.clone() };
    let detail: RunDetail = client.post(&path, &body)?;
    output::print(format, &detail, |detail| {
        format!("run {} may begin outside of its window\n", detail.run.id)
    })?;
    Ok(Exit::Success)
}
