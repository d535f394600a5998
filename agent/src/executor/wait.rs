//! What a job waits for behind its script: probes, one after the other, each tried again until it
//! passes or its time is over.
//!
//! It runs in the runner itself. Nothing of it is left when it is dropped, so a cancel and the job's
//! time limit end it at once.

mod http;
mod net;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::Task;
use pipelines::probe::{Check, Probe, pattern};
use pipelines::quantity::Seconds;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ssh::login::Login;
use super::{Context, environment, ssh};
use crate::output::Output;
use tls::Trust;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one may take that logs in to a device.
const PATIENCE_WITH_DEVICES: Duration = Duration::from_secs(30);

/// Most characters of what was seen that are told.
const SHOWN: usize = 200;

/// Tries a job's probes.
struct Prober<'a> {
    /// What logs in to the job's own device, if it has one, or why nothing can.
    login: Option<Result<Login, String>>,
    /// The job's variables, without its secrets.
    environment: BTreeMap<String, String>,
    /// What logs in at hosts on the way to others.
    keys: &'a [PathBuf],
    /// The job's working directory.
    workspace: PathBuf,
}

/// Why the job waits no longer, although a probe has not passed.
enum Missed {
    /// In words for the job's outcome.
    Probe(String),
    Unwritten(io::Error),
}

/// Waits for everything that `order` names.
pub(super) async fn run(order: &Order, context: &mut Context) -> Outcome {
    let mut stop = context.stop.clone();
    let login = match &order.job.task {
        Task::Ssh(device) => {
            let login = Login::new(device, &context.ssh_keys, &context.secrets);
            Some(login.map_err(|error| error.to_string()))
        }
        Task::Process | Task::Container(_) | Task::Render(_) | Task::Wait | Task::Gate(_) => None,
    };
    let (keys, workspace) = (context.ssh_keys.clone(), context.workspace.clone());
    let environment = environment(order, context.mark);
    let prober = Prober { login, environment, keys: &keys, workspace };
    for probe in &order.job.wait {
        let passed = tokio::select! {
            // A cancel that is there already wins.
            biased;
            reason = stop.requested() => return reason.outcome(),
            passed = Box::pin(prober.wait(probe, &mut context.output)) => passed,
        };
        match passed {
            Ok(()) => {}
            Err(Missed::Probe(problem)) => {
                return Outcome::Failed { exit: Exit::Wait(problem) };
            }
            Err(Missed::Unwritten(error)) => {
                let reason = format!(
                    "cannot write the job's output: {error}; see the disk of the agent's state"
                );
                return Outcome::InfraError { reason };
            }
        }
    }
    Outcome::Succeeded
}

impl Prober<'_> {
    /// Tries one probe until it passes.
    async fn wait(&self, probe: &Probe, output: &mut Output) -> Result<(), Missed> {
        let Probe { check, interval_s, timeout_s } = probe;
        let trust = Trust::of(check, &self.workspace).map_err(|problem| {
            Missed::Probe(shown(&output.masked(&format!("{check} cannot be tried: {problem}"))))
        })?;
        output.say(&format!("wait: {check}"))?;
        let started = Instant::now();
        let deadline = started + Duration::from_secs((*timeout_s).into());
        let (mut tries, mut last) = (0_u32, None);
        while Instant::now() < deadline {
            tries += 1;
            let patience = (Instant::now() + patience(check)).min(deadline);
            let seen = match timeout_at(patience, self.tried(check, &trust)).await {
                Ok(Ok(())) => {
                    let seconds = started.elapsed().as_secs();
                    let counted = counted(tries);
                    output.say(&format!("wait: {check} passed after {seconds} s ({counted})"))?;
                    return Ok(());
                }
                Ok(Err(seen)) => shown(&output.masked(&seen)),
                // It was cut short by the end.
                Err(_) if patience == deadline && last.is_some() => break,
                Err(_) => "no answer".to_owned(),
            };
            if last.as_ref() != Some(&seen) {
                output.say(&format!("wait: {check}: {seen}"))?;
                last = Some(seen);
            }
            let next = Instant::now() + Duration::from_secs((*interval_s).into());
            sleep_until(next.min(deadline)).await;
        }
        let missed = match check {
            Check::Tcp { .. } | Check::Ssh { .. } => "did not answer",
            Check::HostKey { .. } | Check::Http(_) | Check::Tls(_) | Check::Run { .. } => {
                "did not pass"
            }
        };
        let (within, counted) = (Seconds(*timeout_s), counted(tries));
        let last = last.unwrap_or_default();
        let problem = format!("{check} {missed} within {within}: {last} ({counted})");
        Err(Missed::Probe(output.masked(&problem)))
    }

    /// One try; what was seen instead, if it does not pass.
    async fn tried(&self, check: &Check, trust: &Trust) -> Result<(), String> {
        match check {
            Check::Tcp { address } => net::connect(address).await.map(drop),
            Check::Ssh { address } => net::version(address).await,
            Check::HostKey { device } => ssh::probe::host_key(device, self.keys).await,
            Check::Http(http) => http::answer(http, trust).await,
            Check::Tls(tls) => tls::certificate(tls, trust).await,
            Check::Run { line, output } => self.command(line, output.as_deref()).await,
        }
    }

    async fn command(&self, line: &str, wanted: Option<&str>) -> Result<(), String> {
        let login = self.login.as_ref().ok_or("the job has no device of its own")?;
        let login = login.as_ref().map_err(String::clone)?;
        let said = ssh::probe::run(login, &self.environment, line).await?;
        match wanted {
            Some(wanted) => matching("its output", &said, wanted),
            None => Ok(()),
        }
    }
}

/// Whether a text is as it is wanted; says it if not.
fn matching(what: &str, text: &str, wanted: &str) -> Result<(), String> {
    match pattern(wanted)?.is_match(text.as_bytes()) {
        true => Ok(()),
        false if text.trim().is_empty() => Err(format!("{what} is empty")),
        false => Err(format!("{what} does not match `{wanted}`: {}", text.trim())),
    }
}

fn patience(check: &Check) -> Duration {
    match check {
        Check::Tcp { .. } | Check::Ssh { .. } | Check::Http(_) | Check::Tls(_) => PATIENCE,
        Check::HostKey { .. } | Check::Run { .. } => PATIENCE_WITH_DEVICES,
    }
}

fn counted(tries: u32) -> String {
    match tries {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    }
}

/// The beginning of a text, on one line.
fn shown(text: &str) -> String {
    let line = text.split(|c: char| c.is_control()).filter(|part| !part.trim().is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl From<io::Error> for Missed {
    fn from(error: io::Error) -> Missed {
        Missed::Unwritten(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_on_one_short_line() {
        assert_eq!(shown("a\r\n\n b\u{1b}[0m\n"), "a  b [0m");
        assert_eq!(shown(&"ä".repeat(SHOWN + 1)), format!("{}…", "ä".repeat(SHOWN)));
    }

    #[test]
    fn a_text_that_does_not_match_is_shown() {
        assert_eq!(
            matching("its output", "Idle", "^Est"),
            Err("its output does not match `^Est`: Idle".into())
        );
        assert_eq!(matching("the body", " \n", "x"), Err("the body is empty".into()));
        assert_eq!(matching("the body", "ready\n", "^ready$"), Ok(()));
    }
}
