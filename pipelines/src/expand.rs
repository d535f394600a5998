//! Jobs times partitions times variants times agents: from a pipeline that was checked to the plan.

mod ansible;
mod call;
mod choice;
mod fill;
mod message;
mod pairs;
mod render;
mod rollout;
mod ssh;
mod task;
mod wait;

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{
    Agents, Cache as WrittenCache, Gate as WrittenGate, Job as Written, OnLost as WrittenOnLost,
    Pipeline, Task as WrittenTask,
};
use crate::call::Calls;
use crate::check::{Inventories, reads_anything};
use crate::compile::Explained;
use crate::condition::Condition;
use crate::diagnostic::{Code, Report};
use crate::graph::Graph;
use crate::input::Inputs;
use crate::left_out::{LeftOut, Reason};
use crate::limits;
use crate::matrix::Combination;
use crate::name::{AgentName, JobName, PartitionName};
use crate::plan::{Cache, Concurrency, Job, OnLost, Plan, Rollout, Task, When, Window};
use crate::probe::Probe;
use crate::schedule::UTC;
use crate::scope;
use crate::source::{Span, Spanned};
use crate::template::Templates;
use crate::title::Title;
use crate::trigger::Trigger;
use crate::trigger::limit::Limit;

use fill::Fill;
use message::Message;
use rollout::Target;

/// Time limit of a job that names none, in seconds.
pub(crate) const DEFAULT_TIMEOUT_S: u32 = 60 * 60;

/// What a run knows beside its pipeline and inputs.
#[derive(Clone, Copy)]
pub(crate) struct Known<'k> {
    pub(crate) trigger: &'k Trigger,
    pub(crate) inventories: &'k Inventories,
    /// The pipelines that are started.
    pub(crate) calls: &'k Calls,
    pub(crate) templates: &'k Templates,
    /// The only partition that matters; all if none.
    pub(crate) only: Option<&'k PartitionName>,
}

/// The plan: job by job in an order in which each stands behind what it needs, otherwise that of
/// the file; each job once for each of its partitions, variants and, where it runs on each, agents.
///
/// None if something is missing that [`crate::check`] reports. What cannot be filled in or decided
/// with this trigger is reported.
pub(crate) fn expand(
    pipeline: &Pipeline,
    file: &str,
    inputs: &Inputs,
    known: Known<'_>,
    report: &mut Report<'_>,
) -> Option<Explained> {
    let Expansion { mut jobs, mut rollouts, left_out, bytes, .. } =
        Expansion::of(pipeline, inputs, known, report)?;
    let inventories = ansible::inventories(&jobs, known.inventories, bytes, report)?;
    pairs::check(pipeline, &jobs, report);
    rollout::over_partitions(pipeline, &mut jobs, &mut rollouts);
    let plan = Plan {
        pipeline: pipeline.name.clone()?,
        file: file.to_owned(),
        lock: pipeline.lock.clone(),
        windows: windows(pipeline, &jobs, known.inventories),
        concurrency: concurrency(pipeline)?,
        inputs: inputs.clone(),
        inventories,
        rollouts,
        jobs,
    };
    Some(Explained { plan, left_out })
}

/// The pipeline's window in each partition that has jobs.
fn windows(pipeline: &Pipeline, jobs: &[Job], inventories: &Inventories) -> Vec<Window> {
    let Some(Spanned { value: name, .. }) = &pipeline.window else { return Vec::new() };
    let partitions: BTreeSet<&PartitionName> = jobs.iter().map(|job| &job.partition).collect();
    let window = |partition: &PartitionName| {
        let inventory = inventories.get(partition)?;
        Some(Window {
            partition: partition.clone(),
            name: name.clone(),
            timezone: inventory.timezone.clone().unwrap_or_else(|| UTC.to_owned()),
            times: inventory.windows.get(name)?.clone(),
        })
    };
    partitions.into_iter().filter_map(window).collect()
}

/// The group without a name is the pipeline's own.
fn concurrency(pipeline: &Pipeline) -> Option<Option<Concurrency>> {
    let Some(written) = &pipeline.concurrency else { return Some(None) };
    let group = match &written.group {
        Some(group) => group.clone(),
        None => pipeline.name.as_ref()?.as_str().parse().ok()?,
    };
    Some(Some(Concurrency { group, mode: written.mode }))
}

struct Expansion<'p> {
    /// Partitions in which nothing runs, and why.
    unchosen: BTreeMap<&'p PartitionName, Reason>,
    pipeline: &'p Pipeline,
    known: Known<'p>,
    fill: Fill<'p>,
    /// Where the instances of a job stand in a partition.
    places: BTreeMap<(&'p JobName, &'p PartitionName), Vec<u32>>,
    /// What a job with devices is for in a partition.
    devices: BTreeMap<(&'p JobName, &'p PartitionName), Vec<Target<'p>>>,
    rollouts: Vec<Rollout>,
    jobs: Vec<Job>,
    /// Of all texts that were filled in.
    bytes: usize,
    left_out: Vec<LeftOut>,
    /// Those of gates, which speak of the whole plan.
    messages: Vec<Message<'p>>,
}

/// A job at one place.
struct Instance<'p, 'c> {
    written: &'p Written,
    partition: &'p PartitionName,
    matrix: &'p Combination,
    target: Target<'p>,
    /// The only one that it may run on.
    agent: Option<&'p AgentName>,
    condition: Option<&'c Condition>,
    /// It has a condition, or texts to be filled in.
    reads: bool,
}

/// What an instance needs.
#[derive(Clone)]
struct Needs {
    /// All places; sorted.
    all: Vec<u32>,
    /// Of those, the ones whose artifacts it does not get; sorted.
    without_artifacts: Vec<u32>,
}

/// An instance that is not left out.
struct Admitted<'p> {
    needs: Needs,
    when: When,
    fill: fill::Filled<'p>,
}

/// Every variant for every target on every agent.
fn each<'a, 't, 'm, A>(
    variants: &'m [Combination],
    targets: &'t [Target<'a>],
    agents: &'t [A],
) -> impl Iterator<Item = ((&'m Combination, &'t Target<'a>), &'t A)> {
    let pairs = variants.iter().flat_map(move |it| targets.iter().map(move |target| (it, target)));
    pairs.flat_map(move |pair| agents.iter().map(move |agent| (pair, agent)))
}

impl<'p> Expansion<'p> {
    fn of(
        pipeline: &'p Pipeline,
        inputs: &Inputs,
        known: Known<'p>,
        report: &mut Report<'_>,
    ) -> Option<Expansion<'p>> {
        let Known { trigger, inventories, only, .. } = known;
        let fill = Fill::new(scope::of_run(pipeline, inputs, trigger), known.templates);
        let unchosen = choice::unchosen(pipeline, only, trigger, fill.run(), inventories, report);
        let mut expansion = Expansion {
            unchosen,
            pipeline,
            known,
            fill,
            places: BTreeMap::new(),
            devices: BTreeMap::new(),
            rollouts: Vec::new(),
            jobs: Vec::new(),
            bytes: 0,
            left_out: Vec::new(),
            messages: Vec::new(),
        };
        for place in Graph::new(pipeline).order() {
            expansion.add(&pipeline.jobs[place], report)?;
        }
        expansion.write_messages(report)?;
        let Expansion { jobs, rollouts, .. } = &expansion;
        rollout::check_order(pipeline, jobs, rollouts, report);
        Some(expansion)
    }

    fn add(&mut self, written: &'p Written, report: &mut Report<'_>) -> Option<()> {
        let condition = match &written.when {
            Some(text) => {
                let names = scope::names_of_job(self.pipeline, written);
                Some(Condition::parse(&text.value, &names).ok()?)
            }
            None => None,
        };
        let reads = reads_anything(self.pipeline, written);
        static NO_MATRIX: Combination = Combination::new();
        let variants = match &written.matrix {
            Some(matrix) => matrix.combinations.as_slice(),
            None => std::slice::from_ref(&NO_MATRIX),
        };
        for Spanned { value: partition, .. } in self.pipeline.partitions_of(written) {
            if self.known.only.is_some_and(|only| only != partition) {
                continue;
            }
            let needs = self.needs(written, partition);
            let agents = self.agents(&written.agents, partition)?;
            let targets = self.targets(written, partition)?;
            let condition = condition.as_ref();
            let instance = |matrix, target, agent| Instance {
                written,
                partition,
                matrix,
                target,
                agent,
                condition,
                reads,
            };
            if targets.is_empty() {
                let reason = match &needs {
                    Err(job) => Reason::Need { job: job.clone() },
                    Ok(_) => Reason::NoDevice,
                };
                self.leave_out(&instance(&NO_MATRIX, Target::default(), None), reason);
            }
            for ((matrix, target), &agent) in each(variants, &targets, &agents) {
                let needs = self.needs_of(written, partition, target, &needs);
                let instance = instance(matrix, *target, agent);
                match written.task.as_ref().map(|task| &task.value) {
                    Some(WrittenTask::Pipeline(call)) => {
                        self.add_call(&instance, call, &needs, report)?;
                    }
                    _ => self.add_one(&instance, &needs, report)?,
                }
            }
        }
        Some(())
    }

    /// For each instance of a job in a partition the only agent that it may run on, if it has one.
    fn agents(
        &self,
        agents: &Agents,
        partition: &PartitionName,
    ) -> Option<Vec<Option<&'p AgentName>>> {
        match agents {
            Agents::With(_) => Some(vec![None]),
            Agents::Each(_) => {
                Some(self.known.inventories.get(partition)?.agents.keys().map(Some).collect())
            }
        }
    }

    /// What a job needs in a partition, or the needed job that is left out.
    fn needs(&self, written: &Written, partition: &PartitionName) -> Result<Needs, JobName> {
        let (mut all, mut without_artifacts) = (Vec::new(), Vec::new());
        for need in &written.needs {
            match self.places.get(&(&need.job.value, partition)) {
                Some(places) => {
                    all.extend(places);
                    without_artifacts.extend(places.iter().filter(|_| !need.artifacts));
                }
                None if need.optional => {}
                None => return Err(need.job.value.clone()),
            }
        }
        all.sort_unstable();
        without_artifacts.sort_unstable();
        Ok(Needs { all, without_artifacts })
    }

    /// What an instance is filled in with, or why it is left out.
    fn admitted(
        &self,
        instance: &Instance<'p, '_>,
        needs: &Result<Needs, JobName>,
        report: &mut Report<'_>,
    ) -> Result<Admitted<'p>, Reason> {
        let Instance { written, partition, matrix, .. } = *instance;
        if let Some(reason) = self.unchosen.get(partition) {
            return Err(reason.clone());
        }
        if let Some((device, _)) = instance.target.device
            && !Limit::allow_device(self.known.trigger.limit(), partition, device)
        {
            return Err(Reason::Limited);
        }
        let needs = needs.clone().map_err(|job| Reason::Need { job })?;
        let inventory = self.known.inventories.get(partition);
        let place = scope::Place {
            partition: partition.as_str(),
            labels: inventory.map(|inventory| &inventory.labels),
            matrix,
            device: instance.target.device,
            agent: instance.agent.map(AgentName::as_str),
        };
        let of_device = instance.target.device.map(|(_, device)| &device.variables);
        let inherited: Vec<_> =
            inventory.map(|it| &it.variables).into_iter().chain(of_device).collect();
        let place = instance.reads.then_some(&place);
        let fill = self.fill.at(place, self.pipeline, &inherited, matrix, written, report);
        let mut when = When::Success;
        if let (Some(condition), Some(text)) = (instance.condition, &written.when) {
            match condition.when(fill.scope(), self.known.trigger.changed()) {
                Ok(Some(holds)) => when = holds,
                Ok(None) => return Err(Reason::Condition { when: text.value.clone() }),
                Err(complaint) => report.complain(Code::InvalidCondition, text.span, complaint),
            }
        }
        Ok(Admitted { needs, when, fill })
    }

    fn add_one(
        &mut self,
        instance: &Instance<'p, '_>,
        needs: &Result<Needs, JobName>,
        report: &mut Report<'_>,
    ) -> Option<()> {
        let Instance { written, partition, matrix, .. } = *instance;
        let Admitted { needs, when, fill } = match self.admitted(instance, needs, report) {
            Ok(admitted) => admitted,
            Err(reason) => {
                self.leave_out(instance, reason);
                return Some(());
            }
        };
        let inventory = self.known.inventories.get(partition);
        let task = task::task(self.pipeline, instance, inventory, &fill, report)?;
        let wait = wait::probes(instance, inventory, &fill, report)?;
        let gate = written.task.as_ref().and_then(|task| match &task.value {
            WrittenTask::Gate(gate) => Some(gate),
            WrittenTask::Process
            | WrittenTask::Container(_)
            | WrittenTask::Ssh(_)
            | WrittenTask::Render(_)
            | WrittenTask::Wait
            | WrittenTask::Pipeline(_) => None,
        });
        let elsewhere = inventory.and_then(|inventory| ssh::elsewhere(instance, inventory));
        let outputs = written.outputs.iter().flat_map(|outputs| &outputs.names);
        let rendered = match &task {
            Task::Render(render) => Some(render.to.clone()),
            _ => None,
        };
        let artifacts = written.artifacts.iter().flat_map(|artifacts| &artifacts.paths);
        let defaults = &self.pipeline.defaults;
        let retry = written.retry.as_ref().or(defaults.retry.as_ref());
        let timeout_s = written.timeout_s.or(defaults.timeout_s).unwrap_or(DEFAULT_TIMEOUT_S);
        let mut job = Job {
            call: Vec::new(),
            name: written.name.value.clone(),
            partition: partition.clone(),
            matrix: matrix.clone(),
            agent: instance.agent.or(elsewhere).cloned(),
            device: instance.of_each(),
            needs: needs.all,
            without_artifacts: needs.without_artifacts,
            when: if gate.is_some_and(|gate| gate.waives) { When::Waive } else { when },
            begun_by: None,
            task,
            run: written.run.iter().map(|line| fill.command(line, report)).collect(),
            wait,
            cache: written.cache.as_ref().map(|written| cache(written, &fill, report)),
            ansible: ansible::ansible(&written.ansible),
            outputs: outputs.map(|name| name.value.clone()).collect(),
            environment: fill.environment(written.environment.as_ref(), report),
            lock: written.lock.as_ref().and_then(|lock| fill.lock(lock, report)),
            env: fill.into_env(),
            secrets: written.secrets.iter().map(|secret| secret.value.clone()).collect(),
            timeout_s: gate.map_or(timeout_s, |gate| gate.timeout_s),
            artifacts: artifacts.map(|glob| glob.as_str().to_owned()).chain(rendered).collect(),
            artifacts_expire_s: written.artifacts.as_ref().and_then(|it| it.expire_s),
            rollouts: instance.target.member.into_iter().collect(),
            exclusive: instance.exclusive(),
            labels: written.agents.labels(),
            retry: retry.filter(|retry| retry.max > 0 && gate.is_none()).cloned(),
            on_lost: on_lost(written)?,
        };
        self.weigh(&job, report)?;
        if let Some(WrittenGate { message, .. }) = gate {
            let (gate, variables) = (self.jobs.len(), std::mem::take(&mut job.env));
            self.messages.push(Message { gate, partition, text: message.as_ref(), variables });
        }
        let index = u32::try_from(self.jobs.len()).ok()?;
        self.places.entry((&written.name.value, partition)).or_default().push(index);
        self.jobs.push(job);
        Some(())
    }

    fn leave_out(&mut self, instance: &Instance<'_, '_>, reason: Reason) {
        self.left_out.push(LeftOut {
            title: Title {
                call: Vec::new(),
                name: instance.written.name.value.clone(),
                matrix: instance.matrix.clone(),
                agent: instance.agent.cloned(),
                device: instance.of_each(),
            },
            partition: instance.partition.clone(),
            reason,
        });
    }

    /// Counts what texts became; none if it is too much.
    fn weigh(&mut self, job: &Job, report: &mut Report<'_>) -> Option<()> {
        let env = job.env.iter().map(|(name, value)| name.len() + value.len());
        let wait = job.wait.iter().map(Probe::bytes);
        let render = match &job.task {
            Task::Render(render) => render.bytes(),
            Task::Process | Task::Container(_) | Task::Ssh(_) | Task::Wait | Task::Gate(_) => 0,
        };
        self.bear(
            env.chain(job.run.iter().map(String::len)).chain(wait).sum::<usize>() + render,
            report,
        )
    }

    fn bear(&mut self, bytes: usize, report: &mut Report<'_>) -> Option<()> {
        self.bytes += bytes;
        self.fits(report)
    }

    fn fits(&self, report: &mut Report<'_>) -> Option<()> {
        if self.bytes <= limits::PLAN_BYTES {
            return Some(());
        }
        let message = format!(
            "the plan would hold more than {} MiB of scripts and variables",
            limits::PLAN_BYTES >> 20
        );
        let help = "keep long scripts in files of the repository, or write several pipelines";
        report.error(Code::PlanTooLarge, Span::START, message, help);
        None
    }
}

fn cache(written: &WrittenCache, fill: &fill::Filled<'_>, report: &mut Report<'_>) -> Cache {
    let paths = written.paths.iter().map(|glob| glob.as_str().to_owned()).collect();
    Cache { key: fill.cache_key(&written.key, report), paths }
}

fn on_lost(written: &Written) -> Option<OnLost> {
    let after_s = written.lost_after.as_ref().map(|after| after.value);
    match written.on_lost.as_ref().map(|on_lost| on_lost.value) {
        None | Some(WrittenOnLost::Wait) => Some(OnLost::Wait),
        Some(WrittenOnLost::Fail) => Some(OnLost::Fail { after_s: after_s? }),
        Some(WrittenOnLost::Retry) => Some(OnLost::Retry { after_s: after_s? }),
    }
}
