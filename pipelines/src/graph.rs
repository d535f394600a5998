//! Which job of a pipeline needs which, before partitions come in.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::Pipeline;

/// Jobs by their place in the file, with the places of the jobs that each needs.
pub(crate) struct Graph {
    needs: Vec<Vec<usize>>,
}

/// How far the search for cycles has come with a job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    /// On the path that is being followed.
    Open,
    Done,
}

impl Graph {
    /// Names that do not exist, and a job's need of itself, are left out: they are reported
    /// elsewhere.
    pub(crate) fn new(pipeline: &Pipeline) -> Self {
        let jobs = pipeline.jobs.iter().enumerate();
        let places: BTreeMap<&str, usize> =
            jobs.map(|(place, job)| (job.name.value.as_str(), place)).collect();
        let needs_of = |(own, job): (usize, &crate::ast::Job)| {
            let places = job.needs.iter().filter_map(|need| places.get(need.job.value.as_str()));
            places.copied().filter(|place| *place != own).collect()
        };
        Self { needs: pipeline.jobs.iter().enumerate().map(needs_of).collect() }
    }

    /// Jobs behind all that they need, otherwise in the file's order. Jobs of a circle are missing.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut waiting_for: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut needed_by = vec![Vec::new(); self.needs.len()];
        for (job, needs) in self.needs.iter().enumerate() {
            needs.iter().for_each(|&need| needed_by[need].push(job));
        }
        let is_free = |(job, count): (usize, &usize)| (*count == 0).then_some(job);
        let mut free: BTreeSet<usize> =
            waiting_for.iter().enumerate().filter_map(is_free).collect();
        let mut order = Vec::with_capacity(self.needs.len());
        while let Some(job) = free.pop_first() {
            order.push(job);
            for &waiting in &needed_by[job] {
                waiting_for[waiting] -= 1;
                if waiting_for[waiting] == 0 {
                    free.insert(waiting);
                }
            }
        }
        order
    }

    /// Circles: each job needs the next one, and the last needs the first. A walk in depth, with
    /// its own stack, so that a long chain does not exhaust the thread's.
    pub(crate) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut cycles = Vec::new();
        let mut visits = vec![Visit::Not; self.needs.len()];
        for start in 0..self.needs.len() {
            if visits[start] == Visit::Not {
                self.walk(start, &mut visits, &mut cycles);
            }
        }
        cycles
    }

    fn walk(&self, start: usize, visits: &mut [Visit], cycles: &mut Vec<Vec<usize>>) {
        let mut path: Vec<usize> = vec![start];
        let mut followed: Vec<usize> = vec![0];
        visits[start] = Visit::Open;
        while let (Some(&job), Some(next)) = (path.last(), followed.last_mut()) {
            let Some(&need) = self.needs[job].get(*next) else {
                visits[job] = Visit::Done;
                path.pop();
                followed.pop();
                continue;
            };
            *next += 1;
            match visits[need] {
                Visit::Done => {}
                Visit::Open if cycles.len() >= CYCLES => {}
                Visit::Open => {
                    let from = path.iter().position(|&open| open == need).unwrap_or_default();
                    cycles.push(path[from..].to_vec());
                }
                Visit::Not => {
                    visits[need] = Visit::Open;
                    path.push(need);
                    followed.push(0);
                }
            }
        }
    }
}

/// Most circles that are looked for; who has more must mend these first.
const CYCLES: usize = 20;
