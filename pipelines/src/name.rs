//! Names that people give to things. Each kind is a type of its own, checked where it enters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes: a DNS label, so that a name also fits into a certificate and a subject.
pub const MAX_LEN: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_LEN`] bytes.
    #[error("is {0} characters long; at most {MAX_LEN} are allowed")]
    TooLong(usize),
    /// A character outside `a-z`, `0-9` and inner `-`.
    #[error("may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit")]
    Character,
}

fn check(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(Error::TooLong(text.len()));
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(Error::Character);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

name!(
    /// An isolated site and authorisation boundary, such as `fra-equ01`.
    PartitionName
);
name!(
    /// An agent, unique within its partition, such as `mgmt01`.
    AgentName
);
name!(
    /// A group of runs of one repository of which one at a time may be under way.
    GroupName
);
name!(
    /// A repository, as the coordinator's configuration calls it.
    RepositoryName
);
name!(
    /// A forge, as the coordinator's configuration calls it.
    ForgeName
);
name!(
    /// A webhook that is told of events, as the coordinator's configuration calls it.
    WebhookName
);
name!(
    /// A device of a partition's inventory, such as `leaf01`.
    DeviceName
);
name!(
    /// A pipeline's name.
    PipelineName
);
name!(
    /// A job, unique within its pipeline.
    JobName
);
name!(
    /// An API token.
    TokenName
);
name!(
    /// A service of a job, and the host name by which the job reaches it.
    ServiceName
);
name!(
    /// The name of a lock, within a partition.
    LockName
);
name!(
    /// The name of a label.
    LabelName
);
name!(
    /// What a device is for, such as `leaf`.
    RoleName
);
name!(
    /// A redundancy group: devices of a partition of which one may be away.
    RedundancyGroupName
);
name!(
    /// A maintenance window of a partition.
    WindowName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        assert!("fra-equ01".parse::<PartitionName>().is_ok());
        assert_eq!("".parse::<PartitionName>(), Err(Error::Empty));
        assert_eq!("a".repeat(64).parse::<PartitionName>(), Err(Error::TooLong(64)));
        for bad in ["Fra", "a_b", "-a", "a-", "a/b", "ä"] {
            assert_eq!(bad.parse::<PartitionName>(), Err(Error::Character), "{bad}");
        }
    }
}
