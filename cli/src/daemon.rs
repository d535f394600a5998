//! `garrison coordinator` and `garrison agent`: configuration, tracing, signals.

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use coordinator::store::replay::Replayed;
use coordinator::store::{self, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::command;
use crate::exit::{Exit, Failure};
use crate::output::Format;

/// What the coordinator is started with.
#[derive(Debug, Args)]
pub struct CoordinatorOptions {
    #[command(subcommand)]
    action: Option<CoordinatorAction>,
    /// Its configuration.
    #[arg(long, short, global = true, default_value = "/etc/garrison/coordinator.toml")]
    config: PathBuf,
    /// Reads and checks the configuration, and does nothing else.
    #[arg(long)]
    check: bool,
}

/// What is done to a coordinator's data instead of running it.
#[derive(Debug, Subcommand)]
enum CoordinatorAction {
    /// Builds the view anew from checkpoint and journal. The coordinator must be stopped.
    Rebuild,
    /// Repeats every decision that the journal holds with this build's core, and compares. The
    /// coordinator must be stopped.
    Replay,
}

/// What an agent is started with.
#[derive(Debug, Args)]
pub struct AgentOptions {
    #[command(subcommand)]
    action: Option<AgentAction>,
    /// Its configuration.
    #[arg(long, short, global = true, default_value = "/etc/garrison/agent.toml")]
    config: PathBuf,
    /// File with a join token; it is used only if the agent has not joined yet.
    #[arg(long)]
    join_token_file: Option<PathBuf>,
    /// Reads and checks configuration, policy and state, and does nothing else.
    #[arg(long)]
    check: bool,
}

/// What is done on an agent's host instead of running it.
#[derive(Debug, Subcommand)]
enum AgentAction {
    /// Tests what an agent needs here: configuration, disk, certificate, coordinator, clock, Docker, keys, and
    /// what `[doctor]` of the configuration names. It disturbs no agent that runs. Exit status 1 if anything
    /// keeps jobs from running.
    Doctor,
}

/// Runs the coordinator until a signal.
pub fn coordinator(options: &CoordinatorOptions) -> Result<Exit, Failure> {
    let config = coordinator::config::Config::load(&options.config).map_err(Failure::usage)?;
    if options.check {
        return Ok(Exit::Success);
    }
    trace();
    match options.action {
        None => serve(|stop| coordinator::app::run(config, stop)).map(|()| Exit::Success),
        Some(CoordinatorAction::Rebuild) => {
            Store::rebuild(&config.data, store::Options::default()).map_err(Failure::internal)?;
            Ok(Exit::Success)
        }
        Some(CoordinatorAction::Replay) => replay(&config.data),
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn replay(data: &Path) -> Result<Exit, Failure> {
    match Store::replay(data, store::Options::default()) {
        Ok(Replayed { first, last, events }) => {
            println!("{events} events in the batches {first} to {last}: decided as before");
            Ok(Exit::Success)
        }
        Err(error @ store::replay::Error::Differs { .. }) => {
            Err(Failure { exit: Exit::Failed, message: error.to_string() })
        }
        Err(error) => Err(Failure::usage(error)),
    }
}

/// Runs an agent until a signal.
pub fn agent(options: &AgentOptions, format: Format) -> Result<Exit, Failure> {
    if let Some(AgentAction::Doctor) = options.action {
        return command::doctor::run(&options.config, format);
    }
    let config = agent::config::Config::load(&options.config).map_err(Failure::usage)?;
    let token = options.join_token_file.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
    });
    let token = token.transpose()?;
    if options.check {
        return agent::app::check(&config).map(|()| Exit::Success).map_err(failed);
    }
    trace();
    let state = config.state.clone();
    let program = match agent::upgrade::instead(&state) {
        Some(chosen) => Some(chosen),
        None => serve(|stop| agent::app::run(config, token, stop))?,
    };
    match program {
        Some(program) => {
            agent::upgrade::take_place(&program, &state).map(|never| match never {})?
        }
        None => Ok(Exit::Success),
    }
}

/// Our own log goes to standard error; GARRISON_LOG filters it, such as `debug` or
/// `coordinator=debug`.
pub(crate) fn trace() {
    let usual = || EnvFilter::new(format!("info,{}", events::QUIET));
    let filter = EnvFilter::try_from_env("GARRISON_LOG").unwrap_or_else(|_| usual());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Runs a service until SIGTERM or SIGINT.
fn serve<T, F: Future<Output = anyhow::Result<T>>>(
    service: impl FnOnce(CancellationToken) -> F,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut service = std::pin::pin!(service(stop.clone()));
        tokio::select! {
            ended = &mut service => return ended,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        service.await
    });
    // What still runs is a request to somebody who does not answer; all else has ended.
    runtime.shutdown_background();
    result.map_err(failed)
}

/// A service that could not start or go on.
fn failed(error: anyhow::Error) -> Failure {
    Failure { exit: Exit::Failed, message: format!("{error:#}") }
}
