//! Schedules: found in repositories, and due by the wall clock.
//!
//! Invariant: the batch that takes a schedule's trigger moves the schedule on, so that each of its
//! times starts it once, whatever crashes.

use pipelines::name::RepositoryName;
use pipelines::schedule::{Found, Missed};

use crate::actor::Actor;
use crate::change::Change;
use crate::event::{Effect, Wall};
use crate::schedule::{Fired, ScheduleKey, Scheduled};
use crate::trigger::{Cause, TriggerId};

use super::Core;

/// Who is so late has missed it, in µs: a restart alone does not miss anything.
const LATE_US: u64 = 5 * 60 * 1_000_000;

/// What was missed longer ago is not made up for, in µs.
const OLD_US: u64 = 24 * 60 * 60 * 1_000_000;

impl Core {
    /// When a schedule is due at the earliest, by the wall clock.
    pub fn next_schedule(&self) -> Option<Wall> {
        self.state.due.first().map(|(at, _)| *at)
    }

    /// A repository's branch has these schedules, and no others, at this commit.
    pub(super) fn schedules_found(
        &mut self,
        repository: &RepositoryName,
        reference: &str,
        commit: &str,
        found: &[Found],
    ) {
        let mut gone: Vec<Scheduled> = self
            .state
            .schedules
            .values()
            .filter(|it| it.key.repository == *repository)
            .cloned()
            .collect();
        for pipeline in found {
            for schedule in &pipeline.schedules {
                let (repository, file) = (repository.clone(), pipeline.file.clone());
                let key = ScheduleKey { repository, file, schedule: schedule.clone() };
                gone.retain(|it| it.key != key);
                let known = self.state.schedules.get(&key);
                let next = match known {
                    Some(known) => known.next,
                    None => schedule.next(self.now.0).map(Wall),
                };
                let scheduled = Scheduled {
                    key,
                    pipeline: pipeline.pipeline.clone(),
                    partitions: pipeline.partitions.clone(),
                    reference: reference.to_owned(),
                    commit: commit.to_owned(),
                    next,
                    last: known.and_then(|known| known.last),
                };
                if known != Some(&scheduled) {
                    self.put(Change::Schedule(scheduled));
                }
            }
        }
        for scheduled in gone {
            self.put(Change::Schedule(Scheduled { next: None, ..scheduled }));
        }
    }

    /// Starts what is due by now.
    pub(super) fn start_due(&mut self) {
        while let Some((due, key)) = self.state.due.first().cloned()
            && due <= self.now
        {
            let Some(scheduled) = self.state.schedules.get(&key).cloned() else { return };
            let schedule = &key.schedule;
            let next = schedule.next(self.now.0).map(Wall);
            let latest = self.latest(&scheduled, due);
            let now = self.now;
            let is_late = |due: Wall| now.0 - due.0 > LATE_US;
            let starts = latest.filter(|it| !is_late(*it) || schedule.missed == Missed::Once);
            let last = starts.map(|due| Fired { due, trigger: self.start(&scheduled, due) });
            if is_late(due) {
                let from = schedule.local(due.0);
                let instead = match starts {
                    Some(latest) if latest == due => "started late".to_owned(),
                    Some(latest) => format!("started for {} instead", schedule.local(latest.0)),
                    None => "not started".to_owned(),
                };
                let text = format!("schedule {key} was missed at {from}: {instead}");
                self.audit(&Actor::Coordinator, text.clone());
                self.step.effects.push(Effect::Warn(text));
            }
            let last = last.or(scheduled.last);
            self.put(Change::Schedule(Scheduled { next, last, ..scheduled }));
        }
    }

    /// The latest time from `due` to now that is not too old to be made up for.
    fn latest(&self, scheduled: &Scheduled, due: Wall) -> Option<Wall> {
        let schedule = &scheduled.key.schedule;
        let young = self.now.0.saturating_sub(OLD_US);
        let mut latest = (due.0 >= young).then_some(due.0);
        while let Some(next) = schedule.next(latest.unwrap_or(young.saturating_sub(1)))
            && next <= self.now.0
        {
            latest = Some(next);
        }
        latest.map(Wall)
    }

    fn start(&mut self, scheduled: &Scheduled, due: Wall) -> TriggerId {
        let key = &scheduled.key;
        let actor = Actor::Schedule { due: key.schedule.local(due.0) };
        let cause = Cause::Schedule {
            file: key.file.clone(),
            schedule: key.schedule.clone(),
            commit: scheduled.commit.clone(),
        };
        let reference = &scheduled.reference;
        let (trigger, _) =
            self.take(&actor, &key.trigger_key(due), &key.repository, reference, &cause);
        trigger
    }
}
