//! The operator's commands, one a file.

pub mod agents;
pub mod artifacts;
pub mod audit;
pub mod change;
pub mod doctor;
pub mod environments;
pub mod events;
mod files;
pub mod gates;
pub mod inventory;
pub mod lint;
pub mod locks;
pub mod logs;
pub mod open;
pub mod plan;
pub mod runs;
pub mod schedules;
pub mod schema;
pub mod secrets;
pub mod show;
pub mod status;
pub mod subscriptions;
pub mod tokens;
pub mod trigger;
pub mod windows;

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
