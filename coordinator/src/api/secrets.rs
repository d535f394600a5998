//! `/api/v1/secrets`. A value comes in, is sealed before the core hears of it, and never goes out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use coordinator_core::event::{Ask, Refusal};
use coordinator_core::secret::{Scope, Secret as Record, SecretKey};

use super::types::{NewSecret, Secret};
use super::{Body, Caller, Failure, Shared};
use crate::driver::AskError;
use crate::secrets;

/// How often a version is taken by somebody else before it is told.
const TRIES: usize = 5;

pub(super) async fn list(
    State(api): State<Shared>,
    Caller(actor): Caller,
) -> Result<Json<Vec<Secret>>, Failure> {
    let secrets = api.view.secrets()?.into_iter();
    let own = secrets.filter(|it| it.sealed.is_some() && it.key.scope.is_managed_by(&actor));
    Ok(Json(own.map(shown).collect()))
}

/// The body is read here, since the usual words about a wrong one would repeat parts of it.
pub(super) async fn set(
    State(api): State<Shared>,
    Caller(actor): Caller,
    body: Bytes,
) -> Result<Json<Secret>, Failure> {
    let NewSecret { key, value } = serde_json::from_slice(&body).map_err(|error| {
        Failure::invalid(format!(
            "the body is not a secret (line {}, column {}): send {{\"name\", \"scope\", \"value\"}}",
            error.line(),
            error.column()
        ))
    })?;
    let value = value.checked().map_err(|error| Failure::invalid(error.to_string()))?;
    key.scope.needs_manager(&actor, "setting").map_err(AskError::Refused)?;
    check_scope(&api, &key.scope)?;
    for _ in 0..TRIES {
        let version = api.view.secret(&key)?.map_or(0, |it| it.version) + 1;
        let sealed = api.secrets.seal(&key, version, &value)?;
        let ask = Ask::SetSecret { key: key.clone(), version, sealed };
        match api.driver.ask(actor.clone(), ask).await {
            // Somebody else was quicker: what is set last counts.
            Err(AskError::Refused(Refusal::Conflict(_))) => {}
            answer => {
                answer?;
                return Ok(Json(latest(&api, &key)?));
            }
        }
    }
    Err(Failure::unavailable(format!("secret {key} is being changed by others: try again")))
}

pub(super) async fn delete(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Body(key): Body<SecretKey>,
) -> Result<Json<Secret>, Failure> {
    api.driver.ask(actor, Ask::DeleteSecret { key: key.clone() }).await?;
    Ok(Json(latest(&api, &key)?))
}

/// What is misspelt would be a secret that no job ever gets. A device may come with an inventory.
fn check_scope(api: &Shared, scope: &Scope) -> Result<(), Failure> {
    let (what, name, is_known) = match scope {
        Scope::Everywhere => return Ok(()),
        Scope::Repository { repository } => {
            ("repository", repository.as_str(), api.config.repository(repository).is_some())
        }
        Scope::Partition { partition } | Scope::Device { partition, .. } => {
            ("partition", partition.as_str(), api.config.partition(partition).is_some())
        }
    };
    if is_known {
        return Ok(());
    }
    Err(Failure::not_found(format!(
        "{what} '{name}' is not in the coordinator's configuration: add it there"
    )))
}

fn latest(api: &Shared, key: &SecretKey) -> Result<Secret, Failure> {
    let record = api.view.secret(key)?;
    record.map(shown).ok_or_else(|| Failure::not_found(format!("there is no secret {key}")))
}

fn shown(record: Record) -> Secret {
    Secret {
        name: record.key.name,
        scope: record.key.scope,
        version: record.version,
        by: record.by.to_string(),
        at_us: record.at.0,
        deleted: record.sealed.is_none(),
    }
}

impl From<secrets::Error> for Failure {
    fn from(error: secrets::Error) -> Failure {
        Failure::unavailable(error.to_string())
    }
}
