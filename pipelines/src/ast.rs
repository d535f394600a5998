//! A pipeline as it is written: what could be read of it, with places.
//!
//! Whatever is missing here although the language demands it was reported when it was read.

mod render;
mod wait;

use std::collections::BTreeMap;

use crate::event::Subscription;
use crate::gate::Triggerer;
use crate::glob::Glob;
use crate::include::Include;
use crate::input::Input;
use crate::matrix::Matrix;
use crate::name::{
    DeviceName, GroupName, JobName, LabelName, LockName, PartitionName, PipelineName,
    RedundancyGroupName, RoleName, WindowName,
};
use crate::plan::{HostKey, Mode, Network, Pull, Retry, Secret, Service};
use crate::quantity::Share;
use crate::role::Role;
use crate::schedule;
use crate::secret::SecretName;
use crate::source::{Span, Spanned};

pub(crate) use render::Render;
pub(crate) use wait::{Check, Probe, Wait};

/// Environment variables by name; a value may be a template.
pub(crate) type Variables = BTreeMap<String, Text>;

/// A text that may be a template.
pub(crate) type Text = Spanned<String>;

pub(crate) struct Pipeline {
    pub(crate) name: Option<PipelineName>,
    pub(crate) on: Option<On>,
    pub(crate) inputs: Vec<Input>,
    /// Those that it names, or those that it chooses among.
    pub(crate) partitions: Vec<Spanned<PartitionName>>,
    pub(crate) choice: Option<Choice>,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) defaults: Defaults,
    pub(crate) variables: Variables,
    pub(crate) lock: Option<LockName>,
    pub(crate) window: Option<Spanned<WindowName>>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) jobs: Vec<Job>,
}

/// Which runs start one after the other.
pub(crate) struct Concurrency {
    /// The pipeline's own name if it is missing.
    pub(crate) group: Option<GroupName>,
    pub(crate) mode: Mode,
}

/// When the pipeline starts.
pub(crate) struct On {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) push: Option<Push>,
    pub(crate) pull_request: Option<Push>,
    pub(crate) tag: Option<Refs>,
    pub(crate) schedule: Vec<Spanned<Schedule>>,
    pub(crate) event: Vec<Spanned<Event>>,
    pub(crate) manual: bool,
}

/// Which pushes, or which pull requests, start it.
pub(crate) struct Push {
    /// Those that are pushed to, or that it is to be merged into.
    pub(crate) branches: Refs,
    /// One of these files must have changed; any if there are none.
    pub(crate) paths: Option<Vec<Glob>>,
}

/// A time at which it starts by itself.
pub(crate) struct Schedule {
    pub(crate) schedule: schedule::Schedule,
    /// Its inputs, with places.
    pub(crate) inputs: Vec<(Spanned<String>, Spanned<String>)>,
}

/// Events from outside by which it starts.
pub(crate) struct Event {
    pub(crate) subscription: Subscription,
    /// Its condition, with its place.
    pub(crate) when: Option<Text>,
    /// Its inputs, with places.
    pub(crate) inputs: Vec<(Spanned<String>, Spanned<String>)>,
}

/// Which branches or tags start it.
pub(crate) enum Refs {
    Any,
    Only(Vec<Glob>),
}

/// Where it runs.
#[derive(Default)]
pub(crate) struct Partitions {
    /// None if it chooses among all that there are.
    pub(crate) names: Option<Vec<Spanned<PartitionName>>>,
    pub(crate) choice: Option<Choice>,
    pub(crate) rollout: Option<Rollout>,
}

/// In which partitions it runs, of those that it names or of all.
pub(crate) struct Choice {
    /// Where the key stands.
    pub(crate) span: Span,
    /// A condition that must hold.
    pub(crate) select: Option<Text>,
    /// A pattern of files, with `{partition}`, of which the push must have changed one.
    pub(crate) changed: Option<Text>,
}

#[derive(Default)]
pub(crate) struct Defaults {
    pub(crate) image: Option<Text>,
    pub(crate) timeout_s: Option<u32>,
    pub(crate) retry: Option<Retry>,
}

pub(crate) struct Job {
    pub(crate) name: Spanned<JobName>,
    pub(crate) task: Option<Spanned<Task>>,
    pub(crate) run: Vec<Text>,
    pub(crate) wait: Option<Wait>,
    pub(crate) upload: Option<Transfers>,
    pub(crate) download: Option<Transfers>,
    pub(crate) reboot: Option<Reboot>,
    pub(crate) needs: Vec<Need>,
    pub(crate) variables: Variables,
    pub(crate) secrets: Vec<Spanned<Secret>>,
    pub(crate) timeout_s: Option<u32>,
    pub(crate) artifacts: Option<Artifacts>,
    pub(crate) outputs: Option<Outputs>,
    pub(crate) cache: Option<Cache>,
    pub(crate) services: Option<Services>,
    pub(crate) ansible: Ansible,
    /// Where it runs, when that is not everywhere.
    pub(crate) partitions: Option<Vec<Spanned<PartitionName>>>,
    pub(crate) lock: Option<Text>,
    /// Where in a partition it runs.
    pub(crate) agents: Agents,
    pub(crate) retry: Option<Retry>,
    pub(crate) on_lost: Option<Spanned<OnLost>>,
    /// In seconds.
    pub(crate) lost_after: Option<Spanned<u32>>,
    /// Its variants.
    pub(crate) matrix: Option<Matrix>,
    /// Whether it is in the plan, and after which results of others it runs.
    pub(crate) when: Option<Text>,
    pub(crate) resources: Option<Spanned<Resources>>,
    pub(crate) environment: Option<Environment>,
    /// It runs once for each of these.
    pub(crate) devices: Option<Devices>,
    pub(crate) rollout: Option<Rollout>,
}

/// Devices of a partition: those of which all holds that is said.
#[derive(Default)]
pub(crate) struct Devices {
    /// Those of this other job, each behind its own.
    pub(crate) of: Option<Spanned<JobName>>,
    pub(crate) names: Option<Vec<Spanned<DeviceName>>>,
    pub(crate) roles: Option<Vec<Spanned<RoleName>>>,
    pub(crate) groups: Option<Vec<Spanned<RedundancyGroupName>>>,
    pub(crate) labels: BTreeMap<LabelName, String>,
}

/// How fast a job goes over its devices, or a pipeline over its partitions.
#[derive(Default)]
pub(crate) struct Rollout {
    /// Where the key stands.
    pub(crate) span: Span,
    /// Partitions that come first.
    pub(crate) canary: Vec<Spanned<PartitionName>>,
    pub(crate) waves: Waves,
    pub(crate) max_parallel: Option<u32>,
    pub(crate) stop_after: Option<u32>,
    pub(crate) pause_s: u32,
    /// Devices of one redundancy group may be worked at together.
    pub(crate) together: bool,
}

/// What is worked at before what.
#[derive(Default)]
pub(crate) enum Waves {
    /// Everything side by side.
    #[default]
    One,
    /// So many; the last size counts for all that follow.
    Sizes(Vec<Share>),
    /// One half of each redundancy group, then the other.
    Halves,
}

/// On which agents of a partition a job runs.
pub(crate) enum Agents {
    /// On one that has these labels.
    With(BTreeMap<LabelName, String>),
    /// Once on each that the inventory lists; where that is written.
    Each(Span),
}

/// A job that must succeed first.
pub(crate) struct Need {
    pub(crate) job: Spanned<JobName>,
    /// It need not run in each partition.
    pub(crate) optional: bool,
    /// What it leaves is wanted.
    pub(crate) artifacts: bool,
}

/// What is done when the job's agent is away for long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLost {
    Wait,
    Fail,
    Retry,
}

/// By what means a job runs; its span is that of the key.
pub(crate) enum Task {
    Process,
    Container(Container),
    Ssh(Ssh),
    /// A file that is made of a template.
    Render(Render),
    /// Nothing but what it waits for.
    Wait,
    Gate(Gate),
    Pipeline(Call),
}

/// Another pipeline, whose jobs stand in the place of this one.
pub(crate) struct Call {
    pub(crate) file: Spanned<Include>,
    /// What it is started with, by name.
    pub(crate) inputs: Vec<(Spanned<String>, Text)>,
}

#[derive(Default)]
pub(crate) struct Container {
    pub(crate) image: Image,
    pub(crate) pull: Option<Pull>,
    pub(crate) network: Option<Network>,
}

/// How much of the host a job may take.
pub(crate) struct Resources {
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In thousandths of a core.
    pub(crate) millicpus: Option<u32>,
}

/// What a job deploys to.
pub(crate) struct Environment {
    pub(crate) name: Text,
    pub(crate) url: Option<Text>,
}

#[derive(Default)]
pub(crate) enum Image {
    /// The one of `defaults`.
    #[default]
    Default,
    Named(Text),
    /// One was written, and reported as unusable.
    Unusable,
}

pub(crate) struct Ssh {
    pub(crate) device: Option<Spanned<DeviceName>>,
    pub(crate) user: Option<String>,
    /// The secret that is the private key to log in with.
    pub(crate) key: Option<Spanned<SecretName>>,
    /// The user that the script runs as.
    pub(crate) sudo: Option<Spanned<String>>,
    pub(crate) pty: bool,
    pub(crate) timeout_s: Option<u32>,
}

/// Files that are carried to or from a device.
pub(crate) struct Transfers {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) transfers: Vec<Transfer>,
}

/// A file that is carried to or from a device.
pub(crate) struct Transfer {
    pub(crate) from: Text,
    pub(crate) to: Text,
    pub(crate) mode: Option<u32>,
}

/// A reboot behind the script.
pub(crate) struct Reboot {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) wait_s: u32,
    pub(crate) host_key: HostKey,
    /// The command that asks for it.
    pub(crate) run: Option<Text>,
}

/// A wait for people.
pub(crate) struct Gate {
    pub(crate) role: Role,
    pub(crate) timeout_s: u32,
    /// What it lets through, if missing.
    pub(crate) message: Option<Text>,
    pub(crate) asks: Asks,
    /// It is for the case that something failed, and goes on all the same.
    pub(crate) waives: bool,
}

/// What a gate asks for.
pub(crate) enum Asks {
    Approval { count: u32, triggerer: Triggerer },
    Acknowledgement { text: Text },
}

pub(crate) struct Artifacts {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) paths: Vec<Glob>,
    pub(crate) expire_s: Option<u32>,
}

/// What a job leaves as texts.
pub(crate) struct Outputs {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) names: Vec<Spanned<String>>,
}

/// What a job finds again.
pub(crate) struct Cache {
    /// Where the key stands.
    pub(crate) span: Span,
    pub(crate) key: Text,
    pub(crate) paths: Vec<Glob>,
}

/// What a job's Ansible is given and asked for; where each is written.
#[derive(Default)]
pub(crate) struct Ansible {
    /// The partition's devices as its inventory.
    pub(crate) inventory: Option<Span>,
    /// What came of each host.
    pub(crate) recap: Option<Span>,
}

/// What runs beside a job.
pub(crate) struct Services {
    /// Where the key stands.
    pub(crate) span: Span,
    /// How many there are, those too that cannot be read.
    pub(crate) count: usize,
    pub(crate) services: Vec<Service>,
}

impl Pipeline {
    /// Where a job runs, in the order in which the partitions are listed for it.
    pub(crate) fn partitions_of<'a>(&'a self, job: &'a Job) -> &'a [Spanned<PartitionName>] {
        job.partitions.as_deref().unwrap_or(&self.partitions)
    }
}

impl Agents {
    /// Labels that the job's agent must have.
    pub(crate) fn labels(&self) -> BTreeMap<LabelName, String> {
        match self {
            Agents::With(labels) => labels.clone(),
            Agents::Each(_) => BTreeMap::new(),
        }
    }

    /// Where it is written that the job runs on each.
    pub(crate) fn each(&self) -> Option<Span> {
        match self {
            Agents::With(_) => None,
            Agents::Each(span) => Some(*span),
        }
    }
}

impl Default for Agents {
    fn default() -> Agents {
        Agents::With(BTreeMap::new())
    }
}
