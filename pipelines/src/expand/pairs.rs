//! Whether a run could wait for itself: it holds a redundancy group for one of its devices from its first job
//! there to its last, and meanwhile touches no other.

use std::collections::BTreeMap;

use crate::ast::Pipeline;
use crate::diagnostic::{Code, Report, quoted};
use crate::name::{DeviceName, PartitionName, RedundancyGroupName};
use crate::plan::Job;
use crate::source::Span;

/// A device of a group, as it is worked at.
type Member<'j> = (&'j PartitionName, &'j RedundancyGroupName, &'j DeviceName);

/// Which devices a job stands behind, a bit each.
type Behind = Vec<u64>;

/// Reports the first job that keeps its device until work at another one of the group is done.
pub(super) fn check(pipeline: &Pipeline, jobs: &[Job], report: &mut Report<'_>) {
    let Some((job, (_, group, other))) = stuck(jobs) else { return };
    let name = job.call.first().unwrap_or(&job.name);
    let written = pipeline.jobs.iter().find(|it| it.name.value == *name);
    let span = written.map_or(Span::START, |it| it.name.span);
    let message = format!(
        "the job {} waits for what is done at {}, for which the run needs the group {} that it keeps meanwhile: it \
         would wait for itself",
        quoted(&job.title().to_string()),
        quoted(other.as_ref()),
        quoted(group.as_ref()),
    );
    let help = "a device is kept from its first job to its last: take the devices of the job before, by \
                `devices: { of: JOB }`, or say `rollout: { groups: together }` where one of them only looks";
    report.error(Code::InvalidRollout, span, message, help);
}

/// A job that stands behind work at another device of its group, while some job for its own device does not: one of
/// them takes the group, and the other keeps it.
fn stuck(jobs: &[Job]) -> Option<(&Job, Member<'_>)> {
    let all: BTreeMap<Member<'_>, Vec<usize>> = members(jobs);
    let devices: Vec<Member<'_>> = all.keys().copied().collect();
    let behind = behind(jobs, &devices);
    for (device, places) in &all {
        let (partition, group, _) = *device;
        let from = devices.partition_point(|it| (it.0, it.1) < (partition, group));
        let to = devices.partition_point(|it| (it.0, it.1) <= (partition, group));
        let others = |place: usize| {
            let bits = (from..to).filter(|bit| devices[*bit] != *device);
            bits.filter(|bit| is_set(&behind[place], *bit)).collect::<Vec<_>>()
        };
        let first = others(places[0]);
        for &place in &places[1..] {
            let own = others(place);
            if let Some(bit) = own.iter().find(|bit| !first.contains(bit)) {
                return Some((&jobs[place], devices[*bit]));
            }
            if let Some(bit) = first.iter().find(|bit| !own.contains(bit)) {
                return Some((&jobs[places[0]], devices[*bit]));
            }
        }
    }
    None
}

/// The devices of groups that are worked at alone, and the jobs there.
fn members(jobs: &[Job]) -> BTreeMap<Member<'_>, Vec<usize>> {
    let mut members: BTreeMap<Member<'_>, Vec<usize>> = BTreeMap::new();
    for (place, job) in jobs.iter().enumerate() {
        if let Some(member) = member(job) {
            members.entry(member).or_default().push(place);
        }
    }
    members
}

fn member(job: &Job) -> Option<Member<'_>> {
    let alone = job.exclusive.as_ref()?;
    Some((&job.partition, alone.group.as_ref()?, &alone.device))
}

/// What each job stands behind of these devices, which are sorted.
fn behind(jobs: &[Job], devices: &[Member<'_>]) -> Vec<Behind> {
    let words = devices.len().div_ceil(64);
    let mut behind: Vec<Behind> = Vec::with_capacity(jobs.len());
    for job in jobs {
        let mut own = vec![0; words];
        for &need in &job.needs {
            let need = need as usize;
            own.iter_mut().zip(&behind[need]).for_each(|(own, word)| *own |= word);
            if let Some(Ok(bit)) = member(&jobs[need]).map(|it| devices.binary_search(&it)) {
                own[bit / 64] |= 1 << (bit % 64);
            }
        }
        behind.push(own);
    }
    behind
}

fn is_set(bits: &[u64], bit: usize) -> bool {
    bits[bit / 64] >> (bit % 64) & 1 == 1
}
