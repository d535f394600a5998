//! `garrison schedules`.

use clap::Subcommand;
use coordinator::api::types::{LastStart, Schedule};
use jiff::Timestamp;
use pipelines::id::RunId;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Lists the schedules of all pipelines, the next due first.
    List,
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::List => {
            let schedules: Vec<Schedule> = client.get("/api/v1/schedules")?;
            output::print(format, &schedules, |schedules| {
                if schedules.is_empty() {
                    return "no schedules\n".to_owned();
                }
                let headings =
                    ["PIPELINE", "REPOSITORY", "CRON", "ZONE", "NEXT", "NEXT (UTC)", "LAST RUN"];
                output::table(&headings, schedules.iter().map(row))
            })?;
        }
    }
    Ok(Exit::Success)
}

fn row(schedule: &Schedule) -> Vec<String> {
    // The zone has a column of its own.
    let local = schedule.next_local.strip_suffix(&schedule.timezone);
    vec![
        schedule.pipeline.to_string(),
        schedule.repository.to_string(),
        schedule.cron.clone(),
        schedule.timezone.clone(),
        local.unwrap_or(&schedule.next_local).trim_end().to_owned(),
        utc(schedule.next_us),
        schedule.last.as_ref().map(last).unwrap_or_default(),
    ]
}

fn utc(us: u64) -> String {
    let timestamp = Timestamp::from_microsecond(us.cast_signed()).unwrap_or_default();
    timestamp.strftime("%Y-%m-%d %H:%M").to_string()
}

fn last(last: &LastStart) -> String {
    if last.runs.is_empty() {
        return format!("none (trigger {})", last.trigger);
    }
    let runs: Vec<String> = last.runs.iter().map(RunId::to_string).collect();
    runs.join(", ")
}
