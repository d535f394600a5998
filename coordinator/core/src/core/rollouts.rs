//! Rollouts: whose turn it is, and when they stop.
//!
//! Invariant: no job of a unit is queued before all units of earlier waves have ended, while as many
//! units as may be are under way, or once too many have failed. A unit that has begun goes on.

use pipelines::id::{JobId, RunId};

use crate::change::Change;
use crate::deadline::Due;
use crate::job::{self, Job};
use crate::rollout::Rollout;
use crate::run::{Run, Step};
use crate::state::ActiveRun;

use super::Core;

impl ActiveRun {
    /// Whether it is a job's turn in each of its rollouts.
    pub(super) fn may_begin(&self, index: u32) -> bool {
        self.plan.jobs[index as usize].rollouts.iter().all(|member| {
            let rollout = member.rollout as usize;
            self.rollouts[rollout].admits(member.unit, self.run.waves[rollout])
        })
    }

    /// The next wave of a rollout, if all before it has ended.
    fn next_wave(&self, rollout: u32) -> Option<u32> {
        let progress = &self.rollouts[rollout as usize];
        let is_over = self.run.cancelled_by.is_some() || progress.is_stopped();
        progress.wave().filter(|wave| !is_over && *wave > self.run.waves[rollout as usize])
    }
}

impl Core {
    /// Gives the next units of a rollout their turn, or ends it; gives back the jobs that ended by that.
    pub(super) fn carry_on(&mut self, run: RunId, rollout: u32) -> Vec<JobId> {
        let Some(active) = self.state.runs.get(&run) else { return Vec::new() };
        if active.rollouts[rollout as usize].is_stopped() {
            return self.stop(run, rollout);
        }
        if let Some(wave) = active.next_wave(rollout) {
            let pause_s = active.plan.rollouts[rollout as usize].pause_s;
            if pause_s > 0 {
                let at = self.steady.plus_s(pause_s.into());
                self.deadlines.set_if_none(Due::Wave(run, rollout), at);
                return Vec::new();
            }
            self.put_wave(run, rollout, wave);
        }
        let Some(active) = self.state.runs.get(&run) else { return Vec::new() };
        let wave = active.run.waves[rollout as usize];
        let jobs: Vec<u32> = active.rollouts[rollout as usize].not_begun(wave).collect();
        let mut ended = Vec::new();
        for id in jobs.into_iter().map(|index| run.job(index)) {
            let is_final = |core: &Core| core.state.job(id).is_some_and(|it| it.state.is_final());
            let was_final = is_final(self);
            self.advance(id);
            if !was_final && is_final(self) {
                ended.push(id);
            }
        }
        ended
    }

    /// Begins no other unit of a rollout.
    fn stop(&mut self, run: RunId, rollout: u32) -> Vec<JobId> {
        let Some(active) = self.state.runs.get(&run) else { return Vec::new() };
        let jobs = active.rollouts[rollout as usize].not_begun(u32::MAX);
        let jobs = jobs.map(|index| active.jobs[index as usize].clone());
        let open: Vec<Job> = jobs.filter(|job| !job.state.is_final()).collect();
        let ended = open.iter().map(|job| job.id).collect();
        for job in open {
            self.put(Change::Job(Job { state: job::State::Stopped { rollout }, ..job }));
        }
        ended
    }

    /// The pause before a wave is over.
    pub(super) fn wave_due(&mut self, run: RunId, rollout: u32) {
        let Some(active) = self.state.runs.get(&run) else { return };
        if let Some(wave) = active.next_wave(rollout) {
            self.put_wave(run, rollout, wave);
            self.settle(run, Vec::new(), [rollout].into());
        }
    }

    /// After a restart each pause before a wave begins anew.
    pub(super) fn pause_waves(&mut self, run: RunId) {
        let Some(active) = self.state.runs.get(&run) else { return };
        for rollout in 0..active.plan.rollouts.len() as u32 {
            let pause_s = active.plan.rollouts[rollout as usize].pause_s;
            if active.next_wave(rollout).is_some() {
                let at = self.steady.plus_s(pause_s.into());
                self.deadlines.set(Due::Wave(run, rollout), at);
            }
        }
    }

    /// A run that is tried again goes on where its rollouts have come to.
    pub(super) fn resume_waves(&mut self, run: RunId) {
        let Some(active) = self.state.runs.get(&run) else { return };
        let wave = |rollout: &Rollout| rollout.wave().unwrap_or_default();
        let waves: Vec<u32> = active.rollouts.iter().map(wave).collect();
        for rollout in 0..waves.len() as u32 {
            self.deadlines.clear(Due::Wave(run, rollout));
        }
        if waves != active.run.waves {
            let run = Run { waves, step: Some(Step::Wave), ..active.run.clone() };
            self.put(Change::Run(run));
        }
    }

    fn put_wave(&mut self, run: RunId, rollout: u32, wave: u32) {
        let Some(active) = self.state.runs.get(&run) else { return };
        let mut run = active.run.clone();
        run.waves[rollout as usize] = wave;
        run.step = Some(Step::Wave);
        self.put(Change::Run(run));
    }
}
