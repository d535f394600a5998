//! `garrison events`.

pub mod schema;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Prints the JSON Schema of events, or of those of a topic.
    Schema(schema::Options),
}

/// Carries out an action.
pub fn run(action: &Action) -> Result<Exit, Failure> {
    match action {
        Action::Schema(options) => schema::run(options),
    }
}
