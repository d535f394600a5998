//! What is worked at by one holder at a time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{self, DeviceName, LockName, RedundancyGroupName};

/// What a lock of a partition protects. As text: `deploy`, `group:leaf-pair`, `device:leaf01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// Whatever pipelines mean by this name.
    Named(LockName),
    /// Devices of which one may be away, and not two.
    Group(RedundancyGroupName),
    /// A device that belongs to no group.
    Device(DeviceName),
}

const GROUP: &str = "group:";

const DEVICE: &str = "device:";

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Named(name) => write!(f, "{name}"),
            Subject::Group(name) => write!(f, "{GROUP}{name}"),
            Subject::Device(name) => write!(f, "{DEVICE}{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = name::Error;

    fn from_str(text: &str) -> Result<Subject, name::Error> {
        if let Some(name) = text.strip_prefix(GROUP) {
            name.parse().map(Subject::Group)
        } else if let Some(name) = text.strip_prefix(DEVICE) {
            name.parse().map(Subject::Device)
        } else {
            text.parse().map(Subject::Named)
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = name::Error;

    fn try_from(text: String) -> Result<Subject, name::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_as_it_is_written() {
        for text in ["deploy", "group:leaf-pair", "device:leaf01"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in ["", "group:", "device:A", "other:a"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
