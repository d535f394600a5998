//! `garrison schema`.

use std::io::Write;

use clap::ValueEnum;
use pipelines::schema;

use crate::exit::{Exit, Failure};

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// Pipelines, `.garrison/*.yaml`.
    Pipeline,
    /// Files that pipelines include.
    Include,
    /// Inventories of partitions.
    Inventory,
}

/// Prints a schema.
pub fn run(of: Of) -> Result<Exit, Failure> {
    let schema = match of {
        Of::Pipeline => schema::of_pipelines(),
        Of::Include => schema::of_included(),
        Of::Inventory => schema::of_inventories(),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema).map_err(Failure::internal)?;
    out.write_all(b"\n")?;
    Ok(Exit::Success)
}
