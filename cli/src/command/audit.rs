//! `garrison audit`.

use coordinator::api::types::Audit;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Lists what operators declared, the latest first.
pub fn run(client: &Client, format: Format) -> Result<Exit, Failure> {
    let words: Vec<Audit> = client.get("/api/v1/audit")?;
    output::print(format, &words, |words| {
        let row = |word: &Audit| {
            vec![
                word.number.to_string(),
                output::moment(word.at_us),
                word.actor.clone(),
                word.text.clone(),
            ]
        };
        output::table(&["NUMBER", "WHEN", "WHO", "WHAT"], words.iter().map(row))
    })?;
    Ok(Exit::Success)
}
