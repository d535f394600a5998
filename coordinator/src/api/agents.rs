//! `/api/v1/agents`.

use axum::Json;
use axum::extract::{Path, State};
use coordinator_core::actor::Actor;
use coordinator_core::agent::{self, AgentKey, Link};
use coordinator_core::attempt::Attempt;
use coordinator_core::event::{Ask, Wall};
use coordinator_core::upgrade;
use pipelines::name::{AgentName, PartitionName};
use pipelines::plan;
use proto::content::NoHash;

use super::types::{Agent, NewJoinToken, NewUpgrade, TokenText, Upgrade};
use super::{Body, Caller, Failure, Shared};
use crate::driver;
use crate::store::view::{self, View};
use crate::token::{self, Kind};

/// A join token lives at most a week: it is a key to a partition.
const LONGEST: u64 = 7 * 24 * 3600;

pub(super) async fn list(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Agent>>, Failure> {
    let agents = api.view.agents()?.into_iter();
    let agents = agents.filter(|agent| caller.sees(&agent.key.partition));
    let open = api.view.open_attempts()?;
    Ok(Json(agents.map(|agent| view(agent, &open)).collect()))
}

pub(super) async fn token(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
    Body(body): Body<NewJoinToken>,
) -> Result<Json<TokenText>, Failure> {
    if api.config.partition(&partition).is_none() {
        return Err(Failure::not_found(format!(
            "partition '{partition}' is not in the coordinator's configuration: add it there"
        )));
    }
    if body.ttl_s == 0 || body.ttl_s > LONGEST {
        return Err(Failure::invalid("a join token lives from 1 second to 7 days"));
    }
    let token = format!("{}.{}", token::generate(Kind::Join), api.ca_fingerprint);
    let expires = Wall(driver::now().0 + body.ttl_s * 1_000_000);
    let agent = AgentKey { partition, name };
    let ask = Ask::CreateJoinToken { hash: token::hash(&token), agent, expires };
    api.driver.ask(actor, ask).await?;
    Ok(Json(TokenText { token, expires_us: expires.0 }))
}

pub(super) async fn revoke(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
) -> Result<Json<Agent>, Failure> {
    let agent = AgentKey { partition, name };
    change(&api, actor, agent.clone(), Ask::RevokeAgent { agent }).await
}

pub(super) async fn cordon(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
) -> Result<Json<Agent>, Failure> {
    let agent = AgentKey { partition, name };
    change(&api, actor, agent.clone(), Ask::Cordon { agent, on: true }).await
}

pub(super) async fn uncordon(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
) -> Result<Json<Agent>, Failure> {
    let agent = AgentKey { partition, name };
    change(&api, actor, agent.clone(), Ask::Cordon { agent, on: false }).await
}

pub(super) async fn lost(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
) -> Result<Json<Agent>, Failure> {
    let agent = AgentKey { partition, name };
    change(&api, actor, agent.clone(), Ask::DeclareLost { agent }).await
}

pub(super) async fn upgrade(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path((partition, name)): Path<(PartitionName, AgentName)>,
    Body(body): Body<NewUpgrade>,
) -> Result<Json<Agent>, Failure> {
    let agent = AgentKey { partition, name };
    let program = match body.program {
        Some(text) => text.parse().map_err(|error: NoHash| Failure::invalid(error.to_string()))?,
        None => api.programs.own().await?,
    };
    if !api.programs.has(&program) {
        return Err(Failure::not_found(format!(
            "program {program} is not here: send it to /api/v1/programs first"
        )));
    }
    let program = program.to_string();
    change(&api, actor, agent.clone(), Ask::Upgrade { agent, program }).await
}

/// Asks for something about an agent; gives it as it is then.
async fn change(
    api: &Shared,
    actor: Actor,
    agent: AgentKey,
    ask: Ask,
) -> Result<Json<Agent>, Failure> {
    api.driver.ask(actor, ask).await?;
    let record = api.view.agent(&agent)?;
    let record = record.ok_or_else(|| Failure::not_found(format!("there is no agent {agent}")))?;
    Ok(Json(view(record, &api.view.open_attempts()?)))
}

/// What a queued job for one certain agent waits for there; none for a job that any may have.
pub(super) fn in_the_way(view: &View, spec: &plan::Job) -> Result<Option<String>, view::Error> {
    let Some(name) = &spec.agent else { return Ok(None) };
    let key = AgentKey { partition: spec.partition.clone(), name: name.clone() };
    let why = match view.agent(&key)? {
        None => "which has not joined",
        Some(agent) if agent.revoked => "which was cut off",
        Some(agent) if agent.session().is_none() && agent.cordoned_by.is_some() => {
            "which is cordoned and whose link is down"
        }
        Some(agent) if agent.session().is_none() => "whose link is down",
        Some(agent) if agent.cordoned_by.is_some() => "which is cordoned",
        Some(_) => "which has no room",
    };
    Ok(Some(format!("waits for agent {name}, {why}")))
}

fn view(agent: agent::Agent, open: &[Attempt]) -> Agent {
    let (status, since) = match agent.link {
        Link::Down { since } if agent.revoked => ("revoked", since),
        Link::Down { since } => ("away", since),
        Link::Up { since, .. } => ("connected", since),
    };
    let own = open.iter().filter(|attempt| attempt.agent == agent.key);
    Agent {
        attempts: own.map(|attempt| attempt.id).collect(),
        cordoned_by: agent.cordoned_by.map(|actor| actor.to_string()),
        partition: agent.key.partition,
        name: agent.key.name,
        status: status.to_owned(),
        since_us: since.0,
        version: agent.about.as_ref().map(|about| about.version.clone()),
        capacity: agent.about.as_ref().map(|about| about.capacity),
        labels: agent.about.map(|about| about.labels).unwrap_or_default(),
        upgrade: agent.upgrade.map(|upgrade| {
            let (status, reason) = match upgrade.state {
                upgrade::State::Asked => ("asked", None),
                upgrade::State::Done { .. } => ("done", None),
                upgrade::State::Failed { reason, .. } => ("failed", Some(reason)),
            };
            Upgrade {
                number: upgrade.number,
                program: upgrade.program,
                asked_by: upgrade.asked_by.to_string(),
                asked_us: upgrade.asked.0,
                status: status.to_owned(),
                reason,
            }
        }),
    }
}
