//! Durations, sizes and CPU shares as people write them.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A number alone.
    #[error("it has no unit")]
    NoUnit,
    /// Something that is neither number nor unit.
    #[error("it is not made of whole numbers and known units")]
    Malformed,
    /// A share that is no number.
    #[error("it is not a number with at most three decimals")]
    NotDecimal,
    /// Units in another order, or one twice.
    #[error("its parts do not stand from the largest unit to the smallest, each once")]
    Order,
    /// Below what is allowed.
    #[error("it is too small")]
    TooSmall,
    /// Above what is allowed.
    #[error("it is too large")]
    TooLarge,
}

/// What to write for a duration.
pub(crate) const DURATION_HELP: &str =
    "write days, hours, minutes and seconds, such as `90s`, `30m` or `1h30m`; at most `30d`";

/// What to write for how long something is kept.
pub(crate) const KEEPING_HELP: &str =
    "write days, hours, minutes and seconds, such as `7d` or `12h`; at most `3650d`";

/// What to write for a size.
pub(crate) const SIZE_HELP: &str =
    "write a whole number of KiB, MiB or GiB, such as `512MiB`; at least `6MiB`";

/// What to write for a CPU share.
pub(crate) const CPUS_HELP: &str =
    "write a number of cores with at most three decimals, such as `1.5`; from 0.01 to 1024";

/// The engine refuses containers with less memory.
const MEMORY_MIN: u64 = 6 << 20;
const SIZE_MAX: u64 = 1 << 46;
const MILLICPUS: std::ops::RangeInclusive<u32> = 10..=1_024_000;

/// Units of durations, in seconds.
const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// How many of some, as a number or as a share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Count(u32),
    Percent(u32),
}

impl Share {
    /// Reads `2` or `25%`.
    pub(crate) fn parse(text: &str) -> Result<Share, &'static str> {
        let (number, is_share) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        match (number.parse(), is_share) {
            (Ok(percent @ 1..=100), true) => Ok(Share::Percent(percent)),
            (_, true) => Err("it is not a share from 1% to 100%"),
            (Ok(count @ 1..), false) => Ok(Share::Count(count)),
            (_, false) => Err("it is neither a number from 1 nor a share"),
        }
    }

    /// How many of `all`; at least one.
    pub(crate) fn of(self, all: usize) -> usize {
        match self {
            Share::Count(count) => count as usize,
            Share::Percent(percent) => (all * percent as usize / 100).max(1),
        }
    }
}

/// Seconds of a time limit such as `1h30m`.
pub fn duration(text: &str) -> Result<u32, Error> {
    seconds(text, limits::TIMEOUT_S)
}

/// Seconds that something is kept for, such as `7d`.
pub(crate) fn keeping(text: &str) -> Result<u32, Error> {
    seconds(text, limits::EXPIRE_S)
}

fn seconds(text: &str, longest: u32) -> Result<u32, Error> {
    let mut units = UNITS.iter();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) = leading_number(rest)?;
        let unit_len = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(unit_len);
        if unit.is_empty() {
            return Err(Error::NoUnit);
        }
        if !UNITS.iter().any(|(known, _)| *known == unit) {
            return Err(Error::Malformed);
        }
        let (_, factor) = units.find(|(known, _)| *known == unit).ok_or(Error::Order)?;
        seconds = seconds.saturating_add(number.saturating_mul((*factor).into()));
        rest = next;
    }
    match u32::try_from(seconds) {
        Ok(0) if text.is_empty() => Err(Error::Malformed),
        Ok(0) => Err(Error::TooSmall),
        Ok(seconds) if seconds <= longest => Ok(seconds),
        _ => Err(Error::TooLarge),
    }
}

/// Bytes of a size such as `512MiB`.
pub fn size(text: &str) -> Result<u64, Error> {
    let (number, unit) = leading_number(text)?;
    let factor = match unit {
        "" => return Err(Error::NoUnit),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(Error::Malformed),
    };
    match number.saturating_mul(factor) {
        bytes if bytes > SIZE_MAX => Err(Error::TooLarge),
        bytes => Ok(bytes),
    }
}

/// [`size`] of a container's memory.
pub(crate) fn memory(text: &str) -> Result<u64, Error> {
    match size(text)? {
        bytes if bytes < MEMORY_MIN => Err(Error::TooSmall),
        bytes => Ok(bytes),
    }
}

/// A duration as people write it, such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

impl FromStr for Seconds {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        duration(text).map(Seconds)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
            }
            rest %= factor;
        }
        Ok(())
    }
}

/// Thousandths of a core of a number such as `1.5`.
pub(crate) fn millicpus(text: &str) -> Result<u32, Error> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
        return Err(Error::NotDecimal);
    }
    let whole: u32 = whole.parse().map_err(|_| Error::TooLarge)?;
    let thousandths: u32 = format!("{decimals:0<3}").parse().map_err(|_| Error::NotDecimal)?;
    let millicpus = whole.saturating_mul(1_000).saturating_add(thousandths);
    match millicpus {
        _ if millicpus < *MILLICPUS.start() => Err(Error::TooSmall),
        _ if millicpus > *MILLICPUS.end() => Err(Error::TooLarge),
        _ => Ok(millicpus),
    }
}

/// The whole number that a text begins with, and what stands behind it.
fn leading_number(text: &str) -> Result<(u64, &str), Error> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(Error::Malformed);
    }
    Ok((number.parse().map_err(|_| Error::TooLarge)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        let good =
            [("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("2d", 172_800), ("30d", 2_592_000)];
        for (text, seconds) in good {
            assert_eq!(duration(text), Ok(seconds), "{text}");
            assert_eq!(duration(&Seconds(seconds).to_string()), Ok(seconds), "{text}");
        }
        let bad = [
            ("", Error::Malformed),
            ("30", Error::NoUnit),
            ("1h30", Error::NoUnit),
            ("30min", Error::Malformed),
            ("1.5h", Error::Malformed),
            ("-5m", Error::Malformed),
            ("30m1h", Error::Order),
            ("1h1h", Error::Order),
            ("0s", Error::TooSmall),
            ("31d", Error::TooLarge),
            ("99999999999999999999d", Error::TooLarge),
        ];
        for (text, error) in bad {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(memory("512MiB"), Ok(512 << 20));
        assert_eq!(memory("2GiB"), Ok(2 << 30));
        assert_eq!(memory("8192KiB"), Ok(8 << 20));
        assert_eq!(memory("512"), Err(Error::NoUnit));
        assert_eq!(memory("512M"), Err(Error::Malformed));
        assert_eq!(memory("1KiB"), Err(Error::TooSmall));
        assert_eq!(memory("9999999999GiB"), Err(Error::TooLarge));
    }

    #[test]
    fn cpu_shares_have_three_decimals() {
        assert_eq!(millicpus("1.5"), Ok(1_500));
        assert_eq!(millicpus("2"), Ok(2_000));
        assert_eq!(millicpus("0.125"), Ok(125));
        assert_eq!(millicpus("0.001"), Err(Error::TooSmall));
        assert_eq!(millicpus("5000"), Err(Error::TooLarge));
        for text in ["", ".5", "1.", "1.2345", "1e3", "-1", "one"] {
            assert_eq!(millicpus(text), Err(Error::NotDecimal), "{text}");
        }
    }
}
