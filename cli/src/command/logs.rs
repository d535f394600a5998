//! `garrison logs`.

use std::io::{self, Read, Write};

use clap::Args;
use coordinator::api::types::RunDetail;
use pipelines::id::{AttemptId, JobId, RunId};

use crate::client::{Client, broken};
use crate::exit::{Exit, Failure};
use crate::output::Format;

/// Which log.
#[derive(Debug, Args)]
pub struct Options {
    /// A run (17), a job (17.3) or an attempt (17.3.1).
    of: String,
    /// Goes on until the log is complete.
    #[arg(long, short)]
    follow: bool,
}

/// Prints logs to standard output: as they are, or with `-o json` one frame a line.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let attempts = attempts(client, &options.of)?;
    if attempts.is_empty() {
        let message = format!("{} has no log yet: no job of it has started", options.of);
        return Err(Failure { exit: Exit::Refused, message });
    }
    let several = attempts.len() > 1;
    for (attempt, title) in attempts {
        if several && format == Format::Text {
            writeln!(io::stdout(), "=== {title} ({attempt})")?;
        }
        print(client, attempt, options.follow, format)?;
    }
    Ok(Exit::Success)
}

/// The latest attempts of what was named.
fn attempts(client: &Client, of: &str) -> Result<Vec<(AttemptId, String)>, Failure> {
    if let Ok(attempt) = of.parse::<AttemptId>() {
        return Ok(vec![(attempt, String::new())]);
    }
    let job = of.parse::<JobId>().ok();
    let run: RunId = match job {
        Some(job) => job.run,
        None => of.parse().map_err(|_| {
            Failure::usage(format!("'{of}' is no run (17), job (17.3) or attempt (17.3.1)"))
        })?,
    };
    let detail: RunDetail = client.get(&format!("/api/v1/runs/{run}"))?;
    let jobs = detail.jobs.iter().filter(|it| job.is_none_or(|job| job == it.id));
    Ok(jobs
        .filter_map(|job| {
            let attempt = job.attempts.last()?;
            Some((attempt.id, format!("{} in {}", job.title, job.partition)))
        })
        .collect())
}

fn print(client: &Client, attempt: AttemptId, follow: bool, format: Format) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let json = if format == Format::Json { "&format=json" } else { "" };
        let path = format!("/api/v1/attempts/{attempt}/log?offset={offset}&follow={follow}{json}");
        match copy(client.stream(&path)?, &mut offset) {
            Ok(()) => return Ok(()),
            // A coordinator that restarts breaks the stream; text goes on where it stopped.
            Err(Copied::Source(_)) if follow && format == Format::Text => super::again(client)?,
            Err(Copied::Source(error)) => return Err(broken(&error)),
            Err(Copied::Sink(error)) => return Err(error.into()),
        }
    }
}

enum Copied {
    Source(io::Error),
    Sink(io::Error),
}

fn copy(mut source: impl Read, copied: &mut u64) -> Result<(), Copied> {
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = source.read(&mut buffer).map_err(Copied::Source)?;
        if read == 0 {
            return Ok(());
        }
        let written = out.write_all(&buffer[..read]).and_then(|()| out.flush());
        written.map_err(Copied::Sink)?;
        *copied += read as u64;
    }
}
