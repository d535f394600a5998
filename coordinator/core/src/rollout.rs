//! How far a rollout of an active run has come: counts that follow from its jobs alone.

use pipelines::plan::{self, Plan};

use crate::job::Job;

/// A rollout of an active run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    units: Vec<Unit>,
    /// How many units of each wave have open jobs.
    open: Vec<u32>,
    /// How many units are begun and have open jobs.
    running: u32,
    /// How many units have a job that failed.
    failed: u32,
    max_parallel: u32,
    stop_after: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    wave: u32,
    jobs: Vec<u32>,
    /// How many of its jobs are so.
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    open: u32,
    /// As [`Job::has_begun`] has it.
    begun: u32,
    failed: u32,
}

impl Rollout {
    /// Those of a plan, with no job counted yet.
    pub(crate) fn all_of(plan: &Plan) -> Vec<Rollout> {
        let mut rollouts: Vec<Rollout> = plan.rollouts.iter().map(Rollout::new).collect();
        for (index, job) in (0..).zip(&plan.jobs) {
            for member in &job.rollouts {
                rollouts[member.rollout as usize].units[member.unit as usize].jobs.push(index);
            }
        }
        rollouts
    }

    fn new(plan: &plan::Rollout) -> Rollout {
        let unit = |it: &plan::Unit| Unit { wave: it.wave, ..Unit::default() };
        Rollout {
            units: plan.units.iter().map(unit).collect(),
            open: vec![0; plan.waves() as usize],
            running: 0,
            failed: 0,
            max_parallel: plan.max_parallel.unwrap_or(u32::MAX),
            stop_after: plan.stop_after.unwrap_or(u32::MAX),
        }
    }

    /// A job of a unit is from now on so.
    pub(crate) fn count(&mut self, unit: u32, old: Option<&Job>, new: &Job) {
        let unit = &mut self.units[unit as usize];
        let before = unit.counts;
        let (old, new) = (old.map(Counts::of).unwrap_or_default(), Counts::of(new));
        let moved = |count: u32, old: u32, new: u32| count + new - old;
        unit.counts = Counts {
            open: moved(before.open, old.open, new.open),
            begun: moved(before.begun, old.begun, new.begun),
            failed: moved(before.failed, old.failed, new.failed),
        };
        let after = unit.counts;
        let change = |count: &mut u32, was: bool, is: bool| match (was, is) {
            (false, true) => *count += 1,
            (true, false) => *count -= 1,
            (true, true) | (false, false) => {}
        };
        change(&mut self.open[unit.wave as usize], before.open > 0, after.open > 0);
        change(&mut self.running, before.is_running(), after.is_running());
        change(&mut self.failed, before.failed > 0, after.failed > 0);
    }

    /// Whether jobs of a unit may start while the rollout is in `wave`.
    pub(crate) fn admits(&self, unit: u32, wave: u32) -> bool {
        let unit = &self.units[unit as usize];
        unit.counts.begun > 0
            || (unit.wave <= wave && self.running < self.max_parallel && !self.is_stopped())
    }

    /// Whether work at a unit has begun.
    pub(crate) fn has_begun(&self, unit: u32) -> bool {
        self.units[unit as usize].counts.begun > 0
    }

    /// Whether it goes on to no other unit.
    pub(crate) fn is_stopped(&self) -> bool {
        self.failed >= self.stop_after
    }

    /// The first wave that has open jobs; none if no job is open.
    pub(crate) fn wave(&self) -> Option<u32> {
        let wave = self.open.iter().position(|open| *open > 0)?;
        u32::try_from(wave).ok()
    }

    /// The jobs of units that are open and not begun, up to this wave.
    pub(crate) fn not_begun(&self, wave: u32) -> impl Iterator<Item = u32> {
        let units = self.units.iter().take_while(move |unit| unit.wave <= wave);
        let waiting = units.filter(|unit| unit.counts.open > 0 && unit.counts.begun == 0);
        waiting.flat_map(|unit| unit.jobs.iter().copied())
    }
}

impl Counts {
    fn of(job: &Job) -> Counts {
        Counts {
            open: u32::from(!job.state.is_final()),
            begun: u32::from(job.has_begun()),
            failed: u32::from(job.state.is_failure()),
        }
    }

    fn is_running(&self) -> bool {
        self.open > 0 && self.begun > 0
    }
}
