//! Puts the jobs of another pipeline where a job stands for it.

use super::{Expansion, Instance, Known, Needs};
use crate::ast::Call;
use crate::diagnostic::{Code, Report};
use crate::input;
use crate::left_out::LeftOut;
use crate::limits;
use crate::name::JobName;
use crate::plan::{Job, When};
use crate::source::Spanned;

impl<'p> Expansion<'p> {
    /// The jobs of what `call` names, in the instance's partition.
    pub(super) fn add_call(
        &mut self,
        instance: &Instance<'p, '_>,
        call: &'p Call,
        needs: &Result<Needs, JobName>,
        report: &mut Report<'_>,
    ) -> Option<()> {
        let called = self.known.calls.get(&call.file.value)?;
        let (given, mut behind) = match self.admitted(instance, needs, report) {
            Err(reason) => {
                self.leave_out(instance, reason);
                return Some(());
            }
            Ok(admitted) => {
                let fill = |(name, text): &'p (Spanned<String>, Spanned<String>)| {
                    let value = admitted.fill.plain(text, report).into_owned();
                    (name.value.as_str(), Spanned::new(value, text.span))
                };
                let given = call.inputs.iter().map(fill).collect();
                (given, Behind { needs: admitted.needs, when: admitted.when, first: Vec::new() })
            }
        };
        let Some(inputs) = input::of_call(&called.pipeline.inputs, &given, report) else {
            return Some(());
        };
        let known = Known { only: Some(instance.partition), ..self.known };
        let mut of_called = report.of(&called.files);
        let expansion = Expansion::of(&called.pipeline, &inputs, known, &mut of_called)?;
        let Expansion { mut jobs, rollouts, left_out, bytes, .. } = expansion;
        self.bear(bytes, report)?;
        if self.jobs.len() + jobs.len() > limits::JOBS {
            let message = format!("the plan would have more than {} jobs", limits::JOBS);
            let help = "use fewer partitions or jobs, or start the pipelines by themselves";
            report.error(Code::TooManyJobs, call.file.span, message, help);
            return None;
        }
        let name = &instance.written.name.value;
        let offset = u32::try_from(self.jobs.len()).ok()?;
        let before = u32::try_from(self.rollouts.len()).ok()?;
        for member in jobs.iter_mut().flat_map(|job| &mut job.rollouts) {
            member.rollout += before;
        }
        self.rollouts.extend(rollouts);
        let places = (offset..).take(jobs.len());
        self.places.entry((name, instance.partition)).or_default().extend(places);
        self.jobs.extend(jobs.into_iter().map(|job| behind.put(job, name, offset)));
        let left_out = left_out.into_iter().map(|mut it: LeftOut| {
            it.title.call.insert(0, name.clone());
            it
        });
        self.left_out.extend(left_out);
        Some(())
    }
}

/// What the first jobs of another pipeline wait for.
struct Behind {
    needs: Needs,
    when: When,
    /// For each job that was put so far, one of the first that it stands behind, or itself.
    first: Vec<u32>,
}

impl Behind {
    /// A job of the other pipeline, as it stands in a plan behind `offset` others.
    fn put(&mut self, mut job: Job, call: &JobName, offset: u32) -> Job {
        job.call.insert(0, call.clone());
        let own = offset + self.first.len() as u32;
        let first = job.needs.first().map(|need| self.first[*need as usize]);
        self.first.push(first.unwrap_or(own));
        job.needs.iter_mut().chain(&mut job.without_artifacts).for_each(|need| *need += offset);
        job.begun_by = job.begun_by.map(|first| first + offset);
        match first {
            // Whether it follows a failure was about nothing: it never runs.
            None if matches!(job.when, When::Failure | When::Waive) => {}
            None => {
                job.needs.clone_from(&self.needs.all);
                job.without_artifacts.clone_from(&self.needs.without_artifacts);
                job.when = self.when;
            }
            Some(first) if job.when != When::Success && !self.needs.all.is_empty() => {
                job.begun_by = job.begun_by.or(Some(first));
            }
            Some(_) => {}
        }
        job
    }
}
