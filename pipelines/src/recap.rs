//! What came of the hosts of a job's Ansible, by its play recaps.
//!
//! It comes from a script, by way of an agent: whoever takes it bounds it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Longest name of a host that is kept, in bytes.
const HOST_BYTES: usize = 100;

/// Longest name of a task that is kept, in bytes.
const TASK_BYTES: usize = 200;

/// Longest message that is kept, in bytes.
const MESSAGE_BYTES: usize = 500;

/// A word of more bytes without letter and digit is a frame, such as `ssh` draws around warnings.
const FRAME: usize = 8;

/// How many hosts are named where people read what came of all.
const NAMED: usize = 3;

/// What came of all hosts, over all calls of Ansible in a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recap {
    /// Nothing was done: Ansible was in check mode each time, and what it would change counts as changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
    /// The hosts, by name.
    pub hosts: Vec<Host>,
    /// How many more there were than fit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_hosts: u32,
    /// The tasks that failed and were neither rescued nor ignored, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// How many more there were than fit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_failures: u32,
}

/// What came of a host: how many of its tasks ended how, by Ansible's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Its name in the inventory.
    pub host: String,
    /// Succeeded, with or without a change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ok: u32,
    /// Changed something.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changed: u32,
    /// Found no way to it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreachable: u32,
    /// Failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u32,
    /// Failed, and others made up for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rescued: u32,
    /// Failed, which was not to matter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ignored: u32,
}

/// A task that failed on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How.
    pub failure: Kind,
    /// The host's name in the inventory.
    pub host: String,
    /// The task's name.
    pub task: String,
    /// Why, in the words of its module.
    pub message: String,
}

/// How a task failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It did, on the host.
    Failed,
    /// There was no way to the host.
    Unreachable,
}

/// How many hosts there were, and of how many something can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// See [`Recap::check`].
    pub check: bool,
    /// All.
    pub hosts: u32,
    /// Those that changed, or would have.
    pub changed: u32,
    /// Those that were unreachable.
    pub unreachable: u32,
    /// Those where a task failed.
    pub failed: u32,
}

impl Recap {
    /// The same with texts of one line and of a bounded length, and no more of all than is kept. Where hosts
    /// are too many, those stay of which there is something to say.
    #[must_use]
    pub fn bounded(mut self) -> Recap {
        for host in &mut self.hosts {
            host.host = line(&host.host, HOST_BYTES);
        }
        for failure in &mut self.failures {
            failure.host = line(&failure.host, HOST_BYTES);
            failure.task = line(&failure.task, TASK_BYTES);
            failure.message = message(&failure.message);
        }
        let failures = self.failures.len();
        self.failures.truncate(limits::RECAP_FAILURES);
        self.more_failures =
            self.more_failures.saturating_add(count(failures - self.failures.len()));
        let mut left = limits::RECAP_BYTES.saturating_sub(bytes(&self.failures));
        let mut places: Vec<usize> = (0..self.hosts.len()).collect();
        places.sort_by_key(|place| self.hosts[*place].rank());
        let fits = |place: &usize| {
            let bytes = bytes(&self.hosts[*place]) + 1;
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        };
        let kept: BTreeSet<usize> =
            places.into_iter().take(limits::RECAP_HOSTS).take_while(fits).collect();
        let hosts = std::mem::take(&mut self.hosts);
        self.more_hosts = self.more_hosts.saturating_add(count(hosts.len() - kept.len()));
        let hosts = hosts.into_iter().enumerate().filter(|(place, _)| kept.contains(place));
        self.hosts = hosts.map(|(_, host)| host).collect();
        self
    }

    /// What failed, a line each for people.
    pub fn failures_in_words(&self) -> impl Iterator<Item = String> {
        let more = (self.more_failures > 0).then(|| format!("and {} more", self.more_failures));
        self.failures.iter().map(ToString::to_string).chain(more)
    }

    /// How many hosts came to what; of those that did not fit only that they were there.
    pub fn totals(&self) -> Totals {
        let of = |is: fn(&Host) -> bool| count(self.hosts.iter().filter(|host| is(host)).count());
        Totals {
            check: self.check,
            hosts: count(self.hosts.len()).saturating_add(self.more_hosts),
            changed: of(|host| host.changed > 0),
            unreachable: of(|host| host.unreachable > 0),
            failed: of(|host| host.failed > 0),
        }
    }
}

impl Host {
    /// The less, the more there is to say of it.
    fn rank(&self) -> u32 {
        match self {
            Host { unreachable: 0, failed: 0, changed: 0, .. } => 2,
            Host { unreachable: 0, failed: 0, .. } => 1,
            Host { .. } => 0,
        }
    }
}

/// In a line: `12 hosts, 3 changed, leaf01 unreachable`.
impl fmt::Display for Recap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { check, hosts, changed, .. } = self.totals();
        match hosts {
            0 => return f.write_str("no hosts"),
            1 => f.write_str("1 host, ")?,
            hosts => write!(f, "{hosts} hosts, ")?,
        }
        match (changed, check) {
            (0, false) => f.write_str("no change")?,
            (0, true) => f.write_str("would change none")?,
            (changed, false) => write!(f, "{changed} changed")?,
            (changed, true) => write!(f, "would change {changed}")?,
        }
        let unreachable = self.hosts.iter().filter(|host| host.unreachable > 0);
        let failed = self.hosts.iter().filter(|host| host.failed > 0);
        let unreachable: Vec<_> = unreachable.map(|host| host.host.as_str()).collect();
        let failed: Vec<_> = failed.map(|host| host.host.as_str()).collect();
        for (names, word) in [(unreachable, "unreachable"), (failed, "failed")] {
            match names.len() {
                0 => {}
                1..=NAMED => write!(f, ", {} {word}", names.join(" and "))?,
                count => write!(f, ", {count} {word}")?,
            }
        }
        Ok(())
    }
}

/// Why, for people: `leaf01 failed at 'restart frr': unit not found`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { failure, host, task, message } = self;
        let word = match failure {
            Kind::Failed => "failed",
            Kind::Unreachable => "unreachable",
        };
        write!(f, "{host} {word} at '{task}'")?;
        match message.as_str() {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}

/// A text in one line of at most `most` bytes.
fn line(text: &str, most: usize) -> String {
    let mut line = in_one_line(text);
    if line.len() > most {
        line.truncate(line.floor_char_boundary(most - '…'.len_utf8()));
        line.push('…');
    }
    line
}

/// A message in one line. Of a long one begin and end stay: programs say last why they give up.
fn message(text: &str) -> String {
    let line = in_one_line(text);
    if line.len() <= MESSAGE_BYTES {
        return line;
    }
    let half = MESSAGE_BYTES / 2 - '…'.len_utf8();
    let (begin, end) = (line.floor_char_boundary(half), line.ceil_char_boundary(line.len() - half));
    format!("{}…{}", &line[..begin], &line[end..])
}

/// Spaces stand for what cannot be seen, and nothing for the frames that programs draw.
fn in_one_line(text: &str) -> String {
    let is_space = |c: char| c.is_whitespace() || c.is_control();
    let is_frame = |word: &str| word.len() > FRAME && !word.contains(char::is_alphanumeric);
    let words = text.split(is_space).filter(|word| !word.is_empty() && !is_frame(word));
    words.collect::<Vec<&str>>().join(" ")
}

fn bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host { host: name.to_owned(), ok: 2, ..Host::default() }
    }

    fn failure(message: &str) -> Failure {
        let (host, task) = ("leaf01".to_owned(), "restart frr".to_owned());
        Failure { failure: Kind::Failed, host, task, message: message.to_owned() }
    }

    #[test]
    fn it_says_in_a_line_what_came_of_all() {
        let said = |hosts: &[Host]| Recap { hosts: hosts.to_vec(), ..Recap::default() }.to_string();
        assert_eq!(said(&[]), "no hosts");
        assert_eq!(said(&[host("a")]), "1 host, no change");
        let changed = Host { changed: 2, ..host("b") };
        assert_eq!(said(&[host("a"), changed.clone()]), "2 hosts, 1 changed");
        let away = Host { unreachable: 1, ..host("leaf01") };
        let failed = Host { failed: 1, ..host("c") };
        let all = [changed, away.clone(), failed];
        assert_eq!(said(&all), "3 hosts, 1 changed, leaf01 unreachable, c failed");
        assert_eq!(said(&vec![away; 4]), "4 hosts, no change, 4 unreachable");
        let recap = Recap { check: true, hosts: all.to_vec(), ..Recap::default() };
        assert!(recap.to_string().starts_with("3 hosts, would change 1, "));
        assert_eq!(failure("no unit").to_string(), "leaf01 failed at 'restart frr': no unit");
    }

    #[test]
    fn no_text_leaves_its_line_or_is_longer_than_it_may_be() {
        let long = format!("{} {} why", "@".repeat(59), "ä".repeat(400));
        let failures = vec![failure("a\r\n\x1b[31m\tb"), failure(&long)];
        let hosts = vec![host("a\0b")];
        let recap = Recap { hosts, failures, ..Recap::default() }.bounded();
        assert_eq!(recap.hosts[0].host, "a b");
        assert_eq!(recap.failures[0].message, "a [31m b");
        let long = &recap.failures[1].message;
        assert!(long.len() <= MESSAGE_BYTES && long.starts_with("ää"), "{long}");
        assert!(long.contains("ä…ä") && long.ends_with("ä why"), "{long}");
        assert_eq!(recap.clone().bounded(), recap);
    }

    #[test]
    fn of_too_many_hosts_those_are_kept_of_which_there_is_something_to_say() {
        let mut hosts: Vec<Host> =
            (0..3000).map(|n| host(&format!("{n}-{}", "x".repeat(90)))).collect();
        hosts[2999].changed = 1;
        hosts[2000].unreachable = 1;
        let failures = vec![failure(&"x".repeat(600)); 50];
        let recap = Recap { hosts, failures, ..Recap::default() }.bounded();
        let names: Vec<_> = recap.hosts.iter().map(|host| host.host.as_str()).collect();
        assert!(names[0].starts_with("0-"), "{}", names[0]);
        assert!(
            names[names.len() - 2].starts_with("2000-")
                && names[names.len() - 1].starts_with("2999-")
        );
        assert!(bytes(&recap) < limits::RECAP_BYTES + 200, "{}", bytes(&recap));
        let totals = Totals { check: false, hosts: 3000, changed: 1, unreachable: 1, failed: 0 };
        assert_eq!((recap.totals(), recap.failures.len(), recap.more_failures), (totals, 20, 30));
        assert_eq!(recap.clone().bounded(), recap);
    }
}
