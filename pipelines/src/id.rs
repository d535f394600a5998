//! Numbers that the coordinator gives to runs, jobs and attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run; numbered from 1 by the coordinator, never used twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// A job: its run and its place in the run's plan, from 0. Written `17.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The run.
    pub run: RunId,
    /// Index into [`crate::plan::Plan::jobs`].
    pub index: u32,
}

/// One execution of a job; numbered from 1, and a higher number fences the lower ones.
/// Written `17.3.1`, which is also the name of its directory on the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// From 1.
    pub number: u32,
}

/// A text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {wanted}")]
pub struct Error {
    text: String,
    wanted: &'static str,
}

impl RunId {
    /// The job at `index` of this run's plan.
    pub fn job(self, index: u32) -> JobId {
        JobId { run: self, index }
    }
}

impl JobId {
    /// The attempt of this job with that number.
    pub fn attempt(self, number: u32) -> AttemptId {
        AttemptId { job: self, number }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)
    }
}

/// `N` decimal numbers with dots between them, nothing else.
fn numbers<const N: usize>(text: &str, wanted: &'static str) -> Result<[u64; N], Error> {
    let fail = || Error { text: text.to_owned(), wanted };
    let mut parts = text.split('.');
    let mut out = [0; N];
    for slot in &mut out {
        let part = parts.next().ok_or_else(fail)?;
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fail());
        }
        *slot = part.parse().map_err(|_| fail())?;
    }
    if parts.next().is_some() { Err(fail()) } else { Ok(out) }
}

impl FromStr for RunId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let [run] = numbers(text, "a run's number, such as 17")?;
        Ok(RunId(run))
    }
}

impl FromStr for JobId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wanted = "a job's id, such as 17.3";
        let [run, index] = numbers(text, wanted)?;
        let index = index.try_into().map_err(|_| Error { text: text.to_owned(), wanted })?;
        Ok(RunId(run).job(index))
    }
}

impl FromStr for AttemptId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wanted = "an attempt's id, such as 17.3.1";
        let [run, index, number] = numbers(text, wanted)?;
        let fail = || Error { text: text.to_owned(), wanted };
        let index = index.try_into().map_err(|_| fail())?;
        let number = number.try_into().map_err(|_| fail())?;
        Ok(RunId(run).job(index).attempt(number))
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(JobId, AttemptId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = RunId(17).job(3).attempt(2);
        assert_eq!(id.to_string(), "17.3.2");
        assert_eq!("17.3.2".parse(), Ok(id));
        assert_eq!("17.3".parse(), Ok(id.job));
        assert_eq!("17".parse(), Ok(id.job.run));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"17.3.2\"");
        assert_eq!(serde_json::from_str::<AttemptId>("\"17.3.2\"").unwrap(), id);
    }

    #[test]
    fn other_texts_are_refused_with_an_example() {
        for bad in ["", "17", "17.3", "17.3.2.1", "a.b.c", "17..2", "+1.2.3", "1.2.99999999999"] {
            let error = bad.parse::<AttemptId>().unwrap_err().to_string();
            assert!(error.contains("such as 17.3.1"), "{error}");
        }
    }
}
