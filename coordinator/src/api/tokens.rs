//! `/api/v1/tokens`.

use axum::Json;
use axum::extract::{Path, State};
use coordinator_core::actor::{Grant, Role, Scope, UnknownRole};
use coordinator_core::event::{Ask, Wall};
use coordinator_core::token::ApiToken as Record;
use pipelines::name::TokenName;

use super::types::{ApiToken, NewApiToken, TokenText};
use super::{Body, Caller, Failure, Shared};
use crate::driver;
use crate::token::{self, Kind};

/// A token for the API lives at most a year.
const LONGEST: u64 = 366 * 24 * 3600;

pub(super) async fn create(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Body(body): Body<NewApiToken>,
) -> Result<Json<TokenText>, Failure> {
    let role: Role =
        body.role.parse().map_err(|error: UnknownRole| Failure::invalid(error.to_string()))?;
    if body.ttl_s == 0 || body.ttl_s > LONGEST {
        return Err(Failure::invalid("a token lives from 1 second to 366 days"));
    }
    let partitions = match body.partitions {
        None => Scope::All,
        Some(partitions) => Scope::Only(partitions.into_iter().collect()),
    };
    let token = token::generate(Kind::Api);
    let expires = Wall(driver::now().0 + body.ttl_s * 1_000_000);
    let ask = Ask::CreateApiToken {
        name: body.name,
        hash: token::hash(&token),
        grant: Grant { role, partitions },
        expires,
    };
    api.driver.ask(actor, ask).await?;
    Ok(Json(TokenText { token, expires_us: expires.0 }))
}

pub(super) async fn list(
    State(api): State<Shared>,
    Caller(actor): Caller,
) -> Result<Json<Vec<ApiToken>>, Failure> {
    if !actor.may_everywhere(Role::Admin) {
        return Err(Failure::new(
            axum::http::StatusCode::FORBIDDEN,
            format!("listing tokens needs admin in all partitions; {actor} lacks it"),
        ));
    }
    Ok(Json(api.view.api_tokens()?.into_iter().map(view).collect()))
}

pub(super) async fn revoke(
    State(api): State<Shared>,
    Caller(actor): Caller,
    Path(name): Path<TokenName>,
) -> Result<Json<ApiToken>, Failure> {
    api.driver.ask(actor, Ask::RevokeApiToken { name: name.clone() }).await?;
    let token = api.view.api_token(&name)?;
    let token = token.ok_or_else(|| Failure::not_found(format!("there is no token '{name}'")))?;
    Ok(Json(view(token)))
}

fn view(token: Record) -> ApiToken {
    ApiToken {
        name: token.name,
        role: token.grant.role.to_string(),
        partitions: match token.grant.partitions {
            Scope::All => None,
            Scope::Only(partitions) => Some(partitions.into_iter().collect()),
        },
        created_by: token.created_by.to_string(),
        expires_us: token.expires.0,
        revoked: token.revoked,
    }
}
