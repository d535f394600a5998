//! `garrison agents`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use coordinator::api::types::{Agent, NewJoinToken, NewUpgrade, TokenText};
use pipelines::id::AttemptId;
use pipelines::name::{AgentName, PartitionName};

use coordinator::config::seconds;

use super::{Within, again};
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
    /// Has agents run another program, by default the coordinator's own. Their jobs go on meanwhile.
    Upgrade(UpgradeOptions),
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

/// Which agents are to run what.
#[derive(Debug, Args)]
pub struct UpgradeOptions {
    /// PARTITION/NAME, each.
    #[arg(required = true)]
    agents: Vec<Key>,
    /// Another garrison binary.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Does not wait until the agents have said how it went.
    #[arg(long)]
    detach: bool,
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
        Action::Upgrade(options) => return upgrade(client, options, format),
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

/// Asks all agents, then waits for each.
fn upgrade(client: &Client, options: &UpgradeOptions, format: Format) -> Result<Exit, Failure> {
    let program = options.program.as_ref().map(|path| client.send_program(path)).transpose()?;
    let request = NewUpgrade { program };
    let mut agents = Vec::new();
    for key in &options.agents {
        find(client, key)?;
    }
    for key in &options.agents {
        agents.push(client.post::<Agent>(&format!("/api/v1/agents/{key}/upgrade"), &request)?);
    }
    if !options.detach {
        for (key, agent) in options.agents.iter().zip(&mut agents) {
            await_upgrade(client, key, agent)?;
        }
    }
    output::print(format, &agents, |agents| {
        let rows = agents.iter().map(|it| vec![format!("{}/{}", it.partition, it.name), went(it)]);
        output::table(&["AGENT", "UPGRADE"], rows)
    })?;
    let failed = |it: &Agent| it.upgrade.as_ref().is_some_and(|it| it.status == "failed");
    Ok(if agents.iter().any(failed) { Exit::Failed } else { Exit::Success })
}

#[allow(clippy::print_stderr, reason = "standard output is the answer")]
fn await_upgrade(client: &Client, key: &Key, agent: &mut Agent) -> Result<(), Failure> {
    let number = agent.upgrade.as_ref().map(|it| it.number);
    let mut told = false;
    while agent.upgrade.as_ref().is_some_and(|it| it.status == "asked" && Some(it.number) == number)
    {
        if agent.status == "away" && !told {
            told = true;
            eprintln!("agent {key} is away: waiting for it");
        }
        std::thread::sleep(LOOK_AGAIN);
        *agent = match find(client, key) {
            Err(failure) if failure.exit == Exit::Unavailable => {
                again(client)?;
                continue;
            }
            found => found?,
        };
    }
    Ok(())
}

/// How an agent's latest upgrade went.
fn went(agent: &Agent) -> String {
    let Some(upgrade) = &agent.upgrade else { return String::new() };
    match (upgrade.status.as_str(), &upgrade.reason) {
        ("done", _) => format!("runs {}", agent.version.as_deref().unwrap_or("it")),
        ("failed", Some(reason)) => format!("failed: {reason}"),
        ("asked", _) if agent.status == "away" => "waits until the agent is back".to_owned(),
        (status, _) => status.to_owned(),
    }
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

/// Its version, and what is not as it was asked to be.
fn version(agent: &Agent) -> String {
    let version = agent.version.clone().unwrap_or_default();
    match agent.upgrade.as_ref().map(|upgrade| upgrade.status.as_str()) {
        Some("asked") => format!("{version}, upgrade asked"),
        Some("failed") => format!("{version}, upgrade failed"),
        _ => version,
    }
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
        version(agent),
        match agent.capacity {
            Some(capacity) => format!("{} of {capacity}", agent.attempts.len()),
            None => String::new(),
        },
        labels(agent),
    ]
}
