//! `garrison events dead`.

use clap::Args;
use events::dead::{Letter, Letters};

use super::{Where, failed, wait};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Whose dead letters.
#[derive(Debug, Args)]
pub struct Options {
    /// Of this channel; of all if left out.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Lists them, the oldest first.
pub(super) fn run(options: &Options, format: Format) -> Result<Exit, Failure> {
    let letters = wait(letters(options))?;
    output::print(format, &letters, |letters| {
        if letters.is_empty() {
            return "there are no dead letters\n".to_owned();
        }
        let headings = ["GIVEN UP", "CHANNEL", "SUBJECT", "ID", "ATTEMPTS", "REASON"];
        output::table(&headings, letters.iter().map(row))
    })?;
    Ok(Exit::Success)
}

async fn letters(options: &Options) -> Result<Vec<Letter>, Failure> {
    let (connection, _) = options.place.open().await?;
    let opened = Letters::open(&connection, options.channel.as_deref()).await;
    let mut kept = opened.map_err(failed)?;
    let mut letters = Vec::new();
    while let Some(letter) = kept.next().await.map_err(failed)? {
        letters.push(letter);
    }
    Ok(letters)
}

fn row(letter: &Letter) -> Vec<String> {
    let Letter { reason, stream, sequence, .. } = letter;
    let reason = match letter.left_out {
        None => reason.clone(),
        Some(bytes) => format!(
            "{reason} (its {bytes} bytes are too long for a dead letter: {stream} has them as \
             {sequence})"
        ),
    };
    vec![
        output::moment(letter.given_up_us),
        letter.channel.clone(),
        letter.subject.clone(),
        letter.id.clone(),
        letter.attempts.to_string(),
        reason,
    ]
}
