//! A job's container from its creation to its removal.

mod follow;

use std::io;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use pipelines::order::Order;
use pipelines::plan::Container;
use tokio::select;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::container::{self, Joined};
use super::engine::{self, Engine, Frames};
use super::left;
use super::services::{Died, End, Services};
use crate::attempt::state::{self, Note};
use crate::executor::secrets::ForContainer;
use crate::executor::{Context, Reason, script};
use crate::secrets::tmpfs;
use follow::say;

/// How long a container may take to end on SIGKILL, also one whose engine is just being restarted.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Between two SIGKILLs, in case the engine did not hear the first.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// How long the engine may take to remove a container, also one that is just being restarted.
pub(super) const REMOVE_PATIENCE: Duration = Duration::from_secs(15);

/// A container that was created.
pub(super) struct Running {
    engine: Engine,
    id: String,
    name: String,
    body: ContainerCreateBody,
    frames: Option<Frames>,
    /// The engine did not answer to the start, so it must be asked.
    start_unknown: bool,
    /// The engine does not answer at present.
    away: bool,
    /// That was said.
    away_said: bool,
    /// It did not at least once.
    interrupted: bool,
    /// What is mounted of them is gone when this is.
    _secrets: Option<ForContainer>,
}

/// Why the container is no longer followed.
#[derive(Debug)]
pub(super) enum Ending {
    /// It ended by itself, with this exit status.
    Exited(i64),
    /// A service ended before it, so it was ended; whether its end was seen.
    Unserved { died: Died, ended: bool },
    /// It was to be ended; whether its end was seen.
    Stopped { reason: Reason, ended: bool },
}

/// What the job's container was followed to.
enum Seen {
    Exit(i64),
    Stop(Reason),
    Death(End),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write the script: {0}; see that the agent's state directory is writable")]
    Script(io::Error),
    #[error(transparent)]
    Secrets(#[from] tmpfs::Error),
    #[error("cannot create a container of '{image}': {source}")]
    Create { image: String, source: engine::Error },
    #[error("cannot note the container's id: {0}; see the disk of the agent's state")]
    Note(#[from] state::Error),
    #[error("cannot follow the container's output: {0}; nothing of the job was run")]
    Attach(engine::Error),
    #[error(
        "cannot start a container of '{image}': {words}; nothing of the job was run: see that \
         the image has /bin/sh, and that the engine can run it"
    )]
    Start { image: String, words: String },
    #[error("the Docker engine went away and knows nothing of the container's start")]
    NotStarted,
    #[error(
        "the container {0} vanished while its job ran; somebody removed it, or the engine lost its \
         data"
    )]
    Vanished(String),
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(io::Error),
}

impl Running {
    /// Creates the container and notes its id; nothing of the job runs yet.
    pub(super) async fn create(
        engine: Engine,
        order: &Order,
        container: &Container,
        joined: &Joined,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let secrets = ForContainer::make(&context.secrets, context.mark)?;
        let guest = container::guest(order, context).map_err(Error::Script)?;
        let mut head = secrets.as_ref().map_or_else(String::new, |_| ForContainer::head());
        head.extend(guest.iter().map(|guest| guest.head.as_str()));
        let script = script::write(&context.dir, &head, &order.job.run).map_err(Error::Script)?;
        let files = container::Files { script, secrets: secrets.as_ref(), guest: guest.as_ref() };
        let mut running = Self {
            engine,
            id: String::new(),
            name: container::name(order, context),
            body: container::body(order, container, joined, &files, context),
            frames: None,
            start_unknown: false,
            away: false,
            away_said: false,
            interrupted: false,
            _secrets: secrets,
        };
        running.create_noted(context).await?;
        Ok(running)
    }

    async fn create_noted(&mut self, context: &mut Context) -> Result<(), Error> {
        let created = self.engine.create(&self.name, self.body.clone()).await;
        self.id = created.map_err(|source| Error::Create { image: self.image(), source })?;
        Ok(context.note(Note::Container { id: self.id.clone() })?)
    }

    /// Starts the container and follows it until it ended, by itself or because it had to.
    pub(super) async fn see_through(
        &mut self,
        services: &mut Services,
        context: &mut Context,
    ) -> Result<Ending, Error> {
        self.attach().await?;
        if let Some(reason) = context.stop.now() {
            return Ok(Ending::Stopped { reason, ended: true });
        }
        context.limit.restart();
        match self.start().await {
            Err(Error::Start { words, .. }) if lacks_init(&words) => {
                self.do_without_init(context).await?;
            }
            started => started?,
        }
        let Context { output, stop, .. } = context;
        let seen = select! {
            code = self.follow(output) => Seen::Exit(code?),
            reason = stop.requested() => Seen::Stop(reason),
            died = services.next_end() => Seen::Death(died),
        };
        let ending = match seen {
            Seen::Exit(code) => Ending::Exited(code),
            Seen::Stop(reason) => {
                let ended = self.stop(&reason.to_string(), context).await?;
                Ending::Stopped { reason, ended }
            }
            Seen::Death(end) => {
                let died = services.tell(end, &mut context.output).map_err(Error::Output)?;
                let ended = self.stop(&died.in_short(), context).await?;
                Ending::Unserved { died, ended }
            }
        };
        self.drain(&mut context.output).await?;
        if let Ending::Exited(code) = ending {
            self.explain(code, &mut context.output).await?;
        }
        Ok(ending)
    }

    /// Removes the container; once that is done, nothing of the job runs.
    pub(super) async fn remove(&mut self, mark: Uuid) -> Result<(), engine::Error> {
        match self.engine.remove(&self.id).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.interrupted |= error.is_silence();
                let ids = std::slice::from_ref(&self.id);
                left::end(self.engine.address(), mark, ids, REMOVE_PATIENCE).await.map(drop)
            }
        }
    }

    /// Whether the engine went away while the container was there.
    pub(super) fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Before the start, or the output of a short job would be lost.
    async fn attach(&mut self) -> Result<(), Error> {
        self.frames = Some(self.engine.attach(&self.id).await.map_err(Error::Attach)?);
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Error> {
        match self.engine.start(&self.id).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_silence() => {
                self.start_unknown = true;
                Ok(())
            }
            Err(error) => Err(Error::Start { image: self.image(), words: error.to_string() }),
        }
    }

    /// Starts another container in place of this one, in which the shell is the first process.
    async fn do_without_init(&mut self, context: &mut Context) -> Result<(), Error> {
        let removed = self.engine.remove(&self.id).await;
        removed.map_err(|source| Error::Create { image: self.image(), source })?;
        if let Some(host_config) = &mut self.body.host_config {
            host_config.init = None;
        }
        self.create_noted(context).await?;
        self.attach().await?;
        self.start().await
    }

    fn image(&self) -> String {
        self.body.image.clone().unwrap_or_default()
    }

    /// Asks the container to end, and ends it by force when its grace is over; whether that was seen.
    async fn stop(&mut self, reason: &str, context: &mut Context) -> Result<bool, Error> {
        let output = &mut context.output;
        say(output, &format!("{reason}: ending the job"))?;
        // What does not hear this is ended by force later.
        let _ = self.engine.kill(&self.id, "SIGTERM").await;
        if let Ok(code) = timeout(context.grace, self.follow(output)).await {
            return code.map(|_| true);
        }
        let deadline = Instant::now() + KILL_PATIENCE;
        while Instant::now() < deadline {
            let _ = self.engine.kill(&self.id, "SIGKILL").await;
            if let Ok(code) = timeout(KILL_AGAIN, self.follow(output)).await {
                return code.map(|_| true);
            }
        }
        Ok(false)
    }
}

/// Whether a start was refused because the engine's host has no init program.
fn lacks_init(words: &str) -> bool {
    words.contains("docker-init")
}
