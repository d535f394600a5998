//! A job's services: containers that are started before the job's own and removed with it.
//!
//! All share one network, as in a pod: the first service's container owns it, the others and the job's
//! join it. What a service writes is kept in memory, its last lines alone, and reaches the log only
//! if the service is why the job fails.
//!
//! They carry the attempt's labels and mark, so whatever ends what is left of an attempt ends them too.

mod follow;
mod tail;

use std::time::Duration;

use pipelines::name::ServiceName;
use pipelines::order::Order;
use pipelines::plan::{self, Container, Health, Network};
use proto::log::Stream;
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::container::{self, Joined};
use super::engine::{self, Engine, Standing};
use super::{left, running};
use crate::attempt::state::{self, Note};
use crate::executor::{Context, Reason};
use crate::output::Output;
use follow::follow;
use tail::Tail;

/// The services of one job. Dropping them leaves their containers.
pub(super) struct Services {
    engine: Engine,
    started: Vec<Service>,
    /// Each ends with its service.
    followers: JoinSet<End>,
}

struct Service {
    name: ServiceName,
    id: String,
    tail: Tail,
}

/// The end of a service.
pub(super) struct End {
    /// Its place among those that were started.
    place: usize,
    /// Its exit status; none if it vanished.
    code: Option<i64>,
}

/// Why a job has not, or has no longer, what it needs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot create the service '{name}' of '{image}': {source}")]
    Create { name: ServiceName, image: String, source: engine::Error },
    #[error("cannot start the service '{name}' of '{image}': {source}")]
    Start { name: ServiceName, image: String, source: engine::Error },
    #[error("cannot note a container's id: {0}; see the disk of the agent's state")]
    Note(#[from] state::Error),
    #[error("cannot write the job's output: {0}; see the disk of the agent's state")]
    Output(#[from] std::io::Error),
    #[error(
        "the service '{name}' was not healthy within {timeout_s} s: its health command {last}; its \
         last output is in the log"
    )]
    Unhealthy { name: ServiceName, timeout_s: u32, last: String },
    #[error("{0}")]
    Died(#[from] Died),
    #[error("{0}")]
    Stopped(Reason),
}

/// A service that ended before its job.
#[derive(Debug, thiserror::Error)]
#[error("the service '{name}' {how} before the job did; its last output is in the log")]
pub(super) struct Died {
    name: ServiceName,
    how: String,
}

impl Died {
    /// The same for a line of the log.
    pub(super) fn in_short(&self) -> String {
        format!("service {} {}", self.name, self.how)
    }
}

impl Services {
    /// None yet.
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, started: Vec::new(), followers: JoinSet::new() }
    }

    /// Starts those of `container`, one after the other, and waits until each can be used. What there is
    /// after an error is to be removed.
    pub(super) async fn start(
        &mut self,
        order: &Order,
        container: &Container,
        context: &mut Context,
    ) -> Result<(), Error> {
        for service in &container.services {
            if let Some(reason) = context.stop.now() {
                return Err(Error::Stopped(reason));
            }
            self.start_one(order, container, service, context).await?;
        }
        let start = Instant::now();
        for (place, service) in container.services.iter().enumerate() {
            let ready = match &service.health {
                Some(health) => self.healthy(place, health, start, context).await,
                None => self.runs(place, &mut context.output).await,
            };
            if let Err(error) = ready {
                if let Error::Unhealthy { .. } = error {
                    self.show(place, &mut context.output)?;
                }
                return Err(error);
            }
            let is = service.health.as_ref().map_or("runs", |_| "is healthy");
            context.output.say(&format!("service {} {is}", service.name))?;
        }
        Ok(())
    }

    /// How the job's own container gets its network.
    pub(super) fn network(&self, container: &Container) -> Joined {
        match (self.started.first(), container.network) {
            (None, network) => Joined::own(network, &[]),
            (Some(_), Network::Host) => Joined::own(Network::Host, &container.services),
            (Some(owner), Network::Bridge | Network::None) => Joined::of(&owner.id),
        }
    }

    /// Waits for the end of one of them, for ever if there are none. May be dropped and called again.
    pub(super) async fn next_end(&mut self) -> End {
        match self.followers.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    /// Writes the last lines of a service that has ended into the log; says in words that it has.
    pub(super) fn tell(&self, end: End, output: &mut Output) -> Result<Died, std::io::Error> {
        self.show(end.place, output)?;
        let how = match end.code {
            Some(code) => format!("ended with exit status {code}"),
            None => "vanished".to_owned(),
        };
        Ok(Died { name: self.started[end.place].name.clone(), how })
    }

    /// Removes their containers; once that is done, none of them runs.
    pub(super) async fn remove(&mut self, mark: Uuid) -> Result<(), engine::Error> {
        self.followers.abort_all();
        let mut removed = Ok(());
        for service in &self.started {
            removed = removed.and(self.engine.remove(&service.id).await);
        }
        if removed.is_ok() {
            return Ok(());
        }
        let ids: Vec<String> = self.started.iter().map(|service| service.id.clone()).collect();
        left::end(self.engine.address(), mark, &ids, running::REMOVE_PATIENCE).await.map(drop)
    }

    async fn start_one(
        &mut self,
        order: &Order,
        container: &Container,
        service: &plan::Service,
        context: &mut Context,
    ) -> Result<(), Error> {
        let joined = match self.started.is_empty() {
            true => Joined::own(container.network, &container.services),
            false => self.network(container),
        };
        let name = format!("{}-{}", container::name(order, context), service.name);
        let body = container::service_body(order, service, &joined, context);
        let created = self.engine.create(&name, body).await;
        let (name, image) = (service.name.clone(), service.image.clone());
        let id = created.map_err(|source| Error::Create { name, image, source })?;
        context.note(Note::Container { id: id.clone() })?;
        let (name, image) = (service.name.clone(), service.image.clone());
        let started = async {
            // Before the start, or the first lines would be lost.
            let frames = self.engine.attach(&id).await?;
            self.engine.start(&id).await.map(|()| frames)
        };
        let frames = started.await.map_err(|source| Error::Start { name, image, source })?;
        let (place, tail) = (self.started.len(), Tail::default());
        self.started.push(Service {
            name: service.name.clone(),
            id: id.clone(),
            tail: tail.clone(),
        });
        let engine = self.engine.clone();
        self.followers.spawn(async move {
            let code = follow(engine, id, frames, tail).await;
            End { place, code }
        });
        Ok(())
    }

    /// Whether a service runs that says nothing of its health.
    async fn runs(&mut self, place: usize, output: &mut Output) -> Result<(), Error> {
        match self.engine.inspect(&self.started[place].id).await {
            Ok(Standing::Exited { .. }) => {
                let end = self.next_end().await;
                Err(self.tell(end, output)?.into())
            }
            // Its follower tells what becomes of it.
            Ok(Standing::Created | Standing::Running) | Err(_) => Ok(()),
        }
    }

    /// Tries the health command until it succeeds, which it must within its time from `start` on.
    async fn healthy(
        &mut self,
        place: usize,
        health: &Health,
        start: Instant,
        context: &mut Context,
    ) -> Result<(), Error> {
        let deadline = start + Duration::from_secs(health.timeout_s.into());
        let (engine, id) = (self.engine.clone(), self.started[place].id.clone());
        let mut last = "did not end".to_owned();
        let trying = async {
            loop {
                match engine.run_inside(&id, &health.run).await {
                    Ok(0) => return,
                    Ok(code) => last = format!("ended with exit status {code}"),
                    Err(error) => last = format!("could not be run: {error}"),
                }
                sleep(Duration::from_secs(health.interval_s.into())).await;
            }
        };
        let Context { output, stop, .. } = context;
        let tried = select! {
            biased;
            reason = stop.requested() => return Err(Error::Stopped(reason)),
            end = self.next_end() => return Err(self.tell(end, output)?.into()),
            tried = timeout_at(deadline, trying) => tried,
        };
        let name = self.started[place].name.clone();
        tried.map_err(|_| Error::Unhealthy { name, timeout_s: health.timeout_s, last })
    }

    /// Writes a service's last lines into the log.
    fn show(&self, place: usize, output: &mut Output) -> Result<(), std::io::Error> {
        let Service { name, tail, .. } = &self.started[place];
        let lines = tail.lines();
        output.say(&format!("the last {} lines of service {name}:", lines.len()))?;
        for mut line in lines {
            line.push(b'\n');
            output.write(Stream::System, &line)?;
        }
        Ok(())
    }
}
