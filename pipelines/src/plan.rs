//! The plan: a pipeline at one commit for one trigger, expanded into a fixed graph of jobs.

mod ansible;
mod ssh;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::gate::Gate;
use crate::input::Inputs;
use crate::lock::Subject;
use crate::matrix::Combination;
use crate::name::{
    AgentName, DeviceName, GroupName, JobName, LabelName, LockName, PartitionName, PipelineName,
    RedundancyGroupName, ServiceName,
};
use crate::output;
use crate::probe::Probe;
use crate::secret::SecretName;
use crate::title::Title;

pub use ansible::{Ansible, AnsibleInventory};
pub use ssh::{Download, Hop, HostKey, Kind, Reboot, Ssh, Upload};
pub use window::Window;

/// What a run will do. Serialised as JSON it is the same, byte for byte, for the same input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// Its file, relative to the repository's root.
    pub file: String,
    /// Held by the run in each partition, from its first attempt there until all its jobs there
    /// have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockName>,
    /// When its jobs may begin, for each partition that has any, by partition; always if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Which other runs it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// What the run was started with, each input by its name.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// The partitions whose devices a job's Ansible is given, by partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventories: Vec<AnsibleInventory>,
    /// Units of which a few at a time are worked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Rollout>,
    /// The jobs in an order in which each stands behind all that it needs.
    pub jobs: Vec<Job>,
}

impl Plan {
    /// When jobs of a partition may begin; none for always.
    pub fn window(&self, partition: &PartitionName) -> Option<&Window> {
        let found = self.windows.binary_search_by(|window| window.partition.cmp(partition));
        found.ok().map(|place| &self.windows[place])
    }

    /// The devices of a job's partition as its Ansible is given them, if it is.
    pub fn inventory(&self, job: &Job) -> Option<&AnsibleInventory> {
        job.ansible.as_ref().filter(|ansible| ansible.inventory)?;
        let found = self.inventories.binary_search_by(|it| it.partition.cmp(&job.partition));
        found.ok().map(|place| &self.inventories[place])
    }

    /// The plan as bytes: canonical, so that equal plans have equal bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has only string keys")
    }

    /// SHA-256 of [`Plan::to_json`], in hex.
    pub fn sha256(&self) -> String {
        let digest = Sha256::digest(self.to_json());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Runs of a repository of which one at a time may be under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Which runs.
    pub group: GroupName,
    /// What a new run does to the others.
    #[serde(default)]
    pub mode: Mode,
}

/// What a new run does to the others of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It waits behind them.
    #[default]
    Queue,
    /// It takes the place of those that wait.
    NewestOnly,
    /// The same, and it has the one that is under way cancelled.
    CancelRunning,
}

/// Units, devices of a partition or whole partitions, that are worked at wave by wave: the next one begins
/// when all jobs of the units before have ended. It goes on to none once too many units have failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The job whose devices they are; none if they are partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// What it goes over, by wave.
    pub units: Vec<Unit>,
    /// How many are worked at at a time, at most; none for a whole wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// After so many units that failed no other is begun; none if it goes on whatever happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<u32>,
    /// Pause between two waves, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_s: u32,
}

/// What a rollout goes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The device's or the partition's name.
    pub name: String,
    /// In which wave, from 0; no less than that of the unit before.
    pub wave: u32,
}

impl Rollout {
    /// How many waves there are.
    pub fn waves(&self) -> u32 {
        self.units.last().map_or(0, |unit| unit.wave + 1)
    }
}

/// To which unit of which rollout a job belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Index in [`Plan::rollouts`].
    pub rollout: u32,
    /// Index in [`Rollout::units`].
    pub unit: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A node of the graph: what to do, in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The jobs that start its pipeline, the first one first, if it is not the run's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<JobName>,
    /// The job's name in its pipeline; with `call`, `partition`, `matrix`, `agent` and
    /// `device` unique in the
    /// plan.
    pub name: JobName,
    /// Where it runs.
    pub partition: PartitionName,
    /// Which variant of the job it is, if it has a matrix.
    #[serde(default, skip_serializing_if = "Combination::is_empty")]
    pub matrix: Combination,
    /// The only agent that it may run on; none for any of the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The device that it is for, of those that the job names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// Indexes of jobs in [`Plan::jobs`] that must end first; sorted, each less than its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<u32>,
    /// Those of `needs` whose artifacts it does not get; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_artifacts: Vec<u32>,
    /// After which results of those it runs.
    #[serde(default, skip_serializing_if = "When::is_success")]
    pub when: When,
    /// One of the jobs with which its pipeline begins, and behind which it stands: if that one is left
    /// out then so is this, whatever [`Job::when`] says. None where that says enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_by: Option<u32>,
    /// By what means it runs.
    pub task: Task,
    /// Shell lines; the first one that fails ends the job.
    pub run: Vec<String>,
    /// What must be so, one after the other, before the job has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wait: Vec<Probe>,
    /// Environment of the script, all scopes merged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets of the script, by name alone; the agent asks for their values before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Time limit in seconds, counted from the start of the script; of a gate from when it opens.
    pub timeout_s: u32,
    /// Glob patterns of files that the job leaves, relative to its working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// For how many seconds those are kept; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts_expire_s: Option<u32>,
    /// What it deploys to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Names of the outputs that its script must write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Files that it finds again on the same agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What its Ansible is given and asked for; none if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ansible: Option<Ansible>,
    /// Held by the job from its first attempt until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockName>,
    /// The units of rollouts that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Member>,
    /// What it works at, and no job of another run meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<Exclusive>,
    /// Labels that its agent must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelName, String>,
    /// Which attempts are followed by another; none if the first one decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What is done when its agent is away for long.
    #[serde(default, skip_serializing_if = "OnLost::is_wait")]
    pub on_lost: OnLost,
}

/// Files that an agent keeps for the jobs of a repository that name the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// What they are kept under; 1 to 200 bytes without control characters.
    pub key: String,
    /// Glob patterns of files, relative to the job's working directory.
    pub paths: Vec<String>,
}

/// A secret that a job gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name, and that of the variable.
    pub name: SecretName,
    /// In what form the script gets it.
    #[serde(default, rename = "as", skip_serializing_if = "Delivery::is_variable")]
    pub delivery: Delivery,
}

/// In what form a script gets a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The variable holds the value.
    #[default]
    Variable,
    /// The variable holds the path of a file with the value.
    File,
}

impl Delivery {
    fn is_variable(&self) -> bool {
        *self == Delivery::Variable
    }
}

impl Job {
    /// A job that does this in a partition within a minute, and nothing beside.
    pub fn new(name: JobName, partition: PartitionName, task: Task, run: Vec<String>) -> Job {
        Job {
            call: Vec::new(),
            name,
            partition,
            matrix: Combination::new(),
            agent: None,
            device: None,
            needs: Vec::new(),
            without_artifacts: Vec::new(),
            when: When::Success,
            begun_by: None,
            task,
            run,
            wait: Vec::new(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            timeout_s: 60,
            artifacts: Vec::new(),
            artifacts_expire_s: None,
            environment: None,
            outputs: Vec::new(),
            cache: None,
            ansible: None,
            lock: None,
            rollouts: Vec::new(),
            exclusive: None,
            labels: BTreeMap::new(),
            retry: None,
            on_lost: OnLost::Wait,
        }
    }

    /// The device that it is for: one of several, or the one that it runs on.
    pub fn at(&self) -> Option<&DeviceName> {
        match &self.task {
            Task::Ssh(ssh) => Some(&ssh.device),
            Task::Process | Task::Container(_) | Task::Render(_) | Task::Wait | Task::Gate(_) => {
                self.device.as_ref()
            }
        }
    }

    /// The environment variable by which its script knows an output of a job that it needs. Within a
    /// pipeline that another one starts they are called as if nobody had started it.
    pub fn variable_of(&self, needed: &Job, output: &str) -> String {
        let call = needed.call.strip_prefix(self.call.as_slice()).unwrap_or(&needed.call);
        output::variable(call.iter().chain([&needed.name]), output)
    }

    /// Its name for people: `build (os=4.3.0)`, `check on mgmt01`.
    pub fn title(&self) -> Title {
        Title {
            call: self.call.clone(),
            name: self.name.clone(),
            matrix: self.matrix.clone(),
            agent: self.agent.clone(),
            device: self.device.clone(),
        }
    }
}

/// A device that a run works at alone, from its first attempt there until all its jobs there have ended;
/// and, where the device is of a redundancy group, at none other of that meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusive {
    /// The device.
    pub device: DeviceName,
    /// Its redundancy group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<RedundancyGroupName>,
}

impl Exclusive {
    /// What is locked.
    pub fn subject(&self) -> Subject {
        match &self.group {
            Some(group) => Subject::Group(group.clone()),
            None => Subject::Device(self.device.clone()),
        }
    }
}

/// After which results of the jobs that it needs a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After all of them have succeeded.
    #[default]
    Success,
    /// After all of them have ended, and one has not succeeded.
    Failure,
    /// After all of them have ended.
    Always,
    /// A gate, as after a failure: it asks people to go on all the same. Where nothing failed it is not
    /// needed, and lets those through that need it.
    Waive,
}

impl When {
    fn is_success(&self) -> bool {
        *self == When::Success
    }
}

/// What a job deploys to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name, such as `fra-equ01/leaf01`.
    pub name: String,
    /// Where to look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Attempts that are followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Most attempts after the first.
    pub max: u32,
    /// After which outcomes; sorted.
    pub on: BTreeSet<RetryOn>,
    /// Pause before the next attempt, in seconds.
    #[serde(default)]
    pub delay_s: u32,
}

/// An outcome that another attempt may better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// The job's own program failed.
    Failed,
    /// Its time limit passed.
    TimedOut,
    /// Something beside it failed.
    InfraError,
}

/// What is done with an attempt whose agent is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OnLost {
    /// Nothing: the agent's own word is waited for.
    #[default]
    Wait,
    /// The job ends as lost.
    Fail {
        /// After so many seconds; the agent ends the attempt by itself before that.
        after_s: u32,
    },
    /// The job is tried again.
    Retry {
        /// After so many seconds; the agent ends the attempt by itself before that.
        after_s: u32,
    },
}

impl OnLost {
    /// How long an attempt may go on without its agent hearing of the coordinator, in seconds; none
    /// for as long as it takes.
    pub fn lease_s(self) -> Option<u32> {
        match self {
            OnLost::Wait => None,
            OnLost::Fail { after_s } | OnLost::Retry { after_s } => Some(after_s),
        }
    }

    fn is_wait(&self) -> bool {
        *self == OnLost::Wait
    }
}

/// By what means a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// A process on the management server itself.
    Process,
    /// A container on the management server.
    Container(Container),
    /// A command on a device.
    Ssh(Box<Ssh>),
    /// A file that the runner makes of a template.
    Render(Render),
    /// Nothing but what the job waits for.
    Wait,
    /// No work at all, but a wait for people.
    Gate(Gate),
}

/// The container that a job runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Image reference, with tag or digest.
    pub image: String,
    /// When to pull it.
    pub pull: Pull,
    /// Its network.
    pub network: Network,
    /// Memory limit in bytes; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU limit in thousandths of a core; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u32>,
    /// Containers that run beside it, in the order in which they are started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
}

/// A container that runs beside a job's and shares its network. Its image is pulled when the job's is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, and the host name by which the job reaches it.
    pub name: ServiceName,
    /// Image reference, with tag or digest.
    pub image: String,
    /// Arguments instead of the image's own; none for those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When it can be used; none for as soon as it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Memory limit in bytes; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU limit in thousandths of a core; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicpus: Option<u32>,
}

/// How a service says that it can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// A shell line that succeeds then, run inside of its container.
    pub run: String,
    /// Pause between two tries, in seconds.
    pub interval_s: u32,
    /// How long it may take from its start, in seconds.
    pub timeout_s: u32,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// When the engine does not have it.
    IfMissing,
    /// Before each attempt.
    Always,
    /// Never: the engine must have it.
    Never,
}

/// A container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The engine's default network.
    Bridge,
    /// The management server's own; the agent's policy must allow it.
    Host,
    /// None but loopback.
    None,
}

/// A file that is made of a template of the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Render {
    /// The template, relative to the working directory.
    pub template: String,
    /// Where the file is left, relative to the working directory; the job's artifact.
    pub to: String,
    /// What the template reads, by name.
    pub values: serde_json::Map<String, serde_json::Value>,
}

impl Render {
    /// How many bytes it takes in a plan.
    pub(crate) fn bytes(&self) -> usize {
        let values = serde_json::to_vec(&self.values).map_or(0, |json| json.len());
        self.template.len() + self.to.len() + values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_no_certain_agent_is_written_as_it_was_before_there_could_be_one() {
        let old = r#"{"name":"a","partition":"fra","task":{"kind":"process"},"run":["a"],"timeout_s":60}"#;
        let job: Job = serde_json::from_str(old).unwrap();
        assert_eq!((job.agent.as_ref(), job.title().to_string()), (None, "a".to_owned()));
        assert_eq!(serde_json::to_string(&job).unwrap(), old);
        let job = Job { agent: Some("mgmt01".parse().unwrap()), ..job };
        let again: Job = serde_json::from_slice(&serde_json::to_vec(&job).unwrap()).unwrap();
        assert_eq!((again.title().to_string().as_str(), &again), ("a on mgmt01", &job));
        let job = Job { call: vec!["base".parse().unwrap()], ..job };
        let again: Job = serde_json::from_slice(&serde_json::to_vec(&job).unwrap()).unwrap();
        assert_eq!((again.title().to_string().as_str(), &again), ("base/a on mgmt01", &job));
    }
}
