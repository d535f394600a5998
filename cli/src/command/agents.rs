//! `garrison agents`.

use std::fmt;
use std::str::FromStr;

use clap::{Args, Subcommand};
use coordinator::api::types::{Agent, NewJoinToken, TokenText};
use pipelines::name::{AgentName, PartitionName};

use super::seconds;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Lists agents.
    List,
    /// Makes a join token for one agent, good once.
    Token(TokenOptions),
    /// Cuts an agent off, within seconds.
    Revoke {
        /// PARTITION/NAME.
        agent: Key,
    },
}

/// Whom a join token admits.
#[derive(Debug, Args)]
pub struct TokenOptions {
    /// The agent's partition.
    #[arg(long)]
    partition: PartitionName,
    /// The agent's name in it.
    #[arg(long)]
    name: AgentName,
    /// How long it may be used, such as 10m.
    #[arg(long, default_value = "10m", value_parser = seconds)]
    ttl: u64,
}

/// PARTITION/NAME.
#[derive(Debug, Clone)]
pub struct Key {
    partition: PartitionName,
    name: AgentName,
}

impl FromStr for Key {
    type Err = String;
    fn from_str(text: &str) -> Result<Key, String> {
        let (partition, name) = text.split_once('/').ok_or("write it as PARTITION/NAME")?;
        let partition = partition.parse().map_err(|error| format!("the partition {error}"))?;
        let name = name.parse().map_err(|error| format!("the name {error}"))?;
        Ok(Key { partition, name })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.name)
    }
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::List => {
            let agents: Vec<Agent> = client.get("/api/v1/agents")?;
            output::print(format, &agents, |agents| {
                if agents.is_empty() {
                    return "no agents: admit one with 'garrison agents token'\n".to_owned();
                }
                let headings = ["PARTITION", "NAME", "STATUS", "SINCE", "VERSION", "CAPACITY"];
                output::table(&headings, agents.iter().map(row))
            })?;
        }
        Action::Token(options) => {
            let path = format!("/api/v1/agents/{}/{}/token", options.partition, options.name);
            let token: TokenText = client.post(&path, &NewJoinToken { ttl_s: options.ttl })?;
            output::print(format, &token, |token| format!("{}\n", token.token))?;
        }
        Action::Revoke { agent } => {
            let path = format!("/api/v1/agents/{agent}/revoke");
            let agents: Agent = client.post(&path, &serde_json::json!({}))?;
            output::print(format, &agents, |_| format!("agent {agent} is cut off\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn row(agent: &Agent) -> Vec<String> {
    vec![
        agent.partition.to_string(),
        agent.name.to_string(),
        agent.status.clone(),
        output::moment(agent.since_us),
        agent.version.clone().unwrap_or_default(),
        agent.capacity.map(|capacity| capacity.to_string()).unwrap_or_default(),
    ]
}
