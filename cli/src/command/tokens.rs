//! `garrison tokens`.

use clap::{Args, Subcommand};
use coordinator::api::types::{ApiToken, NewApiToken, TokenText};
use coordinator::config::seconds;
use pipelines::name::{PartitionName, TokenName};

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Makes a token and prints it, this once.
    Create(CreateOptions),
    /// Lists tokens, without their texts.
    List,
    /// Refuses a token from now on.
    Revoke {
        /// Its name.
        name: TokenName,
    },
}

/// What a token may do.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// Its name, which stands as the actor of what is done with it.
    name: TokenName,
    /// view, edit (trigger, cancel, retry) or admin (tokens, agents).
    #[arg(long, default_value = "view")]
    role: String,
    /// A partition in which the role holds; may be repeated; all if left out.
    #[arg(long = "partition")]
    partitions: Vec<PartitionName>,
    /// How long it may be used, such as 90d.
    #[arg(long, default_value = "90d", value_parser = seconds)]
    ttl: u64,
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::Create(options) => {
            let request = NewApiToken {
                name: options.name.clone(),
                role: options.role.clone(),
                partitions: (!options.partitions.is_empty()).then(|| options.partitions.clone()),
                ttl_s: options.ttl,
            };
            let token: TokenText = client.post("/api/v1/tokens", &request)?;
            output::print(format, &token, |token| format!("{}\n", token.token))?;
        }
        Action::List => {
            let tokens: Vec<ApiToken> = client.get("/api/v1/tokens")?;
            output::print(format, &tokens, |tokens| {
                let headings = ["NAME", "ROLE", "PARTITIONS", "CREATED BY", "EXPIRES"];
                output::table(&headings, tokens.iter().map(row))
            })?;
        }
        Action::Revoke { name } => {
            let path = format!("/api/v1/tokens/{name}/revoke");
            let token: ApiToken = client.post(&path, &serde_json::json!({}))?;
            output::print(format, &token, |_| format!("token {name} is revoked\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn row(token: &ApiToken) -> Vec<String> {
    let partitions = match &token.partitions {
        Some(names) => names.iter().map(PartitionName::as_str).collect::<Vec<_>>().join(", "),
        None => "all".to_owned(),
    };
    let expires =
        if token.revoked { "revoked".to_owned() } else { output::moment(token.expires_us) };
    vec![token.name.to_string(), token.role.clone(), partitions, token.created_by.clone(), expires]
}
