//! `garrison events replay`.

use std::io::{self, Write};

use clap::Args;
use coordinator::config::seconds;
use events::Replay;
use jiff::{SignedDuration, Timestamp};

use super::{Where, Which, failed, line, wait};
use crate::confirm::confirm;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What is read again, and by whom.
#[derive(Debug, Args)]
pub struct Options {
    /// Since when: 90s, 10m, 2h or 7d ago, or a moment such as 2026-11-22T08:00:00Z.
    #[arg(long, value_parser = moment, value_name = "WHEN")]
    since: Timestamp,
    #[command(flatten)]
    which: Which,
    /// Gives the events to this channel again: it is deleted, and made anew from that moment on.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["topic", "partition"])]
    channel: Option<String>,
    /// The channel again, instead of typing it when asked.
    #[arg(long, value_name = "NAME", requires = "channel")]
    confirm: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Prints what the stream holds, or rebuilds a channel.
pub(super) fn run(options: &Options, format: Format) -> Result<Exit, Failure> {
    match &options.channel {
        None => wait(print(options)),
        Some(channel) => wait(rebuild(options, channel, format)),
    }
}

async fn print(options: &Options) -> Result<Exit, Failure> {
    let (connection, stream) = options.place.open().await?;
    let subject = options.which.subject();
    let replay = Replay::open(&connection, &stream, &subject, options.since_us()).await;
    let mut replay = replay.map_err(failed)?;
    let mut out = io::stdout().lock();
    while let Some(event) = replay.next().await.map_err(failed)? {
        out.write_all(&line(&event))?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

async fn rebuild(options: &Options, channel: &str, format: Format) -> Result<Exit, Failure> {
    let (connection, stream) = options.place.open().await?;
    let since_us = options.since_us();
    let extent = connection.extent(&stream, channel, since_us).await;
    let (subject, messages) = extent.map_err(failed)?;
    let consequences = format!(
        "Channel {channel} is made anew: its members get {messages} messages of {subject} again, and what \
         it has from before {} and did not deal with is dropped.\n",
        options.since
    );
    confirm(&consequences, channel, options.confirm.as_deref())?;
    connection.rebuild(&stream, channel, since_us).await.map_err(failed)?;
    let answer = serde_json::json!({ "channel": channel, "messages": messages });
    output::print(format, &answer, |_| {
        format!("channel {channel} is made anew, with {messages} messages\n")
    })?;
    Ok(Exit::Success)
}

impl Options {
    fn since_us(&self) -> u64 {
        u64::try_from(self.since.as_microsecond()).unwrap_or_default()
    }
}

/// A moment, or a time before now.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let wrong = || format!("'{text}' is no moment: write it as 2h, 7d or 2026-11-22T08:00:00Z");
    let ago = i64::try_from(seconds(text).map_err(|_| wrong())?).map_err(|_| wrong())?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(ago)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_is_one_of_the_clock_or_a_time_ago() {
        assert_eq!(moment("2026-11-22T08:00:00Z").unwrap().as_second(), 1_795_334_400);
        assert!(moment("2h").unwrap() < moment("1h").unwrap());
        for bad in ["", "yesterday", "2", "99999999999999d"] {
            assert!(moment(bad).unwrap_err().contains("write it as"), "{bad}");
        }
    }
}
