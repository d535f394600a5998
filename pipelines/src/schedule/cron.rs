//! Cron expressions: minute, hour, day of the month, month, day of the week.

use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

use crate::diagnostic::quoted;

/// Where one never fires within so many years, it never does: a leap day falls on each day of the
/// week within 40.
const YEARS: i16 = 50;

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// An expression that was read: for each field a set of numbers, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// From Sunday, which is 0.
    weekdays: u64,
    /// Both days of the month and of the week are restricted, and either suffices.
    either_day: bool,
}

/// What a field may hold.
struct Field {
    title: &'static str,
    range: RangeInclusive<u32>,
    /// Names of its numbers, the first one's first.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { title: "minute", range: 0..=59, names: &[] },
    Field { title: "hour", range: 0..=23, names: &[] },
    Field { title: "day of the month", range: 1..=31, names: &[] },
    Field { title: "month", range: 1..=12, names: MONTHS },
    Field { title: "day of the week", range: 0..=7, names: WEEKDAYS },
];

impl FromStr for Cron {
    /// Why it cannot be read, as the end of a sentence.
    type Err = String;

    fn from_str(text: &str) -> Result<Cron, String> {
        let written: Vec<&str> = text.split_whitespace().collect();
        let [_, _, day, _, weekday] = written.as_slice() else {
            return Err(format!(
                "it needs five fields (minute, hour, day of the month, month, day of the week), and \
                 this has {}",
                written.len()
            ));
        };
        let mut sets = [0; FIELDS.len()];
        for ((set, field), written) in sets.iter_mut().zip(&FIELDS).zip(&written) {
            *set = field.read(written)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        // Sunday is also 7.
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !day.starts_with('*') && !weekday.starts_with('*');
        Ok(Cron { minutes, hours, days, months, weekdays, either_day })
    }
}

impl Field {
    /// The numbers of a list such as `1-5,10,*/20`, as bits.
    fn read(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, text: &str) -> Result<u64, String> {
        let (span, step) = match text.split_once('/') {
            Some((span, step)) => (span, Some(self.step(step)?)),
            None => (text, None),
        };
        let range = match (span, span.split_once('-')) {
            ("*", _) => self.range.clone(),
            (_, Some((from, to))) => self.number(from)?..=self.end(to)?,
            (_, None) if step.is_some() => {
                let title = self.title;
                let (text, better) =
                    (quoted(text), quoted(&format!("{span}-{}/…", self.range.end())));
                return Err(format!(
                    "the {title} {text} has a step without a range; write {better}"
                ));
            }
            (_, None) => self.number(span)?..=self.number(span)?,
        };
        if range.is_empty() {
            return Err(format!("the {} {} ends before it begins", self.title, quoted(text)));
        }
        Ok(range.step_by(step.unwrap_or(1)).fold(0, |set, number| set | 1 << number))
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        let step: Option<u32> = digits(text).filter(|step| (1..=*self.range.end()).contains(step));
        let step = step.ok_or_else(|| {
            let (title, text, last) = (self.title, quoted(text), self.range.end());
            format!("the step {text} of the {title} is no number from 1 to {last}")
        })?;
        Ok(step as usize)
    }

    /// The number at the end of a range, where `sun` comes after `sat`.
    fn end(&self, text: &str) -> Result<u32, String> {
        let is_sunday = *self.range.end() == 7 && text.eq_ignore_ascii_case("sun");
        if is_sunday { Ok(7) } else { self.number(text) }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.map(|place| place as u32 + self.range.start());
        let number = named.or_else(|| digits(text)).filter(|number| self.range.contains(number));
        number.ok_or_else(|| {
            let (first, last) = (self.range.start(), self.range.end());
            let names = match self.names {
                [] => String::new(),
                names => format!(", nor one of {}", names.join(", ")),
            };
            format!(
                "the {} {} is no number from {first} to {last}{names}",
                self.title,
                quoted(text)
            )
        })
    }
}

/// A number of digits alone.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Cron {
    /// The first time from `from` on that it names; none if there is none.
    pub(crate) fn first(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let last = date.year().saturating_add(YEARS);
        // On the first day not before that time; a minute that has begun counts no more.
        let mut minute = from.hour() as u32 * 60 + from.minute() as u32;
        minute += u32::from(from.second() > 0 || from.subsec_nanosecond() > 0);
        while date.year() <= last {
            if self.has_day(date)
                && let Some(time) = self.time_of_day(date, minute)
            {
                return Some(time);
            }
            (date, minute) = (date.checked_add(1.day()).ok()?, 0);
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let has_day = is_in(self.days, date.day() as u32);
        let weekday = date.weekday().to_sunday_zero_offset();
        let has_weekday = is_in(self.weekdays, weekday as u32);
        let has = if self.either_day { has_day || has_weekday } else { has_day && has_weekday };
        has && is_in(self.months, date.month() as u32)
    }

    /// The first time of a day from this minute of it on.
    fn time_of_day(&self, date: Date, from: u32) -> Option<DateTime> {
        let fits =
            |minute: &u32| is_in(self.hours, minute / 60) && is_in(self.minutes, minute % 60);
        let minute = (from..24 * 60).find(fits)?;
        Some(date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0))
    }
}

fn is_in(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}
