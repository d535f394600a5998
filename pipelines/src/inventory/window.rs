//! Maintenance windows: times of the week, by the clocks of the partition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::name::WindowName;
use crate::source::{Span, Spanned};
use crate::yaml::{Entry, Node};

/// One of the times of a window, which may last over midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// On which days it begins; all of them if there were none written.
    pub days: BTreeSet<Day>,
    /// When it begins.
    pub from: Time,
    /// When it ends: on the next day unless that is later than `from`.
    pub to: Time,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A time of day, to the minute; written as `02:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time {
    /// Minutes since midnight, at most 1440 for the end of the day.
    minutes: u16,
}

/// Why a text is no time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a time from 00:00 to 24:00")]
pub struct NotATime;

const MINUTES_OF_DAY: u16 = 24 * 60;

const MINUTES_OF_WEEK: u16 = 7 * MINUTES_OF_DAY;

pub(crate) const DAYS: &[(&str, Day)] = &[
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

const HELP: &str =
    "list times, such as `maintenance: [{ days: [tue, thu], from: \"02:00\", to: \"05:00\" }]`";

const DAYS_HELP: &str = "list days, such as `days: [tue, thu]`, or leave it out for every day";

const TIME_HELP: &str = "write hours and minutes, such as `from: \"02:00\"`";

impl Time {
    /// Minutes since midnight; 1440 is the end of the day.
    pub fn minutes(self) -> u16 {
        self.minutes
    }
}

impl std::str::FromStr for Time {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let number = |text: &str| {
            let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<u16>().ok()).flatten().ok_or(NotATime)
        };
        let (hours, minutes) = text.split_once(':').ok_or(NotATime)?;
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let time = hours * 60 + minutes;
        let is_time = minutes < 60 && time <= MINUTES_OF_DAY;
        is_time.then_some(Time { minutes: time }).ok_or(NotATime)
    }
}

impl TryFrom<String> for Time {
    type Error = NotATime;
    fn try_from(text: String) -> Result<Self, NotATime> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl Window {
    /// From when to when it is open, in minutes since the beginning of Monday; the end may lie in the
    /// next week.
    fn spans(&self) -> impl Iterator<Item = (u16, u16)> {
        let over_midnight = if self.to > self.from { 0 } else { MINUTES_OF_DAY };
        self.days.iter().map(move |day| {
            let midnight = *day as u16 * MINUTES_OF_DAY;
            let end = midnight + self.to.minutes + over_midnight;
            (midnight + self.from.minutes, end)
        })
    }
}

/// Reads `windows` of an inventory with these fields.
pub(super) fn read(
    report: &mut Report<'_>,
    inventory: &Fields<'_>,
    Entry { key, value }: &Entry,
) -> BTreeMap<WindowName, Vec<Window>> {
    let help = "write a mapping from each window's name to its times";
    let entries = report.entries(value, "`windows`", help).unwrap_or_default();
    if !entries.is_empty()
        && inventory.entry("timezone").is_none()
        && !inventory.has_refused(&["timezone"])
    {
        let message = "the inventory has `windows`, but no `timezone` that their times are of";
        report.error(Code::MissingKey, key.span, message, "add `timezone: Europe/Berlin`, say");
    }
    entries.iter().filter_map(|entry| named(report, entry)).collect()
}

fn named(
    report: &mut Report<'_>,
    Entry { key, value }: &Entry,
) -> Option<(WindowName, Vec<Window>)> {
    let name = report.name_of::<WindowName>(&key.text, key.span, "the window's name");
    let what = format!("the window {}", quoted(&key.text));
    let items = report.list(value, &what, HELP)?;
    let windows: Vec<_> = items
        .iter()
        .filter_map(|item| Some(Spanned::new(window(report, item)?, item.span)))
        .collect();
    apart(report, &windows, &what);
    Some((name?.value, windows.into_iter().map(|window| window.value).collect()))
}

fn window(report: &mut Report<'_>, node: &Node) -> Option<Window> {
    report.entries(node, "a time of a window", HELP)?;
    let fields = report.fields(node, node.span, &keys::WINDOW)?;
    let days = match fields.node("days") {
        Some(node) => days(report, node),
        None => Some(DAYS.iter().map(|(_, day)| *day).collect()),
    };
    let mut time = |key| {
        let entry = report.required(&fields, key, "this time of a window", TIME_HELP)?;
        let what = format!("{} of a window", quoted(key));
        let time =
            report.scalar(&entry.value, &what, Code::InvalidTime, TIME_HELP, str::parse::<Time>);
        time.map(|time| (time.value, entry.value.span))
    };
    let (from, to) = (time("from"), time("to"));
    let ((from, _), (to, span)) = (from?, to?);
    if from.minutes % MINUTES_OF_DAY == to.minutes % MINUTES_OF_DAY && (from, to) != WHOLE_DAY {
        let message = format!("this window ends at {to}, when it begins");
        let help = "write another time; a whole day is from \"00:00\" to \"24:00\"";
        report.error(Code::SenselessWindow, span, message, help);
        return None;
    }
    if from.minutes == MINUTES_OF_DAY {
        let message = "a window cannot begin at 24:00";
        let help = "write \"00:00\", and the next day";
        report.error(Code::SenselessWindow, node.span, message, help);
        return None;
    }
    Some(Window { days: days?, from, to })
}

const WHOLE_DAY: (Time, Time) = (Time { minutes: 0 }, Time { minutes: MINUTES_OF_DAY });

fn days(report: &mut Report<'_>, node: &Node) -> Option<BTreeSet<Day>> {
    let mut days = BTreeSet::new();
    for item in report.list(node, "`days`", DAYS_HELP)? {
        let Some(day) = report.choice(item, "a day", DAYS) else { continue };
        if !days.insert(day) {
            let named = quoted(item.value.scalar().unwrap_or_default());
            let message = format!("`days` names {named} twice");
            report.error(Code::Duplicate, item.span, message, "remove one of the two");
        }
    }
    Some(days)
}

/// Reports times of one window that overlap: one of the two is probably not meant.
fn apart(report: &mut Report<'_>, windows: &[Spanned<Window>], what: &str) {
    let mut spans: Vec<(u16, u16, usize)> = Vec::new();
    for (index, Spanned { value, .. }) in windows.iter().enumerate() {
        for (from, to) in value.spans() {
            spans.push((from, to.min(MINUTES_OF_WEEK), index));
            if to > MINUTES_OF_WEEK {
                spans.push((0, to - MINUTES_OF_WEEK, index));
            }
        }
    }
    spans.sort_unstable();
    let mut overlapping: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut last: Option<(u16, usize)> = None;
    for (from, to, index) in spans {
        match last {
            Some((end, other)) if from < end => {
                overlapping.insert((index.max(other), index.min(other)));
                last = Some(if to > end { (to, index) } else { (end, other) });
            }
            Some(_) | None => last = Some((to, index)),
        }
    }
    let mut told = BTreeSet::new();
    for (later, earlier) in overlapping {
        if told.insert(later) {
            let span: Span = windows[later].span;
            let line = windows[earlier].span.start.line;
            let message = format!("this time of {what} overlaps the one in line {line}");
            let help = "make one of the two, or correct their days and times";
            report.error(Code::SenselessWindow, span, message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_written() {
        for (text, minutes) in [("00:00", 0), ("02:30", 150), ("24:00", 1440)] {
            let time: Time = text.parse().unwrap();
            assert_eq!((time.minutes(), time.to_string().as_str()), (minutes, text));
        }
        for text in ["", "2:30", "02:60", "24:01", "25:00", "0230", "+2:30", "02:30:00", "ab:cd"] {
            assert_eq!(text.parse::<Time>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_window_lasts_over_midnight_and_over_the_weeks_end() {
        let time = |text: &str| text.parse::<Time>().unwrap();
        let night = Window {
            days: BTreeSet::from([Day::Mon, Day::Sun]),
            from: time("22:00"),
            to: time("04:00"),
        };
        let spans: Vec<_> = night.spans().collect();
        assert_eq!(spans, [(1320, 1680), (6 * 1440 + 1320, 7 * 1440 + 240)]);
    }
}
