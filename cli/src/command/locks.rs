//! `garrison locks`.

use clap::Subcommand;
use coordinator::api::types::{BreakLock, Lock};
use pipelines::id::JobId;
use pipelines::lock::Subject;
use pipelines::name::PartitionName;

use super::Within;
use crate::client::Client;
use crate::confirm::confirm;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// A lock.
type Key = Within<Subject>;

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Lists locks that somebody holds, and who waits for them.
    List,
    /// Frees a lock: your word that nothing works under it any more.
    Break {
        /// PARTITION/NAME.
        lock: Key,
        /// The lock again, instead of typing it when asked.
        #[arg(long, value_name = "PARTITION/NAME")]
        confirm: Option<String>,
    },
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    let locks: Vec<Lock> = client.get("/api/v1/locks")?;
    match action {
        Action::List => output::print(format, &locks, |locks| {
            if locks.is_empty() {
                return "no locks are held\n".to_owned();
            }
            let headings = ["LOCK", "HELD BY", "SINCE", "MAY STILL RUN", "WAITING"];
            output::table(&headings, locks.iter().map(row))
        })?,
        Action::Break { lock, confirm: given } => {
            let held = locks.iter().find(|it| is(it, &lock.partition, &lock.name));
            let Some((held, holder)) = held.and_then(|it| Some((it, it.holder?))) else {
                let message = format!("nobody holds lock {lock}");
                return Err(Failure { exit: Exit::Refused, message });
            };
            let doubt = held.in_doubt.map_or(String::new(), |attempt| {
                format!("Nobody can say whether attempt {attempt} still runs: look first.\n")
            });
            let consequences = format!(
                "Lock {lock} is held by {}. Once it is broken, others work beside it.\n{doubt}",
                self::holder(held)
            );
            confirm(&consequences, &lock.to_string(), given.as_deref())?;
            let path = format!("/api/v1/locks/{lock}/break");
            let answer: serde_json::Value = client.post(&path, &BreakLock { holder })?;
            output::print(format, &answer, |_| format!("lock {lock} is free\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn is(lock: &Lock, partition: &PartitionName, name: &Subject) -> bool {
    lock.partition == *partition && lock.name == *name
}

fn holder(lock: &Lock) -> String {
    match (&lock.device, lock.failed, lock.holder) {
        (Some(device), Some(job), _) => format!("{device}, where job {job} did not succeed"),
        (Some(device), None, Some(holder)) => format!("{holder} for {device}"),
        (_, _, Some(holder)) => holder.to_string(),
        (_, _, None) => String::new(),
    }
}

fn row(lock: &Lock) -> Vec<String> {
    let waiting: Vec<String> = lock.waiting.iter().map(JobId::to_string).collect();
    vec![
        format!("{}/{}", lock.partition, lock.name),
        holder(lock),
        output::moment(lock.since_us),
        lock.in_doubt.map_or(String::new(), |attempt| attempt.to_string()),
        waiting.join(", "),
    ]
}
