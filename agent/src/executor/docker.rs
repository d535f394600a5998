//! Jobs in containers of this host's Docker engine. Only this module names bollard.
//!
//! The lines run as one script of the image's `/bin/sh -e`, the same as a process job's, in `/work`,
//! which is the job's working directory. The container sees nothing else of the host.
//!
//! The engine keeps no log of the container, since its log would hold what is not masked: output
//! comes by attaching before the start. After a restart of the engine the container is found again
//! by its id; what it wrote meanwhile is a marked gap.

mod about;
mod container;
mod engine;
pub mod image;
mod left;
mod pull;
mod running;
mod services;

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{Container, Task};
use tokio::select;

use super::process::exited;
use super::{Context, Executor, Reason};
use crate::processes::Owned;
use engine::Engine;
use running::{Ending, Error, Running};
use services::Services;

pub use about::{About, about};
pub use engine::{Address, Error as EngineError};
pub use left::{end, reap, reap_regularly};

/// Names the attempt of a container.
pub const ATTEMPT_LABEL: &str = "garrison.attempt";
/// Carries the attempt's mark; see [`crate::processes::MARK`].
pub const MARK_LABEL: &str = "garrison.mark";
/// Names the directory of the agent's attempts.
pub const AGENT_LABEL: &str = "garrison.agent";

/// From this exit status on, it may be that the engine ended the container as it stopped.
const SIGNALLED: i64 = 128;

/// Runs jobs in containers.
#[derive(Debug, Clone)]
pub struct Docker {
    address: Address,
}

impl Docker {
    /// Jobs for the engine at `address`.
    pub fn new(address: Address) -> Self {
        Self { address }
    }
}

impl Executor for Docker {
    async fn run(&self, order: &Order, context: &mut Context) -> Outcome {
        let Task::Container(container) = &order.job.task else {
            return infra("the order names no container; upgrade the coordinator");
        };
        let Context { output, stop, .. } = context;
        let engine = select! {
            biased;
            reason = stop.requested() => return reason.outcome(),
            ready = self.ready(container, output) => match ready {
                Ok(engine) => engine,
                Err(error) => return infra(error),
            },
        };
        let mut services = Services::new(engine.clone());
        if let Err(error) = services.start(order, container, context).await {
            return self.unserved(error, context).await;
        }
        let joined = services.network(container);
        let created = Running::create(engine, order, container, &joined, context).await;
        let mut running = match created {
            Ok(running) => running,
            Err(error) => return self.not_created(error, context).await,
        };
        let ending = running.see_through(&mut services, context).await;
        let removed = running.remove(context.mark).await;
        let removed = services.remove(context.mark).await.and(removed);
        let interrupted = running.was_interrupted();
        // An engine that dies while it starts a container forgets that it runs.
        let forgotten = match interrupted {
            true => Owned::marked(context.mark).end(running::REMOVE_PATIENCE).await,
            false => Ok(0),
        };
        match (ending, forgotten) {
            (_, Err(left)) => Outcome::Lost {
                reason: format!("the Docker engine went away while the job ran; of that, {left}"),
                may_run: true,
            },
            (Err(Error::NotStarted), Ok(count)) => not_started(count, removed),
            (ending, Ok(_)) => outcome(ending, removed, interrupted, context),
        }
    }
}

impl Docker {
    /// An engine that has the image.
    async fn ready(
        &self,
        container: &Container,
        output: &mut crate::output::Output,
    ) -> Result<Engine, pull::Error> {
        let engine = Engine::connect(&self.address).await?;
        pull::provide(&engine, container, output).await?;
        Ok(engine)
    }

    /// Nothing of the job ran, but its services may.
    async fn unserved(&self, error: services::Error, context: &Context) -> Outcome {
        let ended = end(&self.address, context.mark, &[], running::REMOVE_PATIENCE).await;
        let ended = match ended {
            // An engine that dies while it starts a container forgets that it runs.
            Ok(_) => Owned::marked(context.mark)
                .end(running::REMOVE_PATIENCE)
                .await
                .map_err(|left| left.to_string()),
            Err(left) => Err(left.to_string()),
        };
        match (error, ended) {
            (services::Error::Stopped(reason), Ok(_)) => reason.outcome(),
            (services::Error::Stopped(reason), Err(left)) => Outcome::CancelUnconfirmed {
                reason: format!("{reason}, but the services could not be ended: {left}"),
            },
            (error, Ok(_)) => infra(error),
            (error, Err(left)) => Outcome::Lost {
                reason: format!("{error}; the services could not be ended: {left}"),
                may_run: true,
            },
        }
    }

    /// Nothing ran, but a container may be there all the same.
    async fn not_created(&self, error: Error, context: &mut Context) -> Outcome {
        if let Err(left) = end(&self.address, context.mark, &[], running::REMOVE_PATIENCE).await {
            say_left(context, &left);
        }
        infra(error)
    }
}

/// Of a container of whose start the engine knows nothing; `count` processes of it were ended.
fn not_started(count: usize, removed: Result<(), EngineError>) -> Outcome {
    let words = match count {
        0 => "before it started the container".to_owned(),
        _ => format!(
            "while it started the container, and forgot that; {count} processes of the job were \
             ended"
        ),
    };
    let reason = format!("the Docker engine went away {words}");
    match removed {
        Ok(()) => infra(format!("{reason}; run the job again")),
        Err(left) => Outcome::Lost {
            reason: format!("{reason}; the container could not be ended: {left}"),
            may_run: true,
        },
    }
}

fn outcome(
    ending: Result<Ending, Error>,
    removed: Result<(), EngineError>,
    interrupted: bool,
    context: &mut Context,
) -> Outcome {
    let gone = matches!(
        ending,
        Ok(Ending::Exited(_)
            | Ending::Stopped { ended: true, .. }
            | Ending::Unserved { ended: true, .. })
    );
    if let (true, Err(left)) = (gone, &removed) {
        say_left(context, left);
    }
    match (ending, removed) {
        (Ok(Ending::Exited(code)), _) if interrupted && code >= SIGNALLED => infra(format!(
            "the Docker engine was stopped while the job ran, and the container ended with exit \
             status {code}, most likely by that; set `live-restore` for the engine, so that \
             containers outlive it, and run the job again"
        )),
        (Ok(Ending::Exited(code)), _) => exited(exit_of(code), context.stop.now()),
        (Ok(Ending::Unserved { died, ended: true }), _)
        | (Ok(Ending::Unserved { died, .. }), Ok(())) => infra(died),
        (Ok(Ending::Unserved { died, ended: false }), Err(left)) => Outcome::Lost {
            reason: format!("{died}; the container could not be ended: {left}"),
            may_run: true,
        },
        (Ok(Ending::Stopped { reason, ended: true }), _)
        | (Ok(Ending::Stopped { reason, .. }), Ok(())) => reason.outcome(),
        (Ok(Ending::Stopped { reason, ended: false }), Err(left)) => unconfirmed(reason, &left),
        // Nobody can say how it ended.
        (Err(error @ Error::Vanished(_)), removed) => {
            Outcome::Lost { reason: error.to_string(), may_run: removed.is_err() }
        }
        (Err(error), Ok(())) => infra(error),
        (Err(error), Err(left)) => Outcome::Lost {
            reason: format!("{error}; the container could not be ended: {left}"),
            may_run: true,
        },
    }
}

fn unconfirmed(reason: Reason, left: &EngineError) -> Outcome {
    Outcome::CancelUnconfirmed {
        reason: format!("{reason}, but the container could not be ended: {left}"),
    }
}

fn exit_of(code: i64) -> Result<(), Exit> {
    match i32::try_from(code) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Exit::Code(code)),
        Err(_) => Err(Exit::Code(i32::MAX)),
    }
}

/// The outcome stands even if this line cannot be written.
fn say_left(context: &mut Context, left: &EngineError) {
    let line = format!("the container could not be removed, which is tried again later: {left}");
    let _ = context.output.say(&line);
}

fn infra(reason: impl ToString) -> Outcome {
    Outcome::InfraError { reason: reason.to_string() }
}
