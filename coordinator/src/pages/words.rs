//! Statuses, times and durations as people read them, as HTML.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::Timestamp;

use crate::driver;

/// What a status means at a glance. Shows as a word behind a sign, so that nothing depends on
/// colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// Class in the style sheet.
    pub(super) class: &'static str,
    /// The sign.
    pub(super) sign: &'static str,
    /// The word.
    pub(super) word: String,
}

/// A time. Shows in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

/// How long something took or, while it goes on, has taken so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Took {
    us: u64,
    goes_on: bool,
}

// None of them shows anything that came from outside.
impl HtmlSafe for Status {}
impl HtmlSafe for Time {}
impl HtmlSafe for Took {}

impl From<&str> for Status {
    fn from(status: &str) -> Status {
        let (class, sign) = match status {
            "succeeded" | "approved" | "acknowledged" => ("good", "✓"),
            "open" => ("odd", "◇"),
            "active" | "assigned" | "accepted" | "running" | "cancelling" => ("busy", "●"),
            "waiting" | "queued" | "paused" => ("idle", "○"),
            "unknown" | "lost" | "cancel_unconfirmed" => ("odd", "?"),
            "skipped" | "unneeded" | "stopped" | "planned" | "cancelled" => ("mute", "–"),
            // `failed`, `invalid` and the other outcomes.
            _ => ("bad", "✗"),
        };
        Status { class, sign, word: status.replace('_', " ") }
    }
}

impl Took {
    /// From a start to an end, or to now; µs since 1970.
    pub(super) fn between(from_us: u64, to_us: Option<u64>) -> Took {
        let us = to_us.unwrap_or(driver::now().0).saturating_sub(from_us);
        Took { us, goes_on: to_us.is_none() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { class, sign, word } = self;
        write!(f, "<span class=\"status {class}\"><i aria-hidden=\"true\">{sign}</i> {word}</span>")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
        let Some(time) = time else { return Ok(()) };
        let (machine, people) = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S");
        let (machine, people) = (time.strftime(machine), time.strftime(people));
        write!(f, "<time datetime=\"{machine}\">{people}</time>")
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = duration(self.us);
        if self.goes_on {
            // The script counts on from here.
            write!(f, "<span data-ms=\"{}\">{text}</span>", self.us / 1000)
        } else {
            f.write_str(&text)
        }
    }
}

/// Such as `0.4 s`, `3 min 20 s` or `2 h 5 min`.
fn duration(us: u64) -> String {
    let s = us / 1_000_000;
    match s {
        0..10 => format!("{}.{} s", s, us % 1_000_000 / 100_000),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// What a text says beyond the status: `exit status 1` of `failed: exit status 1`.
pub(super) fn beyond(status: &Status, text: &str) -> Option<String> {
    let rest = text.strip_prefix(&status.word).unwrap_or(text);
    let rest = rest.strip_prefix(":").unwrap_or(rest).trim_start();
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// A commit's first digits.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// A reference as people write it.
pub(super) fn branch(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_read_well() {
        let time = Time(1_767_225_600_000_000).to_string();
        assert_eq!(time, "<time datetime=\"2026-01-01T00:00:00Z\">2026-01-01 00:00:00</time>");
        assert_eq!(Time(u64::MAX).to_string(), "");
        let took = |us: u64| Took::between(5, Some(5 + us)).to_string();
        assert_eq!(took(450_000), "0.4 s");
        assert_eq!(took(200_000_000), "3 min 20 s");
        assert_eq!(took(7_500_000_000), "2 h 5 min");
        assert_eq!(Took::between(5, Some(1)).to_string(), "0.0 s");
        assert!(Took::between(u64::MAX, None).to_string().starts_with("<span data-ms=\"0\">"));
    }

    #[test]
    fn every_status_has_a_sign_and_a_word() {
        let status = Status::from("timed_out");
        assert_eq!((status.class, status.sign, status.word.as_str()), ("bad", "✗", "timed out"));
        let shown = "<span class=\"status bad\"><i aria-hidden=\"true\">✗</i> timed out</span>";
        assert_eq!(status.to_string(), shown);
    }

    #[test]
    fn a_status_is_not_said_twice() {
        let failed = Status::from("failed");
        assert_eq!(beyond(&failed, "failed: exit status 1").unwrap(), "exit status 1");
        assert_eq!(beyond(&failed, "failed"), None);
        assert_eq!(beyond(&failed, "its agent is gone").unwrap(), "its agent is gone");
    }
}
