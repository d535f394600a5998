//! Secrets to agents: to each attempt those that its order declares.

use coordinator_core::agent::AgentKey;
use coordinator_core::secret::{Scope, SecretKey};
use pipelines::id::AttemptId;
use pipelines::name::RepositoryName;
use pipelines::plan::{Job, Task};
use pipelines::secret::{LONGEST_TOGETHER, SecretName, Value};
use proto::v1;
use tonic::Status;
use tracing::info;

use super::Secrets;

impl Secrets {
    /// The values of all secrets that the order of an open attempt of this agent declares, each from
    /// the narrowest scope that has it.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` if it is no open attempt of the agent, `FAILED_PRECONDITION` in words if a
    /// secret is not set or cannot be opened, or all of them are too long to be masked.
    pub fn deliver(&self, agent: &AgentKey, id: AttemptId) -> Result<v1::Secrets, Status> {
        let attempt = self.view.attempt(id).map_err(unavailable)?;
        if !attempt.is_some_and(|attempt| attempt.agent == *agent && attempt.is_open()) {
            return Err(Status::permission_denied(format!(
                "attempt {id} is not an open one of this agent"
            )));
        }
        let run = self.view.run(id.job.run).map_err(unavailable)?;
        let plan = self.view.plan(id.job.run).map_err(unavailable)?;
        let job = plan.as_ref().and_then(|plan| plan.jobs.get(id.job.index as usize));
        let (Some(run), Some(job)) = (run, job) else {
            return Err(Status::internal(format!("attempt {id} has no job")));
        };
        let scopes = scopes(job, &run.repository);
        let (mut secrets, mut missing) = (Vec::new(), Vec::new());
        for secret in &job.secrets {
            match self.narrowest(&secret.name, &scopes)? {
                Some(value) => secrets.push(v1::Secret {
                    name: secret.name.to_string(),
                    value: value.reveal().to_owned(),
                }),
                None => missing.push(&secret.name),
            }
        }
        if !missing.is_empty() {
            return Err(Status::failed_precondition(not_set(&missing, &scopes, job)));
        }
        let length: usize = secrets.iter().map(|secret| secret.value.len()).sum();
        if length > LONGEST_TOGETHER {
            return Err(Status::failed_precondition(format!(
                "the job's secrets have {length} bytes together, and at most {} KiB can be masked: \
                 make several jobs",
                LONGEST_TOGETHER >> 10
            )));
        }
        info!(attempt = %id, %agent, count = secrets.len(), "secrets delivered");
        Ok(v1::Secrets { secrets })
    }

    fn narrowest(&self, name: &SecretName, scopes: &[Scope]) -> Result<Option<Value>, Status> {
        for scope in scopes {
            let key = SecretKey { name: name.clone(), scope: scope.clone() };
            let Some(secret) = self.view.secret(&key).map_err(unavailable)? else { continue };
            if let Some(sealed) = &secret.sealed {
                let opened = self.open_sealed(&key, secret.version, sealed);
                return opened
                    .map(Some)
                    .map_err(|error| Status::failed_precondition(error.to_string()));
            }
        }
        Ok(None)
    }
}

/// Where a job's secrets are looked for, the narrowest first.
fn scopes(job: &Job, repository: &RepositoryName) -> Vec<Scope> {
    let partition = job.partition.clone();
    let device = match &job.task {
        Task::Ssh(ssh) => {
            Some(Scope::Device { partition: partition.clone(), device: ssh.device.clone() })
        }
        Task::Process | Task::Container(_) | Task::Render(_) | Task::Wait | Task::Gate(_) => None,
    };
    let repository = Scope::Repository { repository: repository.clone() };
    let rest = [Scope::Partition { partition }, repository, Scope::Everywhere];
    device.into_iter().chain(rest).collect()
}

fn not_set(missing: &[&SecretName], scopes: &[Scope], job: &Job) -> String {
    let commands = missing.iter().map(|name| {
        format!("'garrison secrets set {name} --partition {}' sets {name}", job.partition)
    });
    let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
    let (one, is) = if names.len() == 1 { ("secret", "is") } else { ("secrets", "are") };
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    format!(
        "{one} {} {is} not set: looked at {}; {}",
        names.join(", "),
        scopes.join(", "),
        commands.collect::<Vec<_>>().join(", ")
    )
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
