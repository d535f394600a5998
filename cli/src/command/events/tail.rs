//! `garrison events tail`.

use std::io::{self, Write};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use coordinator::config::seconds;
use events::{Channel, Consumer, Message, Name};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::{Where, Which, failed, line, wait};
use crate::daemon;
use crate::exit::{Exit, Failure};

/// The exit status by which a command says that no other try can succeed.
const REJECTED: i32 = 65;

/// The pause before a command's second attempt, doubled for each further one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// What is followed, and what is done with it.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    which: Which,
    /// The channel. It is made if it is not there, begins with what comes from then on, and stays until it is
    /// deleted. Without it one has a channel of one's own that is gone afterwards.
    #[arg(long, value_name = "NAME")]
    channel: Option<Name>,
    /// The channel is gone soon after its last member; also written NAME#ephemeral.
    #[arg(long, requires = "channel")]
    ephemeral: bool,
    /// Events that all members of the channel together may have at a time.
    #[arg(long, default_value_t = 1)]
    max_in_flight: usize,
    /// From when an event is given to another member, if it was neither dealt with nor touched.
    #[arg(long, default_value = "30s", value_parser = seconds)]
    timeout: u64,
    /// How often an event is tried before it becomes a dead letter.
    #[arg(long, default_value_t = 5)]
    max_attempts: u32,
    /// Events that are older are dropped, such as 1h; none if left out.
    #[arg(long, value_parser = seconds)]
    max_age: Option<u64>,
    /// A command of the shell that is run for each event, with the event on its standard input.
    ///
    /// Exit status 0: it is dealt with. 65: no other try can succeed, and it becomes a dead letter.
    /// Anything else: it comes again after a pause that grows. GARRISON_EVENT_ID, GARRISON_EVENT_SUBJECT and
    /// GARRISON_EVENT_ATTEMPT are in its environment.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Follows until a signal, and ends behind what is under way.
pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    daemon::trace();
    wait(follow(options))
}

async fn follow(options: &Options) -> Result<Exit, Failure> {
    let (server, stream) = options.place.server()?;
    let channel = options.channel(&stream);
    channel.check().map_err(Failure::usage)?;
    let touch = channel.timeout / 3;
    let mut consumer = Consumer::new(server, channel).map_err(failed)?;
    consumer.attach().await.map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let followed = match &options.exec {
        None => print(&mut consumer, touch, (&mut terminate, &mut interrupt)).await,
        Some(command) => {
            let command = Run { command: command.clone(), touch, most: options.max_attempts };
            let signals = (&mut terminate, &mut interrupt);
            execute(&mut consumer, &command, options.max_in_flight, signals).await
        }
    };
    consumer.close().await;
    followed.map(|()| Exit::Success)
}

/// Prints each event, and says that it is dealt with once it is written.
async fn print(
    consumer: &mut Consumer,
    touch: Duration,
    (terminate, interrupt): (&mut Signal, &mut Signal),
) -> Result<(), Failure> {
    loop {
        let message = tokio::select! {
            message = consumer.next() => message,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let line = line(&message.event);
        let written = tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(&line).and_then(|()| out.flush())
        });
        let written = tokio::select! {
            written = touching(&message, touch, written) => written.map_err(Failure::internal)?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        if let Err(error) = written {
            // Another member has it at once, or after the timeout.
            let _ = message.requeue(Duration::ZERO).await;
            return Err(error.into());
        }
        tell(message.ack().await);
    }
}

/// Runs the command for each event, for several at a time.
async fn execute(
    consumer: &mut Consumer,
    run: &Run,
    most: usize,
    (terminate, interrupt): (&mut Signal, &mut Signal),
) -> Result<(), Failure> {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            message = consumer.next(), if running.len() < most => {
                let run = run.clone();
                running.spawn(async move { run.deal_with(&message).await });
            }
            Some(ended) = running.join_next() => ended.map_err(Failure::internal)?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(Failure::internal)?;
    }
    Ok(())
}

/// What is run for each event.
#[derive(Clone)]
struct Run {
    command: String,
    touch: Duration,
    most: u32,
}

impl Run {
    async fn deal_with(&self, message: &Message) {
        let ended = touching(message, self.touch, self.run(message)).await;
        let failure = match ended {
            Ok(status) if status.success() => return tell(message.ack().await),
            Ok(status) => status.to_string(),
            Err(ref error) => format!("it cannot be run: {error}"),
        };
        let id = &message.event.id;
        let rejected = matches!(ended, Ok(status) if status.code() == Some(REJECTED));
        if rejected || message.attempts >= self.most {
            let reason = format!("attempt {}: {failure}: {}", message.attempts, self.command);
            return tell(message.reject(&reason).await);
        }
        let pause = PAUSES.0.saturating_mul(1 << (message.attempts - 1).min(20)).min(PAUSES.1);
        warn!(
            id,
            attempt = message.attempts,
            failure,
            ?pause,
            "the command failed, and is tried again"
        );
        tell(message.requeue(pause).await);
    }

    async fn run(&self, message: &Message) -> io::Result<ExitStatus> {
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .env("GARRISON_EVENT_ID", &message.event.id)
            .env("GARRISON_EVENT_SUBJECT", &message.event.subject)
            .env("GARRISON_EVENT_ATTEMPT", message.attempts.to_string())
            .stdin(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let line = line(&message.event);
        let write = async {
            if let Some(mut input) = input {
                // It may not want to read it.
                let _ = input.write_all(&line).await;
            }
        };
        tokio::join!(child.wait(), write).0
    }
}

/// Touches the message for as long as the work lasts.
async fn touching<T>(message: &Message, every: Duration, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut touch = interval(every);
    touch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    touch.reset();
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = touch.tick() => tell(message.touch().await),
        }
    }
}

/// Goes on after NATS did not hear: the event comes again.
fn tell(said: Result<(), events::Error>) {
    if let Err(error) = said {
        warn!(%error, "NATS did not hear");
    }
}

impl Options {
    fn channel(&self, stream: &str) -> Channel {
        let name = match self.channel.clone() {
            Some(Name::Durable(name)) if self.ephemeral => Name::Ephemeral(name),
            Some(name) => name,
            None => Name::Own,
        };
        Channel {
            max_in_flight: self.max_in_flight,
            timeout: Duration::from_secs(self.timeout),
            max_attempts: self.max_attempts,
            max_age: self.max_age.map(Duration::from_secs),
            ..Channel::new(stream, &self.which.subject(), name)
        }
    }
}
