//! The command line: parses arguments, calls the coordinator's API, and shows answers to people
//! or, with `-o json`, to programs. Also the entry to coordinator, agent and runner.

pub mod client;
pub mod command;
pub mod confirm;
pub mod daemon;
pub mod demo;
pub mod exit;
pub mod output;
pub mod site;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::Connection;
use crate::exit::Exit;
use crate::output::Format;

/// Deploy runner for isolated data-centre partitions.
///
/// A coordinator keeps pipelines and their runs; one agent on each management server carries out
/// the jobs of its partition. A job survives its own network.
#[derive(Debug, Parser)]
#[command(name = "garrison", version, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows a deployment from trigger to verdict, on this machine, with nothing to set up.
    Demo(demo::Options),
    /// Runs the coordinator.
    Coordinator(daemon::CoordinatorOptions),
    /// Runs an agent on a management server.
    Agent(daemon::AgentOptions),
    /// Runs one attempt; started by the agent.
    #[command(hide = true)]
    Runner {
        /// The attempt's directory.
        dir: PathBuf,
    },
    /// Says in short how the coordinator is: agents, runs, gates, and who is behind with events.
    Status,
    /// Starts a pipeline.
    Trigger(command::trigger::Options),
    /// Lists runs, the newest first.
    Runs(command::runs::Options),
    /// Shows a run and its jobs.
    Show(command::show::Options),
    /// Prints the log of a run, a job or an attempt.
    Logs(command::logs::Options),
    /// Lists what jobs left, or downloads it.
    Artifacts(command::artifacts::Options),
    /// Cancels a run.
    Cancel(command::change::Options),
    /// Tries the jobs of a run again that did not succeed.
    Retry(command::change::Options),
    /// Lets a run begin outside of its maintenance window.
    OverrideWindow(command::windows::Options),
    /// Lists gates that wait for people.
    Gates(command::gates::Options),
    /// Approves what a gate of a run lets through.
    Approve(command::gates::ApproveOptions),
    /// Rejects it: jobs behind the gate do not start.
    Reject(command::gates::RejectOptions),
    /// Says that what a gate asks for was done by hand.
    Acknowledge(command::gates::AcknowledgeOptions),
    /// What is deployed where: list, history, differences, and deploying the previous one.
    Environments(command::environments::Options),
    /// Prints a link that shows runs and logs in a browser.
    Open(command::open::Options),
    /// Agents: list, admit, drain, cut off.
    #[command(subcommand)]
    Agents(command::agents::Action),
    /// Tokens for the API: create, list, revoke.
    #[command(subcommand)]
    Tokens(command::tokens::Action),
    /// Secrets of jobs: set, list, delete.
    #[command(subcommand)]
    Secrets(command::secrets::Action),
    /// Schedules by which pipelines start by themselves.
    #[command(subcommand)]
    Schedules(command::schedules::Action),
    /// Events that start pipelines.
    #[command(subcommand)]
    Subscriptions(command::subscriptions::Action),
    /// Locks: list, break.
    #[command(subcommand)]
    Locks(command::locks::Action),
    /// Lists what operators declared or changed (agents lost, locks broken, secrets set, gates approved),
    /// times that schedules missed, and why events started nothing.
    Audit,
    /// Events in NATS: follow them, read them again, list channels, print their schemas.
    #[command(subcommand)]
    Events(command::events::Action),
    /// Inventories: from Ansible and to Ansible.
    #[command(subcommand)]
    Inventory(command::inventory::Action),
    /// Checks pipeline and inventory files without a coordinator.
    Lint(command::lint::Options),
    /// Shows what a pipeline would run, where, in which order, and why a job is left out, without a coordinator.
    Plan(command::plan::Options),
    /// Prints the JSON Schema of pipelines, of files that they include, or of inventories, for editors.
    Schema {
        /// Of what.
        #[arg(value_enum, default_value = "pipeline")]
        of: command::schema::Of,
    },
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    coordinator::tls::install_provider();
    let cli = Cli::parse();
    let result = match cli.command {
        // Before everything else: a runner is started for each attempt, and must be light.
        Command::Runner { dir } => return agent::runner::main(&dir),
        Command::Demo(options) => demo::run(&options),
        Command::Coordinator(options) => daemon::coordinator(&options),
        Command::Agent(options) => daemon::agent(&options, cli.output),
        Command::Events(action) => command::events::run(&action, cli.output),
        Command::Inventory(action) => command::inventory::run(&action),
        Command::Lint(options) => command::lint::run(&options, cli.output),
        Command::Plan(options) => command::plan::run(&options, cli.output),
        Command::Schema { of } => command::schema::run(of),
        command => cli.connection.client().and_then(|client| match command {
            Command::Status => command::status::run(&client, cli.output),
            Command::Trigger(options) => command::trigger::run(&client, &options, cli.output),
            Command::Runs(options) => command::runs::run(&client, &options, cli.output),
            Command::Show(options) => command::show::run(&client, &options, cli.output),
            Command::Logs(options) => command::logs::run(&client, &options, cli.output),
            Command::Artifacts(options) => command::artifacts::run(&client, &options, cli.output),
            Command::Cancel(options) => {
                command::change::run(&client, "cancel", &options, cli.output)
            }
            Command::Retry(options) => command::change::run(&client, "retry", &options, cli.output),
            Command::OverrideWindow(options) => {
                command::windows::run(&client, &options, cli.output)
            }
            Command::Gates(options) => command::gates::run(&client, &options, cli.output),
            Command::Approve(options) => command::gates::approve(&client, &options, cli.output),
            Command::Reject(options) => command::gates::reject(&client, &options, cli.output),
            Command::Acknowledge(options) => {
                command::gates::acknowledge(&client, &options, cli.output)
            }
            Command::Environments(options) => {
                command::environments::run(&client, &options, cli.output)
            }
            Command::Open(options) => command::open::run(&client, &options, cli.output),
            Command::Agents(action) => command::agents::run(&client, &action, cli.output),
            Command::Secrets(action) => command::secrets::run(&client, &action, cli.output),
            Command::Schedules(action) => command::schedules::run(&client, &action, cli.output),
            Command::Subscriptions(action) => {
                command::subscriptions::run(&client, &action, cli.output)
            }
            Command::Locks(action) => command::locks::run(&client, &action, cli.output),
            Command::Audit => command::audit::run(&client, cli.output),
            Command::Tokens(action) => command::tokens::run(&client, &action, cli.output),
            Command::Runner { .. }
            | Command::Demo(_)
            | Command::Coordinator(_)
            | Command::Agent(_)
            | Command::Events(_)
            | Command::Inventory(_)
            | Command::Lint(_)
            | Command::Plan(_)
            | Command::Schema { .. } => Ok(Exit::Success),
        }),
    };
    exit::conclude(result)
}
