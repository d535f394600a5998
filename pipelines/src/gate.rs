//! Gates: jobs that wait for people, and what they let through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::name::DeviceName;
use crate::name::PartitionName;
use crate::plan::{Job, Task, When};
use crate::role::Role;

/// How many names a summary lists of each kind.
const LISTED: usize = 8;

/// A wait for people. Its job has no script, no agent and no secrets; its time limit counts from when
/// it opens, by the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Who may answer.
    pub role: Role,
    /// What they are told.
    pub message: String,
    /// What lets the jobs through that need it.
    pub asks: Asks,
}

/// What a gate asks people for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asks {
    /// That they approve of what it lets through.
    Approval {
        /// How many different people must.
        count: u32,
        /// Whether who triggered the run may be one of them.
        #[serde(default, skip_serializing_if = "Triggerer::is_refused")]
        triggerer: Triggerer,
    },
    /// That one of them has done something by hand.
    Acknowledgement {
        /// What, in the words that must be given back; one line.
        text: String,
    },
}

/// Whether who triggered a run may approve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Triggerer {
    /// Somebody else must.
    #[default]
    Refused,
    /// As everybody with the role.
    Allowed,
}

impl Triggerer {
    fn is_refused(&self) -> bool {
        *self == Triggerer::Refused
    }
}

impl Gate {
    /// How many different people must answer.
    pub fn count(&self) -> u32 {
        match self.asks {
            Asks::Approval { count, .. } => count,
            Asks::Acknowledgement { .. } => 1,
        }
    }

    /// What it waits for once `given` people have answered: `1 approval by an admin`.
    pub fn wants(&self, given: usize) -> String {
        let missing = (self.count() as usize).saturating_sub(given);
        let who = match (self.role, missing) {
            (Role::View, 1) => "somebody who may view",
            (Role::View, _) => "people who may view",
            (Role::Edit, 1) => "somebody who may edit",
            (Role::Edit, _) => "people who may edit",
            (Role::Admin, 1) => "an admin",
            (Role::Admin, _) => "admins",
        };
        match self.asks {
            Asks::Approval { .. } if missing == 1 => format!("1 approval by {who}"),
            Asks::Approval { .. } => format!("{missing} approvals by {who}"),
            Asks::Acknowledgement { .. } => format!("an acknowledgement by {who}"),
        }
    }
}

/// What lies behind the gates of a plan, and beside them.
pub struct Gates<'p> {
    jobs: &'p [Job],
    /// The jobs of each partition, by their places in the plan.
    partitions: BTreeMap<&'p PartitionName, Vec<usize>>,
}

impl<'p> Gates<'p> {
    /// Of a plan with these jobs.
    pub fn new(jobs: &'p [Job]) -> Gates<'p> {
        let mut partitions: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, job) in jobs.iter().enumerate() {
            partitions.entry(&job.partition).or_default().push(index);
        }
        Gates { jobs, partitions }
    }

    fn beside(&self, gate: usize) -> &[usize] {
        self.partitions.get(&self.jobs[gate].partition).map_or(&[], Vec::as_slice)
    }

    /// The gate, and the jobs of its partition that need one of these so that `counts`.
    fn behind(&self, gate: usize, counts: impl Fn(When) -> bool) -> BTreeSet<usize> {
        let mut behind = BTreeSet::from([gate]);
        for &index in self.beside(gate) {
            let Job { needs, when, .. } = &self.jobs[index];
            if counts(*when) && needs.iter().any(|need| behind.contains(&(*need as usize))) {
                behind.insert(index);
            }
        }
        behind
    }

    /// Whether a job of its partition may have begun when the gate at this place opens, so that the run
    /// may hold its lock there: one that does not wait for the gate.
    pub fn is_behind_work(&self, gate: usize) -> bool {
        let waits = self.behind(gate, |_| true);
        let begins = |index: &usize| !waits.contains(index) && !is_gate(&self.jobs[*index]);
        self.beside(gate).iter().any(begins)
    }

    /// What the gate at this place lets through, in words: how many jobs, their names, devices and environments.
    pub(crate) fn summary(&self, gate: usize) -> String {
        // One that looks for failures is kept back by none.
        let behind = self.behind(gate, |when| matches!(when, When::Success | When::Waive));
        let jobs: Vec<&Job> =
            behind.iter().map(|index| &self.jobs[*index]).filter(|job| !is_gate(job)).collect();
        let partition = &self.jobs[gate].partition;
        let mut text = match jobs.len() {
            0 => return format!("lets no job through in {partition}"),
            1 => format!("lets 1 job through in {partition}: "),
            count => format!("lets {count} jobs through in {partition}: "),
        };
        let count = |(name, count): (&str, usize)| match count {
            1 => name.to_owned(),
            count => format!("{name} ({count} times)"),
        };
        text.push_str(&listed(jobs.iter().map(|job| job.name.as_str()), count));
        let device = |job: &&'p Job| job.at().map(DeviceName::as_str);
        let environment = |job: &&'p Job| Some(job.environment.as_ref()?.name.as_str());
        let once = |(name, _): (&str, usize)| name.to_owned();
        let devices = listed(jobs.iter().filter_map(device), once);
        let environments = listed(jobs.iter().filter_map(environment), once);
        for (what, names) in [("devices", devices), ("environments", environments)] {
            if !names.is_empty() {
                let _ = write!(text, "; {what}: {names}");
            }
        }
        text
    }
}

fn is_gate(job: &Job) -> bool {
    matches!(job.task, Task::Gate(_))
}

/// Names in their order, each once, as `show` has them with how often they are there.
fn listed<'n>(
    names: impl Iterator<Item = &'n str>,
    show: impl Fn((&'n str, usize)) -> String,
) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut places = BTreeMap::new();
    for name in names {
        let place = *places.entry(name).or_insert(counts.len());
        if place == counts.len() {
            counts.push((name, 0));
        }
        counts[place].1 += 1;
    }
    let more = counts.len().saturating_sub(LISTED);
    let shown = counts.into_iter().take(LISTED).map(show);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(role: Role, asks: Asks) -> Gate {
        Gate { role, message: String::new(), asks }
    }

    #[test]
    fn a_gate_says_what_it_waits_for() {
        let asks = Asks::Approval { count: 2, triggerer: Triggerer::Refused };
        let both = gate(Role::Admin, asks);
        assert_eq!(both.wants(0), "2 approvals by admins");
        assert_eq!(both.wants(1), "1 approval by an admin");
        let text = "loaded on console fw01".to_owned();
        let hands = gate(Role::Edit, Asks::Acknowledgement { text });
        assert_eq!(hands.wants(0), "an acknowledgement by somebody who may edit");
    }

    #[test]
    fn what_a_gate_does_not_say_is_refused() {
        let text = r#"{"role":"edit","message":"m","asks":{"kind":"approval","count":1}}"#;
        let read: Gate = serde_json::from_str(text).unwrap();
        let asks = Asks::Approval { count: 1, triggerer: Triggerer::Refused };
        assert_eq!(read.asks, asks);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn many_names_are_cut_and_equal_ones_counted() {
        let names = ["a", "b", "a", "c", "d", "e", "f", "g", "h", "i", "j"];
        let show = |(name, count): (&str, usize)| format!("{name}{count}");
        let text = "a2, b1, c1, d1, e1, f1, g1, h1, and 2 more";
        assert_eq!(listed(names.into_iter(), show), text);
        assert_eq!(listed([].into_iter(), show), "");
    }
}
