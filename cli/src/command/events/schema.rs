//! `garrison events schema`.

use std::io::Write;

use clap::Args;
use coordinator::events::schema;

use crate::exit::{Exit, Failure};

/// Of which events.
#[derive(Debug, Args)]
pub struct Options {
    /// A topic, such as job.finished; all if left out.
    topic: Option<String>,
}

/// Prints a schema.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let schema = match &options.topic {
        None => schema::of_all(),
        Some(topic) => schema::of(topic).ok_or_else(|| Failure::usage(schema::unknown(topic)))?,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema).map_err(Failure::internal)?;
    out.write_all(b"\n")?;
    Ok(Exit::Success)
}
