//! `garrison cancel` and `garrison retry`.

use clap::Args;
use coordinator::api::types::RunDetail;
use pipelines::id::RunId;

use super::trigger;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which run.
#[derive(Debug, Args)]
pub struct Options {
    /// Its number.
    run: RunId,
    /// Waits for the run's end and exits with its outcome.
    #[arg(long, short)]
    follow: bool,
}

/// Asks for `verb`, which is durable once this returns.
pub fn run(
    client: &Client,
    verb: &str,
    options: &Options,
    format: Format,
) -> Result<Exit, Failure> {
    let path = format!("/api/v1/runs/{}/{verb}", options.run);
    let detail: RunDetail = client.post(&path, &serde_json::json!({}))?;
    if options.follow {
        return trigger::follow(client, options.run, format);
    }
    output::print(format, &detail, |detail| {
        format!("run {} is {}\n", detail.run.id, detail.run.status)
    })?;
    Ok(Exit::Success)
}
