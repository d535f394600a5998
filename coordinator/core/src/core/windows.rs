//! Windows: the hours in which work in a partition may begin.
//!
//! Invariant: outside of its partition's window no job is queued and no gate opens, unless work has
//! begun there already (for a job of a rollout over devices: in its unit), or somebody has overridden
//! the run's windows. What waits holds nothing by that.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipelines::id::RunId;

use crate::actor::{Actor, Role};
use crate::change::Change;
use crate::event::{Answer, Refusal, Wall};
use crate::run::{self, OverrideWindow, Run};
use crate::state::ActiveRun;

use super::Core;
use super::asks::needs;

/// When runs are looked at again that wait for a window. Not a part of the state: it is made of it
/// anew after a restart.
#[derive(Debug, Default)]
pub(super) struct Openings {
    by_time: BTreeSet<(Wall, RunId)>,
    /// When the clock was looked at last.
    looked: Wall,
}

impl Openings {
    pub(super) fn insert(&mut self, at: Wall, run: RunId) {
        self.by_time.insert((at, run));
    }

    /// When there is something to look at: at once, if the clock was set back, as then a window may open
    /// before it was thought to.
    fn next(&self, now: Wall) -> Option<Wall> {
        let (at, _) = *self.by_time.first()?;
        Some(if now < self.looked { now } else { at })
    }

    /// Takes the runs to look at.
    fn take(&mut self, now: Wall) -> BTreeSet<RunId> {
        let was_set_back = now < self.looked;
        self.looked = now;
        let mut due = BTreeSet::new();
        while let Some((at, run)) = self.by_time.first().copied()
            && (at <= now || was_set_back)
        {
            self.by_time.remove(&(at, run));
            due.insert(run);
        }
        due
    }
}

impl ActiveRun {
    /// When the window of a waiting job opens; none if the job need not wait for that.
    pub(super) fn opens(&self, index: u32, now: Wall) -> Option<Wall> {
        let spec = &self.plan.jobs[index as usize];
        let window = self.plan.window(&spec.partition)?;
        if self.run.override_window.is_some() {
            return None;
        }
        let over_devices = |rollout: u32| self.plan.rollouts[rollout as usize].job.is_some();
        let unit = spec.rollouts.iter().find(|member| over_devices(member.rollout));
        let has_begun = match unit {
            Some(member) => self.rollouts[member.rollout as usize].has_begun(member.unit),
            None => self.begun.contains_key(&spec.partition),
        };
        // One that never opens is not passed by.
        let opens = window.next(now.0).map_or(Wall(u64::MAX), Wall);
        (!has_begun && opens > now).then_some(opens)
    }
}

impl Core {
    /// When a window opens that a run waits for, by the wall clock, which shows `now`.
    pub fn next_opening(&self, now: Wall) -> Option<Wall> {
        self.openings.next(now)
    }

    /// Begins what waited for windows that are open by now.
    pub(super) fn open_due(&mut self) {
        for run in self.openings.take(self.now) {
            self.go_on(run);
        }
    }

    /// After a restart each run with windows is looked at with the first tick.
    pub(super) fn look_at_windows(&mut self, run: RunId) {
        if self.state.runs.get(&run).is_some_and(|active| !active.plan.windows.is_empty()) {
            self.openings.insert(self.now, run);
        }
    }

    /// Lets the jobs of a run begin outside of its windows, by somebody's word.
    pub(super) fn override_window(
        &mut self,
        actor: &Actor,
        id: RunId,
        reason: &str,
    ) -> Result<Answer, Refusal> {
        let Some(active) = self.state.runs.get(&id) else { return Err(self.not_active(id)) };
        let jobs = active.plan.jobs.iter();
        jobs.map(|job| &job.partition)
            .try_for_each(|it| needs(actor, Role::Admin, it, "overriding windows"))?;
        let conflict = |text: String| Err(Refusal::Conflict(format!("run {id} {text}")));
        let Some(window) = active.plan.windows.first().map(|window| window.name.clone()) else {
            return conflict("has no window: its jobs may begin at any time".to_owned());
        };
        if active.run.cancelled_by.is_some() {
            return conflict("is being cancelled".to_owned());
        }
        if let Some(word) = &active.run.override_window {
            return conflict(format!("may begin outside of its window already, by {}", word.by));
        }
        let run = active.run.clone();
        let pipeline = &run.pipeline;
        let text =
            format!("let run {id} of {pipeline} begin outside of the window {window}: {reason}");
        self.audit(actor, text);
        let word = OverrideWindow { by: actor.clone(), at: self.now, reason: reason.to_owned() };
        let step = Some(run::Step::Window);
        self.put(Change::Run(Run { override_window: Some(word), step, ..run }));
        self.go_on(id);
        Ok(Answer::Done)
    }

    /// Moves on what waits in a run that is under way.
    fn go_on(&mut self, id: RunId) {
        let Some(active) = self.state.runs.get(&id) else { return };
        if active.run.state == run::State::Active && active.run.cancelled_by.is_none() {
            let plan = Arc::clone(&active.plan);
            self.advance_all(id, &plan);
        }
    }
}
