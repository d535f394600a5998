//! The operator's commands, one a file.

pub mod agents;
pub mod audit;
pub mod change;
pub mod lint;
pub mod locks;
pub mod logs;
pub mod open;
pub mod runs;
pub mod show;
pub mod tokens;
pub mod trigger;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use pipelines::name::{self, PartitionName};

use crate::client::Client;
use crate::exit::{Exit, Failure};

/// How long a follower waits for a coordinator that went away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that has a name within a partition, written as PARTITION/NAME.
#[derive(Debug, Clone)]
pub struct Within<N> {
    /// The partition.
    pub partition: PartitionName,
    /// The name in it.
    pub name: N,
}

impl<N: FromStr<Err = name::Error>> FromStr for Within<N> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (partition, name) = text.split_once('/').ok_or("write it as PARTITION/NAME")?;
        let partition = partition.parse().map_err(|error| format!("the partition {error}"))?;
        let name = name.parse().map_err(|error| format!("the name {error}"))?;
        Ok(Within { partition, name })
    }
}

impl<N: fmt::Display> fmt::Display for Within<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.name)
    }
}

/// Waits until the coordinator answers again.
pub fn again(client: &Client) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        match client.get::<serde_json::Value>("/healthz") {
            Ok(_) => return Ok(()),
            Err(failure) if failure.exit != Exit::Unavailable || start.elapsed() > PATIENCE => {
                return Err(failure);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

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
