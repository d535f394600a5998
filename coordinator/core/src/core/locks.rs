//! Locks: taken with a job's first attempt, given back when the job, or all of its run in the
//! partition, has ended.
//!
//! Invariant: attempts of different holders of one lock never overlap, unless an operator broke it.
//! A lock under which something may still run stays held.

use pipelines::id::{AttemptId, JobId};
use pipelines::name::{LockName, PartitionName};

use crate::change::Change;
use crate::lock::{Holder, Lock, LockKey};

use super::Core;

impl Core {
    /// Takes the locks of a job that is about to be assigned; nobody else holds them.
    pub(super) fn acquire(&mut self, job: JobId) {
        for (key, holder) in self.locks_of(job) {
            if !self.state.locks.contains_key(&key) {
                self.put_lock(key, Some(holder), None);
            }
        }
    }

    /// Gives back what nobody needs any more now that `job` has ended.
    pub(super) fn release(&mut self, job: JobId) {
        let Some(active) = self.state.runs.get(&job.run) else { return };
        let partition = &active.plan.jobs[job.index as usize].partition;
        let is_last = !active.open.contains_key(partition);
        for (key, holder) in self.locks_of(job) {
            let over = is_last || matches!(holder, Holder::Job(_));
            let held = self.state.locks.get(&key).filter(|lock| lock.holder == Some(holder));
            if over && held.is_some_and(|lock| lock.in_doubt.is_none()) {
                self.free(key);
            }
        }
    }

    /// An attempt ended that may still run: its locks stay held until somebody breaks them.
    pub(super) fn doubt(&mut self, attempt: AttemptId) {
        for (key, holder) in self.locks_of(attempt.job) {
            let held = self.state.locks.get(&key).filter(|lock| lock.holder == Some(holder));
            if held.is_some_and(|lock| lock.in_doubt.is_none()) {
                self.put_lock(key, Some(holder), Some(attempt));
            }
        }
    }

    /// Makes a lock free.
    pub(super) fn free(&mut self, key: LockKey) {
        self.dirty.insert(key.partition.clone());
        self.put_lock(key, None, None);
    }

    /// Who holds a lock.
    pub(super) fn holder(&self, partition: &PartitionName, name: &LockName) -> Option<Holder> {
        let key = LockKey { partition: partition.clone(), name: name.clone() };
        self.state.locks.get(&key)?.holder
    }

    /// The locks that a job of an active run works under, and who is to hold them.
    fn locks_of(&self, id: JobId) -> Vec<(LockKey, Holder)> {
        let Some(active) = self.state.runs.get(&id.run) else { return Vec::new() };
        let Some(job) = active.plan.jobs.get(id.index as usize) else { return Vec::new() };
        let key =
            |name: &LockName| LockKey { partition: job.partition.clone(), name: name.clone() };
        let run = active.plan.lock.iter().map(|name| (key(name), Holder::Run(id.run)));
        let own = job.lock.iter().filter(|name| active.plan.lock.as_ref() != Some(name));
        run.chain(own.map(|name| (key(name), Holder::Job(id)))).collect()
    }

    fn put_lock(&mut self, key: LockKey, holder: Option<Holder>, in_doubt: Option<AttemptId>) {
        let since = match self.state.locks.get(&key) {
            Some(lock) if lock.holder == holder => lock.since,
            _ => self.now,
        };
        self.put(Change::Lock(Lock { key, holder, since, in_doubt }));
    }
}
