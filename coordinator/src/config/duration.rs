//! Times as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a time such as `90s`, `10m`, `12h` or `90d`, in seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no time: write it as 90s, 10m, 12h or 90d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// The same in a configuration.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    seconds(&text).map(Duration::from_secs).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("90d"), Ok(7_776_000));
        for bad in ["", "10", "m", "-1s", "1w", "1ä", "99999999999999999999s"] {
            assert!(seconds(bad).unwrap_err().contains("write it as"), "{bad}");
        }
    }
}
