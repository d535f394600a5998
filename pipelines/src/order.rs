//! What an agent is told to do for one attempt.

use serde::{Deserialize, Serialize};

use crate::id::AttemptId;
use crate::name::{PartitionName, PipelineName, RepositoryName};
use crate::plan::{AnsibleInventory, Job, Task};

/// The highest version of [`Order`] that this build knows; an agent refuses a higher one.
pub const VERSION: u32 = 8;

/// The version of orders whose job has secrets: an agent that does not know them must not start it.
const WITH_SECRETS: u32 = 2;

/// The version of orders whose job has outputs: an agent that does not know them would not report any.
const WITH_OUTPUTS: u32 = 3;

/// The version of orders whose job has services: an agent that does not know them would not start any.
const WITH_SERVICES: u32 = 4;

/// The version of orders whose job waits: an agent that does not know probes would not try any.
const WITH_WAIT: u32 = 5;

/// The version of orders that render: an agent that does not know them cannot read one.
const WITH_RENDER: u32 = 6;

/// The version of orders for more than a script by a shell on a device: an agent that does not know it
/// would leave a part of it out.
const MORE_THAN_A_SHELL: u32 = 7;

/// The version of orders whose job's Ansible is given or asked for something: an agent that does not know
/// it would have it run with another inventory.
const WITH_ANSIBLE: u32 = 8;

/// The version of all others.
const PLAIN: u32 = 1;

/// One attempt's order. It travels and rests as opaque bytes (its JSON), so that what was signed
/// is what is stored; it names secrets and never holds their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// See [`Order::version_of`].
    pub version: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// The partition that it is for; an agent refuses another's.
    pub partition: PartitionName,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The repository that the pipeline comes from.
    pub repository: RepositoryName,
    /// The commit, as 40 or 64 hex digits.
    pub commit: String,
    /// The full git reference that led to the commit, such as `refs/heads/main`.
    pub reference: String,
    /// What to do.
    pub job: Job,
    /// SHA-256 (hex) of the source bundle that is unpacked as the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// SHA-256 (hex) of artifact archives that are unpacked over the source, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// The devices that the job's Ansible is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<AnsibleInventory>,
}

/// Why bytes are not an order that this build can carry out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON of an order.
    #[error("order cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer coordinator.
    #[error("order has version {found}; this agent knows up to {VERSION}: upgrade the agent")]
    Version {
        /// What the order says.
        found: u32,
    },
}

impl Order {
    /// The lowest version that tells an agent all that it must know of `job`.
    pub fn version_of(job: &Job) -> u32 {
        let has_services =
            matches!(&job.task, Task::Container(container) if !container.services.is_empty());
        let is_more = matches!(&job.task, Task::Ssh(ssh) if ssh.is_more_than_a_shell());
        let needed = [
            (!job.secrets.is_empty(), WITH_SECRETS),
            (!job.outputs.is_empty(), WITH_OUTPUTS),
            (has_services, WITH_SERVICES),
            (!job.wait.is_empty(), WITH_WAIT),
            (matches!(job.task, Task::Render(_)), WITH_RENDER),
            (is_more, MORE_THAN_A_SHELL),
            (job.ansible.is_some(), WITH_ANSIBLE),
        ];
        let versions = needed.iter().filter(|(needs, _)| *needs).map(|(_, version)| *version);
        versions.max().unwrap_or(PLAIN)
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an order has only string keys")
    }

    /// Reads the bytes that travelled.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version: found } = serde_json::from_slice(bytes)?;
        if found > VERSION {
            return Err(Error::Version { found });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Ansible, Render};
    use crate::probe::{Check, Probe};

    use super::*;

    #[test]
    fn an_agent_that_does_not_know_what_a_job_needs_refuses_its_order() {
        let job = |task: Task| Job::new("a".parse().unwrap(), "fra".parse().unwrap(), task, vec![]);
        assert_eq!(Order::version_of(&job(Task::Process)), PLAIN);
        let address = "leaf01:22".to_owned();
        let probe = Probe { check: Check::Tcp { address }, interval_s: 5, timeout_s: 300 };
        let mut waiting = job(Task::Process);
        waiting.wait.push(probe);
        assert_eq!(Order::version_of(&waiting), WITH_WAIT);
        let (template, to, values) = ("a".to_owned(), "b".to_owned(), serde_json::Map::new());
        waiting.task = Task::Render(Render { template, to, values });
        assert_eq!(Order::version_of(&waiting), WITH_RENDER);
        let ansible = Some(Ansible { inventory: false });
        assert_eq!(Order::version_of(&Job { ansible, ..job(Task::Process) }), WITH_ANSIBLE);
        assert_eq!(VERSION, WITH_ANSIBLE);
    }

    #[test]
    fn a_job_that_waits_for_nothing_is_written_as_it_was_before_there_were_probes() {
        let old = r#"{"name":"a","partition":"fra","task":{"kind":"process"},"run":["a"],"timeout_s":60}"#;
        let job: Job = serde_json::from_str(old).unwrap();
        assert_eq!(job.wait, []);
        assert_eq!(serde_json::to_string(&job).unwrap(), old);
    }
}
