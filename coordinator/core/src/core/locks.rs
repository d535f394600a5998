//! Locks: taken with a job's first attempt, given back when the job, or all of its run in the
//! partition or at the device, has ended.
//!
//! Invariant: attempts of different holders of one lock never overlap, unless an operator broke it.
//! A lock under which something may still run stays held, and so does that of a redundancy group one of
//! whose devices was left in a state that nobody wanted.

use pipelines::id::{AttemptId, JobId};
use pipelines::lock::Subject;
use pipelines::name::{DeviceName, LockName};

use crate::change::Change;
use crate::lock::{Holder, Lock, LockKey};

use super::Core;

/// A lock that a job works under.
struct Wanted {
    key: LockKey,
    holder: Holder,
    device: Option<DeviceName>,
}

impl Core {
    /// Takes the locks of a job that is about to be assigned; nobody else holds them.
    pub(super) fn acquire(&mut self, job: JobId) {
        for Wanted { key, holder, device } in self.locks_of(job) {
            let held = self.state.locks.get(&key);
            // Who works at a device that failed takes it over.
            if held.is_none_or(|lock| lock.failed.is_some()) {
                let in_doubt = held.and_then(|lock| lock.in_doubt);
                let (holder, failed, since) = (Some(holder), None, self.now);
                let last = None;
                self.put(Change::Lock(Lock { key, holder, device, failed, last, since, in_doubt }));
            }
        }
    }

    /// Gives back what nobody needs any more now that `job` has ended.
    pub(super) fn release(&mut self, job: JobId) {
        for Wanted { key, holder, device } in self.locks_of(job) {
            let held = self.state.locks.get(&key);
            let held = held.filter(|lock| lock.holder == Some(holder) && lock.device == device);
            let Some(lock) = held.cloned() else { continue };
            match (&device, holder) {
                (Some(device), _) => self.leave(job, device, lock),
                (None, Holder::Run(_)) if !self.is_last(job) => {}
                (None, Holder::Run(_) | Holder::Job(_)) => {
                    if lock.in_doubt.is_none() {
                        self.free(key);
                    }
                }
            }
        }
    }

    /// Whether no job of its run is open in the partition of `job`.
    fn is_last(&self, job: JobId) -> bool {
        self.state.runs.get(&job.run).is_none_or(|active| {
            !active.open.contains_key(&active.plan.jobs[job.index as usize].partition)
        })
    }

    /// A run is done with a device if all its jobs there have ended, of which `job` was one.
    fn leave(&mut self, job: JobId, device: &DeviceName, lock: Lock) {
        let Some(active) = self.state.runs.get(&job.run) else { return };
        let jobs = active.at(&lock.key.partition, device);
        // A run that is tried again is put on record job by job.
        let states: Vec<_> = jobs.iter().filter_map(|it| active.jobs.get(*it as usize)).collect();
        if states.len() < jobs.len() || states.iter().any(|it| !it.state.is_final()) {
            return;
        }
        // A later attempt of the same job ended what an earlier one had left there.
        let is_over =
            |doubt: AttemptId| states.iter().any(|it| it.id == doubt.job && it.state.is_success());
        let in_doubt = lock.in_doubt.filter(|doubt| !is_over(*doubt));
        let failed = match states.iter().any(|it| it.tried > 0) {
            true => states.iter().find(|it| it.state.is_failure()).map(|it| it.id),
            // None of them was tried again, so that the device is as it was.
            false => lock.failed,
        };
        if in_doubt.is_none() && failed.is_none() {
            return self.free(lock.key);
        }
        self.dirty.insert(lock.key.partition.clone());
        self.put(Change::Lock(Lock { in_doubt, failed, ..lock }));
    }

    /// An attempt ended that may still run: its locks stay held until somebody breaks them.
    pub(super) fn doubt(&mut self, attempt: AttemptId) {
        for Wanted { key, holder, device } in self.locks_of(attempt.job) {
            let held = self.state.locks.get(&key);
            let held = held.filter(|lock| lock.holder == Some(holder) && lock.device == device);
            if let Some(lock) = held.filter(|lock| lock.in_doubt.is_none()).cloned() {
                self.put(Change::Lock(Lock { in_doubt: Some(attempt), ..lock }));
            }
        }
    }

    /// Makes a lock free.
    pub(super) fn free(&mut self, key: LockKey) {
        self.dirty.insert(key.partition.clone());
        let (holder, device, failed, in_doubt) = (None, None, None, None);
        let last = self.state.locks.get(&key).and_then(|lock| lock.holder);
        let since = self.now;
        self.put(Change::Lock(Lock { key, holder, device, failed, last, since, in_doubt }));
    }

    /// The locks that a job of an active run works under.
    fn locks_of(&self, id: JobId) -> Vec<Wanted> {
        let Some(active) = self.state.runs.get(&id.run) else { return Vec::new() };
        let Some(job) = active.plan.jobs.get(id.index as usize) else { return Vec::new() };
        let key = |name: Subject| LockKey { partition: job.partition.clone(), name };
        let named = |name: &LockName, holder| {
            let key = key(Subject::Named(name.clone()));
            Wanted { key, holder, device: None }
        };
        let run = active.plan.lock.iter().map(|name| named(name, Holder::Run(id.run)));
        let own = job.lock.iter().filter(|name| active.plan.lock.as_ref() != Some(name));
        let own = own.map(|name| named(name, Holder::Job(id)));
        let device = job.exclusive.iter().map(|it| Wanted {
            key: key(it.subject()),
            holder: Holder::Run(id.run),
            device: Some(it.device.clone()),
        });
        run.chain(own).chain(device).collect()
    }
}
