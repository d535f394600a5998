//! Where alone a run goes that somebody starts by hand.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ast::Pipeline;
use crate::check::Inventories;
use crate::diagnostic::{Code, Report, quoted};
use crate::name::{self, DeviceName, PartitionName};
use crate::source::Span;
use crate::suggest;

/// A partition, or a device of one. As text: `fra-equ01`, `fra-equ01/leaf01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// The partition.
    pub partition: PartitionName,
    /// The device; none for all of the partition.
    pub device: Option<DeviceName>,
}

impl Limit {
    /// Whether a run that is held to these goes to a partition; it does everywhere if there are none.
    pub(crate) fn allow(limits: &[Limit], partition: &PartitionName) -> bool {
        limits.is_empty() || limits.iter().any(|it| it.partition == *partition)
    }

    /// Whether it works at a device of a partition to which it goes.
    pub(crate) fn allow_device(
        limits: &[Limit],
        partition: &PartitionName,
        device: &DeviceName,
    ) -> bool {
        let is_it = |it: &Limit| it.device.as_ref().is_none_or(|it| it == device);
        limits.is_empty() || limits.iter().any(|it| it.partition == *partition && is_it(it))
    }
}

/// Reports limits that mean nothing where the pipeline runs.
pub(crate) fn check(
    limits: &[Limit],
    pipeline: &Pipeline,
    inventories: &Inventories,
    on: Span,
    report: &mut Report<'_>,
) {
    for limit @ Limit { partition, device } in limits {
        let limit = quoted(&limit.to_string());
        if !pipeline.partitions.iter().any(|it| it.value == *partition) {
            let message =
                format!("the run is to be held to {limit}, where this pipeline does not run");
            let known = pipeline.partitions.iter().map(|it| it.value.as_str());
            let help = suggest::advice(partition.as_str(), known, "its partitions are");
            report.error(Code::UnknownLimit, on, message, help);
        } else if let Some(device) = device
            && let Some(inventory) = inventories.get(partition)
            && !inventory.devices.contains_key(device)
        {
            let message = format!("the run is to be held to {limit}, and there is no such device");
            let known = inventory.devices.keys().map(DeviceName::as_str);
            let help = suggest::advice(device.as_str(), known, "devices there are");
            report.error(Code::UnknownLimit, on, message, help);
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{}/{device}", self.partition),
            None => write!(f, "{}", self.partition),
        }
    }
}

impl FromStr for Limit {
    type Err = name::Error;

    fn from_str(text: &str) -> Result<Limit, name::Error> {
        let (partition, device) = match text.split_once('/') {
            Some((partition, device)) => (partition, Some(device.parse()?)),
            None => (text, None),
        };
        Ok(Limit { partition: partition.parse()?, device })
    }
}

impl TryFrom<String> for Limit {
    type Error = name::Error;

    fn try_from(text: String) -> Result<Limit, name::Error> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> String {
        limit.to_string()
    }
}
