//! Schedules: at which times a pipeline starts by itself.
//!
//! Invariant: no clock. Time zones come from the rules that are compiled in, so that everybody
//! computes the same times.

mod cron;

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostics, Report};
use crate::event::Subscription;
use crate::input::Inputs;
use crate::name::{PartitionName, PipelineName};
use crate::parse;
use crate::source::File;
use crate::yaml;
pub(crate) use cron::Cron;

/// The time zone of a schedule that names none.
pub(crate) const UTC: &str = "UTC";

pub(crate) static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A schedule as it is written, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields with one space between them, such as `30 2 * * 2`.
    pub cron: String,
    /// Name of a time zone, such as `Europe/Berlin`.
    pub timezone: String,
    /// What the runs are started with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// What becomes of times at which nobody could start it.
    #[serde(default, skip_serializing_if = "Missed::is_once")]
    pub missed: Missed,
}

/// What becomes of times that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One run, for the latest of them.
    #[default]
    Once,
    /// None.
    Skip,
}

impl Missed {
    fn is_once(&self) -> bool {
        *self == Missed::Once
    }
}

/// What a pipeline's file says of when it starts by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The file.
    pub file: String,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Where it runs.
    pub partitions: Vec<PartitionName>,
    /// Its schedules.
    pub schedules: Vec<Schedule>,
    /// The events that it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription>,
}

/// When the pipeline in `file` starts by itself; none if it never does. Mistakes elsewhere in the file do not
/// matter: its runs will show them.
///
/// # Errors
/// What is wrong when its name or `on` cannot be read.
pub fn find(file: &File) -> Result<Option<Found>, Diagnostics> {
    let mut found = Diagnostics::default();
    let read = yaml::read(file, &mut found).and_then(|document| {
        let mut report = Report::new(&document.source, &mut found);
        let pipeline = parse::pipeline(&document.root, &mut report)?;
        let (name, on) = (pipeline.name?, pipeline.on?);
        let partitions = pipeline.partitions.into_iter().map(|name| name.value).collect();
        let schedules = on.schedule.into_iter().map(|it| it.value.schedule).collect();
        let subscriptions = on.event.into_iter().map(|it| it.value.subscription).collect();
        let file = file.name.clone();
        Some(Found { file, pipeline: name, partitions, schedules, subscriptions })
    });
    match read {
        Some(found) if found.schedules.is_empty() && found.subscriptions.is_empty() => Ok(None),
        Some(found) => Ok(Some(found)),
        None => Err(found.sorted()),
    }
}

impl Schedule {
    /// When it is due next after a moment, both in µs since 1970; none if it never is again.
    ///
    /// A time that the clocks skip is due when they have skipped it, a time that comes twice the
    /// first time.
    pub fn next(&self, after_us: u64) -> Option<u64> {
        let cron: Cron = self.cron.parse().ok()?;
        let zone = ZONES.get(&self.timezone).ok()?;
        let after = Timestamp::from_microsecond(i64::try_from(after_us).ok()?).ok()?;
        let mut from = zone.to_datetime(after);
        loop {
            let time = cron.first(from)?;
            let due = moment(&zone, time)?;
            if due > after {
                return u64::try_from(due.as_microsecond()).ok();
            }
            from = time.checked_add(1.minute()).ok()?;
        }
    }

    /// A moment, in µs since 1970, by the clocks of its zone, such as `2026-11-24 02:30
    /// Europe/Berlin`.
    pub fn local(&self, us: u64) -> String {
        let zone = ZONES.get(&self.timezone).unwrap_or(TimeZone::UTC);
        let time = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
        let time = time.unwrap_or_default().to_zoned(zone);
        format!("{} {}", time.strftime("%Y-%m-%d %H:%M"), self.timezone)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.timezone)
    }
}

/// When the clocks of a zone show a time.
pub(crate) fn moment(zone: &TimeZone, time: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok(),
        // By the clocks after it the time lies before the gap, which is the next that changes them.
        AmbiguousOffset::Gap { after, .. } => {
            let before = after.to_timestamp(time).ok()?;
            zone.following(before).next().map(|transition| transition.timestamp())
        }
    }
}

#[cfg(test)]
mod tests;
