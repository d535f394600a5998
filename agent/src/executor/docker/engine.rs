//! The Docker engine's API, as far as jobs need it; no other file names what it consists of.
//!
//! Every call opens a connection of its own, so that after a restart of the engine the next call
//! simply reaches the new one.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerState, ContainerStateStatusEnum as Status};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::{Stream, StreamExt};
use pipelines::id::AttemptId;
use uuid::Uuid;

use super::{ATTEMPT_LABEL, MARK_LABEL};

/// Where an engine listens if nothing else is said.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// How long one call may take, in seconds; a busy disk makes creating and removing slow.
const TIMEOUT_S: u64 = 60;

/// Where an engine listens, such as `unix:///var/run/docker.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) docker: Docker,
    address: Address,
}

/// The output of a container, in the pieces in which the engine reads it.
pub(super) type Frames =
    Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// How the engine says that a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was never started.
    Created,
    Running,
    Exited {
        /// The exit status; 128 and the signal's number behind a signal.
        code: i64,
        /// The kernel killed one of its processes, since it wanted more memory than it may have.
        out_of_memory: bool,
    },
}

/// A container that carries an attempt's labels.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) id: String,
    pub(super) attempt: Option<AttemptId>,
    pub(super) mark: Option<Uuid>,
}

/// Why the engine did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer.
    #[error(
        "cannot reach the Docker engine at {address}: {words}; start it, let the agent's user \
         into its socket, or set the agent's DOCKER_HOST to where it listens"
    )]
    Unreachable {
        /// Where it should be.
        address: Address,
        /// What was seen.
        words: String,
    },
    /// The address is no Unix socket.
    #[error(
        "cannot reach the Docker engine at {0}: only its Unix socket is spoken to; set the \
         agent's DOCKER_HOST to such as unix:///var/run/docker.sock"
    )]
    Scheme(Address),
    /// It answered no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// It answered something that is no answer.
    #[error("the Docker engine's answer cannot be used: {0}")]
    Answer(String),
}

impl Address {
    /// What `DOCKER_HOST` says, else the usual socket.
    pub fn from_env() -> Self {
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => Self(host),
            _ => Self(DEFAULT_ADDRESS.into()),
        }
    }

    /// The engine behind a socket, `unix://PATH`.
    pub fn new(host: impl Into<String>) -> Self {
        Self(host.into())
    }
}

impl Engine {
    /// Reaches the engine and agrees with it on a version of its API.
    pub(super) async fn connect(address: &Address) -> Result<Self, Error> {
        if !address.0.starts_with("unix://") {
            return Err(Error::Scheme(address.clone()));
        }
        let unreachable = |error| match error_of(address, error) {
            Error::Refused { message: words, .. } | Error::Answer(words) => {
                Error::Unreachable { address: address.clone(), words }
            }
            error => error,
        };
        let docker = Docker::connect_with_unix(&address.0, TIMEOUT_S, API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        Ok(Self { docker, address: address.clone() })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn has_image(&self, image: &str) -> Result<bool, Error> {
        match self.docker.inspect_image(image).await.map_err(|error| self.error(error)) {
            Ok(_) => Ok(true),
            Err(Error::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a container and gives its id; nothing runs yet.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker.create_container(Some(options), body).await;
        created.map(|created| created.id).map_err(|error| self.error(error))
    }

    /// What container `id` writes from now on; its end is that of the container's output.
    pub(super) async fn attach(&self, id: &str) -> Result<Frames, Error> {
        let options =
            AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(id, Some(options)).await;
        attached.map(|attached| attached.output).map_err(|error| self.error(error))
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), Error> {
        self.docker.start_container(id, None).await.map_err(|error| self.error(error))
    }

    /// Waits until container `id` does not run, and gives its exit status. Holds no reference, so
    /// that it can be polled beside other calls.
    pub(super) fn wait(&self, id: &str) -> impl Future<Output = Result<i64, Error>> + use<> {
        use bollard::errors::Error::{DockerContainerWaitError, RequestTimeoutError};
        let (engine, id) = (self.clone(), id.to_owned());
        async move {
            loop {
                return match Box::pin(engine.docker.wait_container(&id, None)).next().await {
                    Some(Ok(answer)) => Ok(answer.status_code),
                    Some(Err(DockerContainerWaitError { code, .. })) => Ok(code),
                    // Some engines answer nothing at all until the end.
                    Some(Err(RequestTimeoutError)) => continue,
                    Some(Err(error)) => Err(engine.error(error)),
                    None => Err(Error::Answer("it went away while it was waited for".into())),
                };
            }
        }
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<Standing, Error> {
        let found = self.docker.inspect_container(id, None).await;
        let state = found.map_err(|error| self.error(error))?.state;
        state.and_then(standing).ok_or_else(|| Error::Answer(format!("{id} has no state")))
    }

    /// Runs a shell line inside of container `id`, and gives its exit status.
    pub(super) async fn run_inside(&self, id: &str, line: &str) -> Result<i64, Error> {
        let command = CreateExecOptions {
            cmd: Some(vec!["/bin/sh", "-c", line]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let created = self.docker.create_exec(id, command).await;
        let run = created.map_err(|error| self.error(error))?.id;
        let started = self.docker.start_exec(&run, None).await;
        if let StartExecResults::Attached { mut output, .. } =
            started.map_err(|error| self.error(error))?
        {
            // Its end is that of the command.
            while let Some(Ok(_)) = output.next().await {}
        }
        let ended = self.docker.inspect_exec(&run).await.map_err(|error| self.error(error))?;
        ended.exit_code.ok_or_else(|| Error::Answer("a command has no exit status".into()))
    }

    pub(super) async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        self.docker.kill_container(id, Some(options)).await.map_err(|error| self.error(error))
    }

    /// Ends container `id` if it runs, and removes it with its anonymous volumes; fine if it is
    /// gone already.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.docker.remove_container(id, Some(options)).await;
        match removed.map_err(|error| self.error(error)) {
            Err(Error::Refused { status: 404, .. }) => Ok(()),
            removed => removed,
        }
    }

    /// All containers with `label` (`NAME=VALUE`), whether they run or not.
    pub(super) async fn labelled(&self, label: &str) -> Result<Vec<Labelled>, Error> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| self.error(error))?.into_iter();
        Ok(found
            .filter_map(|summary| {
                let labels = summary.labels.unwrap_or_default();
                let label = |name| labels.get(name).map(String::as_str);
                Some(Labelled {
                    id: summary.id?,
                    attempt: label(ATTEMPT_LABEL).and_then(|attempt| attempt.parse().ok()),
                    mark: label(MARK_LABEL).and_then(|mark| mark.parse().ok()),
                })
            })
            .collect())
    }

    pub(super) fn error(&self, error: bollard::errors::Error) -> Error {
        error_of(&self.address, error)
    }
}

fn standing(state: ContainerState) -> Option<Standing> {
    Some(match state.status? {
        Status::CREATED => Standing::Created,
        Status::RUNNING | Status::PAUSED | Status::RESTARTING => Standing::Running,
        Status::EXITED | Status::DEAD | Status::REMOVING | Status::STOPPING => Standing::Exited {
            code: state.exit_code?,
            out_of_memory: state.oom_killed.unwrap_or_default(),
        },
        Status::EMPTY => return None,
    })
}

fn error_of(address: &Address, error: bollard::errors::Error) -> Error {
    use bollard::errors::Error as E;
    match error {
        E::DockerResponseServerError { status_code: status, message } => {
            Error::Refused { status, message }
        }
        E::DockerStreamError { error: message } => Error::Refused { status: 500, message },
        error @ (E::IOError { .. }
        | E::HyperResponseError { .. }
        | E::HyperLegacyError { .. }
        | E::RequestTimeoutError
        | E::SocketNotFoundError(_)) => {
            Error::Unreachable { address: address.clone(), words: words(&error) }
        }
        error => Error::Answer(words(&error)),
    }
}

/// An error with its causes, which the client does not show by itself.
fn words(error: &bollard::errors::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

impl Error {
    /// Whether the engine may not have heard, or has not answered.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Answer(_) => true,
            Error::Scheme(_) | Error::Refused { .. } => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
