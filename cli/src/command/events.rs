//! `garrison events`: speaks to NATS itself, so it works away from the coordinator's host.

mod dead;
mod replay;
pub mod schema;
mod tail;

use std::future::Future;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use coordinator::config::{Config, Nats, Topics};
use events::admin::Standing;
use events::{Connection, Error, Event, Server};

use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Prints events as they come, one JSON object a line, or runs a command for each.
    ///
    /// Without --channel one sees what comes from now on. Members of a channel share its events: each
    /// goes to one of them, and comes again until it was dealt with.
    Tail(tail::Options),
    /// Prints the events that the stream holds since a moment, or gives them to a channel again.
    Replay(replay::Options),
    /// Lists channels, and what waits in them.
    Channels(Where),
    /// Lists what channels gave up, and why.
    Dead(dead::Options),
    /// Prints the JSON Schema of events, or of those of a topic.
    Schema(schema::Options),
}

/// Where NATS is, and as whom it is entered.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub struct Where {
    /// Servers, such as nats://nats.example.org:4222, or tls://… to insist on TLS.
    #[arg(long = "nats", env = "GARRISON_NATS", value_name = "URL", value_delimiter = ',')]
    urls: Vec<String>,
    /// The stream; GARRISON if left out.
    #[arg(long, env = "GARRISON_NATS_STREAM")]
    stream: Option<String>,
    /// A user, with --nats-password-file.
    #[arg(long = "nats-user", env = "GARRISON_NATS_USER", value_name = "USER")]
    user: Option<String>,
    /// File with the user's password.
    #[arg(long = "nats-password-file", env = "GARRISON_NATS_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with a token.
    #[arg(long = "nats-token-file", env = "GARRISON_NATS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the seed of an NKey.
    #[arg(long = "nats-nkey-file", env = "GARRISON_NATS_NKEY_FILE", value_name = "FILE")]
    nkey_file: Option<PathBuf>,
    /// Credentials file (.creds).
    #[arg(long = "nats-credentials", env = "GARRISON_NATS_CREDENTIALS", value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the servers' certificates come from.
    #[arg(long = "nats-ca", env = "GARRISON_NATS_CA", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The coordinator's configuration: its [nats] counts, and nothing of the above but --stream.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Carries out an action.
pub fn run(action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::Tail(options) => tail::run(options),
        Action::Replay(options) => replay::run(options, format),
        Action::Channels(place) => wait(channels(place, format)),
        Action::Dead(options) => dead::run(options, format),
        Action::Schema(options) => schema::run(options),
    }
}

async fn channels(place: &Where, format: Format) -> Result<Exit, Failure> {
    let (connection, stream) = place.open().await?;
    let channels = connection.channels(&stream).await.map_err(failed)?;
    output::print(format, &channels, |channels| {
        if channels.is_empty() {
            return "there are no channels\n".to_owned();
        }
        let headings = ["CHANNEL", "SUBJECT", "PENDING", "IN FLIGHT", "REDELIVERED", "DEAD"];
        output::table(&headings, channels.iter().map(row))
    })?;
    Ok(Exit::Success)
}

fn row(standing: &Standing) -> Vec<String> {
    let ephemeral = if standing.durable { "" } else { "#ephemeral" };
    vec![
        format!("{}{ephemeral}", standing.channel),
        standing.subject.clone(),
        standing.pending.to_string(),
        standing.in_flight.to_string(),
        standing.redelivered.to_string(),
        standing.dead.to_string(),
    ]
}

impl Where {
    /// A connection, and the stream.
    async fn open(&self) -> Result<(Connection, String), Failure> {
        let (server, stream) = self.server()?;
        Ok((Connection::open(&server).await.map_err(failed)?, stream))
    }

    /// The servers, and the stream.
    fn server(&self) -> Result<(Server, String), Failure> {
        let nats = match &self.config {
            Some(path) => Config::load(path).map_err(Failure::usage)?.nats.ok_or_else(|| {
                Failure::usage(format!("{} has no [nats]: give --nats URL", path.display()))
            })?,
            None if self.urls.is_empty() => {
                return Err(Failure::usage(
                    "don't know where NATS is: give --nats URL or GARRISON_NATS, or on the \
                     coordinator's host --config coordinator.toml",
                ));
            }
            None => Nats {
                user: self.user.clone(),
                password_file: self.password_file.clone(),
                token_file: self.token_file.clone(),
                nkey_file: self.nkey_file.clone(),
                credentials_file: self.credentials_file.clone(),
                ca_file: self.ca_file.clone(),
                ..Nats::at(self.urls.clone())
            },
        };
        let mut problems = Vec::new();
        nats.problems(&mut problems);
        if !problems.is_empty() {
            return Err(Failure::usage(problems.join("\n")));
        }
        let stream = self.stream.as_ref().unwrap_or(&nats.stream).clone();
        Ok((coordinator::events::server(&nats, "garrison events"), stream))
    }
}

/// An event as one line of JSON.
fn line(event: &Event) -> Vec<u8> {
    let mut line = match serde_json::from_slice::<serde_json::Value>(&event.payload) {
        Ok(_) if !event.payload.contains(&b'\n') => event.payload.clone(),
        Ok(value) => value.to_string().into_bytes(),
        // Of somebody else, as a text.
        Err(_) => serde_json::json!(String::from_utf8_lossy(&event.payload)).to_string().into(),
    };
    line.push(b'\n');
    line
}

/// Runs it to its end.
fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(work);
    // What still runs is a line that nobody reads.
    runtime.shutdown_background();
    result
}

fn failed(error: Error) -> Failure {
    let exit = if matches!(error, Error::Login(_) | Error::Credentials(_)) {
        Exit::Usage
    } else if error.is_passing() {
        Exit::Unavailable
    } else {
        Exit::Refused
    };
    Failure { exit, message: error.to_string() }
}

/// Which events.
#[derive(Debug, Args)]
struct Which {
    /// Of this topic, such as job.finished, 'job.*' or 'run.>'; all if left out.
    #[arg(long)]
    topic: Option<Topics>,
    /// Of this partition; all if left out.
    #[arg(long)]
    partition: Option<String>,
}

impl Which {
    fn subject(&self) -> String {
        let topic = self.topic.as_ref().map(Topics::to_string);
        events::channel::subject(self.partition.as_deref(), topic.as_deref())
    }
}
