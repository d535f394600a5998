//! Answers on standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON value.
    Json,
}

/// Prints `value` as JSON, or what `text` makes of it.
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => out.write_all(text(value).as_bytes())?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, value)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

/// A table without lines: a row of headings, then the rows.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table.add_rows(rows);
    let lines = table.to_string();
    // The preset pads each cell by a space on both sides.
    let trimmed = lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    trimmed.map(|line| format!("{line}\n")).collect()
}

/// A moment as people read it, in the local time zone.
pub fn moment(us: u64) -> String {
    let timestamp = Timestamp::from_microsecond(us.cast_signed()).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time between two moments as people read it.
pub fn lasting(from_us: u64, to_us: u64) -> String {
    let ms = to_us.saturating_sub(from_us) / 1000;
    let s = ms / 1000;
    match s {
        0..10 => format!("{}.{} s", s, ms % 1000 / 100),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        assert_eq!(lasting(0, 1_234_000), "1.2 s");
        assert_eq!(lasting(0, 75_000_000), "1 min 15 s");
        assert_eq!(lasting(5, 0), "0.0 s");
        assert_eq!(lasting(0, 3_700_000_000), "1 h 1 min");
    }

    #[test]
    fn a_table_has_no_lines_and_no_padding() {
        let rows = vec![vec!["1".to_owned(), "site".to_owned()]];
        assert_eq!(table(&["RUN", "PIPELINE"], rows), "RUN  PIPELINE\n1    site\n");
    }
}
