//! `garrison runs`.

use clap::Args;
use coordinator::api::types::Run;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which runs.
#[derive(Debug, Args)]
pub struct Options {
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u32,
    /// Only older ones than this run.
    #[arg(long)]
    before: Option<u64>,
}

/// Lists runs, the newest first.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let before = options.before.map(|run| format!("&before={run}")).unwrap_or_default();
    let runs: Vec<Run> = client.get(&format!("/api/v1/runs?limit={}{before}", options.limit))?;
    output::print(format, &runs, |runs| {
        if runs.is_empty() {
            return "no runs\n".to_owned();
        }
        output::table(
            &["RUN", "STATUS", "PIPELINE", "REF", "COMMIT", "BY", "CREATED"],
            runs.iter().map(row),
        )
    })?;
    Ok(Exit::Success)
}

fn row(run: &Run) -> Vec<String> {
    vec![
        run.id.to_string(),
        run.detail().unwrap_or_else(|| run.status.clone()),
        run.pipeline.to_string(),
        short(&run.reference).to_owned(),
        run.commit.chars().take(10).collect(),
        run.actor.clone(),
        output::moment(run.created_us),
    ]
}

/// A reference without what everybody knows.
pub fn short(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}
