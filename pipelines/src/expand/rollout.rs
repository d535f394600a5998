//! What a job with devices is for, and in which wave of which rollout.

use std::collections::{BTreeMap, BTreeSet};

use super::{Expansion, Instance, Needs};
use crate::ast::{Job as Written, Pipeline, Rollout as WrittenRollout, Task as WrittenTask, Waves};
use crate::devices::{self, Named};
use crate::diagnostic::{Code, Report, quoted};
use crate::name::{DeviceName, JobName, PartitionName};
use crate::plan::{Exclusive, Job, Member, Rollout, Unit};
use crate::source::Span;

/// What an instance of a job is for.
#[derive(Clone, Copy, Default)]
pub(super) struct Target<'p> {
    pub(super) device: Option<Named<'p>>,
    /// The unit of a rollout that the device is.
    pub(super) member: Option<Member>,
    /// Others may work at the device meanwhile, and at those of its group.
    pub(super) is_shared: bool,
}

impl<'p> Expansion<'p> {
    /// What a job is for in a partition: its devices, one after the other, the one that it names, or
    /// nothing certain.
    pub(super) fn targets(
        &mut self,
        written: &'p Written,
        partition: &'p PartitionName,
    ) -> Option<Vec<Target<'p>>> {
        let Some(chosen) = &written.devices else {
            let device = match &written.task.as_ref()?.value {
                WrittenTask::Ssh(ssh) => {
                    let name = &ssh.device.as_ref()?.value;
                    let inventory = self.known.inventories.get(partition)?;
                    Some(inventory.devices.get_key_value(name)?)
                }
                WrittenTask::Process
                | WrittenTask::Container(_)
                | WrittenTask::Render(_)
                | WrittenTask::Wait
                | WrittenTask::Gate(_)
                | WrittenTask::Pipeline(_) => None,
            };
            let is_shared = is_shared(written);
            return Some(vec![Target { device, member: None, is_shared }]);
        };
        let targets = match &chosen.of {
            // Where that job is left out, so is this.
            Some(job) => self.devices.get(&(&job.value, partition)).cloned().unwrap_or_default(),
            None => {
                let inventory = self.known.inventories.get(partition)?;
                let devices = devices::chosen(chosen, inventory);
                self.in_waves(written, devices)?
            }
        };
        self.devices.insert((&written.name.value, partition), targets.clone());
        Some(targets)
    }

    /// The devices of a job in the order of its rollout, if it has one.
    fn in_waves(&mut self, written: &Written, devices: Vec<Named<'p>>) -> Option<Vec<Target<'p>>> {
        let is_shared = is_shared(written);
        let target = |device| Target { device: Some(device), member: None, is_shared };
        let Some(rollout) = written.rollout.as_ref().filter(|_| !devices.is_empty()) else {
            return Some(devices.into_iter().map(target).collect());
        };
        let waves = devices::waves(&devices, &rollout.waves);
        let mut devices: Vec<_> = devices.into_iter().zip(waves).collect();
        devices.sort_by_key(|(_, wave)| *wave);
        let unit =
            |((name, _), wave): &(Named<'_>, u32)| Unit { name: name.to_string(), wave: *wave };
        let units = devices.iter().map(unit).collect();
        let index = u32::try_from(self.rollouts.len()).ok()?;
        self.rollouts.push(paced(rollout, Some(written.name.value.clone()), units));
        let target = |(unit, (device, _)): (u32, _)| Target {
            device: Some(device),
            member: Some(Member { rollout: index, unit }),
            is_shared,
        };
        Some((0..).zip(devices).map(target).collect())
    }

    /// What an instance needs: of jobs for the same devices, the one for its own device alone.
    pub(super) fn needs_of(
        &self,
        written: &Written,
        partition: &PartitionName,
        target: &Target<'_>,
        needs: &Result<Needs, JobName>,
    ) -> Result<Needs, JobName> {
        let (Ok(needs), Some(root), Some((device, _))) =
            (needs, self.root_of(written), target.device)
        else {
            return needs.clone();
        };
        let mut others: BTreeSet<u32> = BTreeSet::new();
        for need in &written.needs {
            let needed = self.pipeline.jobs.iter().find(|it| it.name.value == need.job.value);
            let is_of_same = needed.and_then(|it| self.root_of(it)) == Some(root);
            let Some(places) = self.places.get(&(&need.job.value, partition)) else { continue };
            if !is_of_same {
                continue;
            }
            let is_own = |place: &&u32| self.jobs[**place as usize].device.as_ref() == Some(device);
            if !places.iter().any(|place| is_own(&place)) && !need.optional {
                return Err(need.job.value.clone());
            }
            others.extend(places.iter().filter(|place| !is_own(place)).copied());
        }
        let kept = |places: &[u32]| {
            places.iter().copied().filter(|place| !others.contains(place)).collect()
        };
        Ok(Needs { all: kept(&needs.all), without_artifacts: kept(&needs.without_artifacts) })
    }

    /// The job that says which devices a job is for: itself, or one whose devices it takes.
    fn root_of(&self, job: &'p Written) -> Option<&'p JobName> {
        let mut job = job;
        for _ in 0..self.pipeline.jobs.len() {
            let Some(of) = &job.devices.as_ref()?.of else { return Some(&job.name.value) };
            job = self.pipeline.jobs.iter().find(|it| it.name.value == of.value)?;
        }
        None
    }
}

impl Instance<'_, '_> {
    /// Its device, if the job is for several.
    pub(super) fn of_each(&self) -> Option<DeviceName> {
        self.target.device.filter(|_| self.written.devices.is_some()).map(|(name, _)| name.clone())
    }

    /// What it works at alone.
    pub(super) fn exclusive(&self) -> Option<Exclusive> {
        let (name, device) = self.target.device?;
        (!self.target.is_shared)
            .then(|| Exclusive { device: name.clone(), group: device.group.clone() })
    }
}

/// Reports jobs of a rollout that wait for all of its units: in all but the last wave that would be for
/// ever.
pub(super) fn check_order(
    pipeline: &Pipeline,
    jobs: &[Job],
    rollouts: &[Rollout],
    report: &mut Report<'_>,
) {
    for (index, rollout) in (0..).zip(rollouts) {
        if rollout.waves() < 2 && rollout.max_parallel.is_none() {
            continue;
        }
        let unit = |job: &Job| job.rollouts.iter().find(|it| it.rollout == index).map(|it| it.unit);
        let mut is_behind = vec![false; jobs.len()];
        for (place, job) in jobs.iter().enumerate() {
            let own = unit(job);
            let waits = |need: &&u32| {
                let needed = unit(&jobs[**need as usize]);
                is_behind[**need as usize] || needed.is_some_and(|unit| Some(unit) != own)
            };
            let Some(need) = job.needs.iter().find(waits) else { continue };
            if own.is_none() {
                is_behind[place] = true;
                continue;
            }
            let written = pipeline.jobs.iter().find(|it| it.name.value == job.name);
            let span = written.map_or(Span::START, |it| it.name.span);
            let message = format!(
                "the job {} waits for {}, and that for all devices of its rollout: they would wait for \
                 each other",
                quoted(&job.title().to_string()),
                quoted(&jobs[*need as usize].title().to_string()),
            );
            let help = "let it need jobs for its own device alone, or take it out of the rollout";
            report.error(Code::InvalidRollout, span, message, help);
            break;
        }
    }
}

fn is_shared(written: &Written) -> bool {
    written.rollout.as_ref().is_some_and(|rollout| rollout.together)
}

fn paced(written: &WrittenRollout, job: Option<JobName>, units: Vec<Unit>) -> Rollout {
    let WrittenRollout { max_parallel, stop_after, pause_s, .. } = *written;
    Rollout { job, units, max_parallel, stop_after, pause_s }
}

/// Adds the rollout over partitions, to which all jobs belong: those that come first, then the others in
/// their order.
pub(super) fn over_partitions(pipeline: &Pipeline, jobs: &mut [Job], rollouts: &mut Vec<Rollout>) {
    let Some(written) = &pipeline.rollout else { return };
    let present: BTreeSet<&PartitionName> = jobs.iter().map(|job| &job.partition).collect();
    let is_first = |it: &&PartitionName| written.canary.iter().any(|first| first.value == **it);
    let order = pipeline.partitions.iter().map(|it| &it.value).filter(|it| present.contains(it));
    let (first, rest): (Vec<_>, Vec<_>) = order.partition(is_first);
    let sizes = match &written.waves {
        Waves::Sizes(sizes) => sizes.as_slice(),
        Waves::One | Waves::Halves => &[],
    };
    let after = u32::from(!first.is_empty());
    let waves = devices::by_size(rest.len(), sizes).into_iter().map(|wave| wave + after);
    let waves = std::iter::repeat_n(0, first.len()).chain(waves);
    let units: Vec<_> = first.into_iter().chain(rest).cloned().zip(waves).collect();
    let Ok(rollout) = u32::try_from(rollouts.len()) else { return };
    let place: BTreeMap<&PartitionName, u32> =
        (0..).zip(&units).map(|(at, (it, _))| (it, at)).collect();
    for job in jobs {
        let unit = place.get(&job.partition).copied();
        job.rollouts.extend(unit.map(|unit| Member { rollout, unit }));
    }
    let units = units.iter().map(|(it, wave)| Unit { name: it.to_string(), wave: *wave }).collect();
    rollouts.push(paced(written, None, units));
}
