//! Maintenance windows: when jobs of a partition may begin.
//!
//! Invariant: no clock. What a window's times are follows from the plan and from the time-zone rules
//! that are compiled in.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::inventory::window::{DAYS, Day, Window as Time};
use crate::name::{PartitionName, WindowName};
use crate::schedule::{ZONES, moment};

/// A window as an inventory had it when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Whose jobs it is for.
    pub partition: PartitionName,
    /// Its name.
    pub name: WindowName,
    /// Name of the time zone of its times, such as `Europe/Berlin`.
    pub timezone: String,
    /// It is open in any of them.
    pub times: Vec<Time>,
}

/// How many days a week has.
const ALL_DAYS: usize = 7;

/// Within so many days each day of the week comes twice: where clocks skip the one time of a week, that
/// of the next is found.
const AHEAD: i32 = 15;

impl Window {
    /// When it is open next, both in µs since 1970: at once if it is open now. None if it never is.
    ///
    /// A time that the clocks skip is when they have skipped it, a time that comes twice the first
    /// time: so a window of which they skip all is not open on that day.
    pub fn next(&self, now_us: u64) -> Option<u64> {
        let zone = self.zone();
        let now = Timestamp::from_microsecond(i64::try_from(now_us).ok()?).ok()?;
        let today = zone.to_datetime(now).date();
        // One that began yesterday may be open.
        for days in -1..=AHEAD {
            let date = today.checked_add(Span::new().days(days)).ok()?;
            let times = self.times.iter().filter_map(|time| span(time, date, &zone));
            let first = times.filter(|(_, to)| *to > now).map(|(from, _)| from.max(now)).min();
            if let Some(first) = first {
                return u64::try_from(first.as_microsecond()).ok();
            }
        }
        None
    }

    /// Whether it is open at a moment, in µs since 1970.
    pub fn is_open(&self, now_us: u64) -> bool {
        self.next(now_us) == Some(now_us)
    }

    /// A moment, in µs since 1970, by the clocks of the partition, such as `Tue 2026-11-24 02:00
    /// (Europe/Berlin)`.
    pub fn local(&self, us: u64) -> String {
        let time = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
        let time = time.unwrap_or_default().to_zoned(self.zone());
        format!("{} ({})", time.strftime("%a %Y-%m-%d %H:%M"), self.timezone)
    }

    /// Its times, such as `tue, thu 02:00-05:00; every day 22:00-23:00`.
    pub fn words(&self) -> String {
        let times = self.times.iter().map(|Time { days, from, to }| {
            let named = DAYS.iter().filter(|(_, day)| days.contains(day)).map(|(name, _)| *name);
            let days = match days.len() {
                ALL_DAYS => "every day".to_owned(),
                _ => named.collect::<Vec<_>>().join(", "),
            };
            format!("{days} {from}-{to}")
        });
        times.collect::<Vec<_>>().join("; ")
    }

    fn zone(&self) -> TimeZone {
        ZONES.get(&self.timezone).unwrap_or(TimeZone::UTC)
    }
}

/// From when to when one of the times lasts that begins on a day; none if none does.
fn span(time: &Time, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    if !time.days.contains(&day(date)) {
        return None;
    }
    let last = if time.to > time.from { date } else { date.checked_add(1.day()).ok()? };
    let from = moment(zone, at(date, time.from.minutes())?)?;
    let to = moment(zone, at(last, time.to.minutes())?)?;
    (from < to).then_some((from, to))
}

/// A time of a day, in minutes since midnight.
fn at(date: Date, minutes: u16) -> Option<DateTime> {
    date.at(0, 0, 0, 0).checked_add(i64::from(minutes).minutes()).ok()
}

fn day(date: Date) -> Day {
    use jiff::civil::Weekday;
    match date.weekday() {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

#[cfg(test)]
mod tests;
