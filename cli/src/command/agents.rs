//! `garrison agents`.

use std::time::Duration;

use clap::{Args, Subcommand};
use coordinator::api::types::{Agent, NewJoinToken, TokenText};
use pipelines::id::AttemptId;
use pipelines::name::{AgentName, PartitionName};

use coordinator::config::seconds;

use super::Within;
use crate::client::Client;
use crate::confirm::confirm;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Between two looks at an agent that drains.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// An agent.
type Key = Within<AgentName>;

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
    /// Gives an agent no new attempts; those that it has go on.
    Cordon {
        /// PARTITION/NAME.
        agent: Key,
    },
    /// Gives an agent attempts again.
    Uncordon {
        /// PARTITION/NAME.
        agent: Key,
    },
    /// Cordons an agent and waits until it has no attempt left.
    Drain {
        /// PARTITION/NAME.
        agent: Key,
    },
    /// Waits no more for what an agent has that is away: your word that it does not run.
    Lost {
        /// PARTITION/NAME.
        agent: Key,
        /// The agent again, instead of typing it when asked.
        #[arg(long, value_name = "PARTITION/NAME")]
        confirm: Option<String>,
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

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::List => {
            let agents: Vec<Agent> = client.get("/api/v1/agents")?;
            output::print(format, &agents, |agents| {
                if agents.is_empty() {
                    return "no agents: admit one with 'garrison agents token'\n".to_owned();
                }
                let headings =
                    ["PARTITION", "NAME", "STATUS", "SINCE", "VERSION", "ATTEMPTS", "LABELS"];
                output::table(&headings, agents.iter().map(row))
            })?;
        }
        Action::Token(options) => {
            let path = format!("/api/v1/agents/{}/{}/token", options.partition, options.name);
            let token: TokenText = client.post(&path, &NewJoinToken { ttl_s: options.ttl })?;
            output::print(format, &token, |token| format!("{}\n", token.token))?;
        }
        Action::Revoke { agent } => {
            let revoked = change(client, agent, "revoke")?;
            output::print(format, &revoked, |_| format!("agent {agent} is cut off\n"))?;
        }
        Action::Cordon { agent } => {
            let cordoned = change(client, agent, "cordon")?;
            output::print(format, &cordoned, |it| {
                format!("agent {agent} gets no new attempts; it has {}\n", it.attempts.len())
            })?;
        }
        Action::Uncordon { agent } => {
            let uncordoned = change(client, agent, "uncordon")?;
            output::print(format, &uncordoned, |_| format!("agent {agent} gets attempts\n"))?;
        }
        Action::Drain { agent } => {
            let mut drained = change(client, agent, "cordon")?;
            while !drained.attempts.is_empty() {
                std::thread::sleep(LOOK_AGAIN);
                drained = find(client, agent)?;
            }
            output::print(format, &drained, |_| format!("agent {agent} has no attempts\n"))?;
        }
        Action::Lost { agent, confirm: given } => {
            let attempts = find(client, agent)?.attempts;
            let names: Vec<String> = attempts.iter().map(AttemptId::to_string).collect();
            let consequences = format!(
                "Agent {agent} has {} attempts: {}\nThey end as lost, whether they run or not, \
                 and others may take their locks.\n",
                names.len(),
                names.join(", "),
            );
            confirm(&consequences, &agent.to_string(), given.as_deref())?;
            let lost = change(client, agent, "lost")?;
            output::print(format, &lost, |_| format!("agent {agent} is waited for no more\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn change(client: &Client, agent: &Key, verb: &str) -> Result<Agent, Failure> {
    client.post(&format!("/api/v1/agents/{agent}/{verb}"), &serde_json::json!({}))
}

fn find(client: &Client, key: &Key) -> Result<Agent, Failure> {
    let agents: Vec<Agent> = client.get("/api/v1/agents")?;
    let found = agents.into_iter().find(|it| it.partition == key.partition && it.name == key.name);
    let message = format!("there is no agent {key}");
    found.ok_or(Failure { exit: Exit::Refused, message })
}

fn labels(agent: &Agent) -> String {
    let labels: Vec<_> =
        agent.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(" ")
}

fn row(agent: &Agent) -> Vec<String> {
    vec![
        agent.partition.to_string(),
        agent.name.to_string(),
        match agent.cordoned_by {
            Some(_) => format!("{}, cordoned", agent.status),
            None => agent.status.clone(),
        },
        output::moment(agent.since_us),
        agent.version.clone().unwrap_or_default(),
        match agent.capacity {
            Some(capacity) => format!("{} of {capacity}", agent.attempts.len()),
            None => String::new(),
        },
        labels(agent),
    ]
}
