//! `garrison environments`: what is deployed where, what was, and the way to deploy that once more.

use std::fmt;
use std::str::FromStr;

use clap::{Args, Subcommand};
use coordinator::api::types::{
    Commit, Deployment, EnvironmentDiff, EnvironmentHistory, NewTrigger, RunDetail,
};
use pipelines::id::{AttemptId, RunId};
use pipelines::name::PartitionName;
use uuid::Uuid;

use super::trigger;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Which environments are listed, or what to do with one.
#[derive(Debug, Args)]
pub struct Options {
    /// Only those of this partition.
    #[arg(long)]
    partition: Option<PartitionName>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists what was deployed to an environment, the latest first; what failed, too.
    History {
        /// PARTITION/NAME.
        environment: Environment,
        /// How many deployments at most.
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: usize,
        /// Only what ended before this attempt.
        #[arg(long)]
        before: Option<AttemptId>,
    },
    /// Lists the commits and files between two deployments: the present one and the one before, or
    /// those of two runs.
    Diff {
        /// PARTITION/NAME.
        environment: Environment,
        /// The run of the older one.
        #[arg(requires = "newer")]
        older: Option<RunId>,
        /// The run of the newer one.
        newer: Option<RunId>,
    },
    /// Deploys what was deployed before: starts that run's pipeline at its commit, with its inputs, as
    /// an ordinary new run, in all partitions of the pipeline.
    Redeploy {
        /// PARTITION/NAME.
        environment: Environment,
        /// What this run deployed there, and not the one before the present one.
        #[arg(long)]
        run: Option<RunId>,
        /// Waits for the run's end, shows its progress, and exits with its outcome.
        #[arg(long, short)]
        follow: bool,
    },
}

/// An environment, written as PARTITION/NAME.
#[derive(Debug, Clone)]
struct Environment {
    partition: PartitionName,
    /// May hold slashes itself.
    name: String,
}

impl FromStr for Environment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (partition, name) = text.split_once('/').ok_or("write it as PARTITION/NAME")?;
        let partition = partition.parse().map_err(|error| format!("the partition {error}"))?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || !name.chars().all(is_word) {
            return Err("the name has other characters than letters, digits and `-_./`".to_owned());
        }
        Ok(Environment { partition, name: name.to_owned() })
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.name)
    }
}

/// Carries out an action, or lists.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    match (&options.action, &options.partition) {
        (None, partition) => list(client, partition.as_ref(), format),
        (Some(_), Some(_)) => {
            Err(Failure::usage("--partition is for the list; an environment names its own"))
        }
        (Some(Action::History { environment, limit, before }), None) => {
            let before = before.map_or(String::new(), |attempt| format!("&before={attempt}"));
            let path = format!("/api/v1/environments/{environment}?limit={limit}{before}");
            let history: EnvironmentHistory = client.get(&path)?;
            output::print(format, &history, in_order)?;
            Ok(Exit::Success)
        }
        (Some(Action::Diff { environment, older, newer }), None) => {
            let runs = match older.zip(*newer) {
                Some((older, newer)) => format!("?older={older}&newer={newer}"),
                None => String::new(),
            };
            let diff: EnvironmentDiff =
                client.get(&format!("/api/v1/diffs/{environment}{runs}"))?;
            output::print(format, &diff, between)?;
            Ok(Exit::Success)
        }
        (Some(Action::Redeploy { environment, run, follow }), None) => {
            redeploy(client, environment, *run, *follow, format)
        }
    }
}

fn list(
    client: &Client,
    partition: Option<&PartitionName>,
    format: Format,
) -> Result<Exit, Failure> {
    let filter = partition.map_or(String::new(), |name| format!("?partition={name}"));
    let deployed: Vec<Deployment> = client.get(&format!("/api/v1/environments{filter}"))?;
    output::print(format, &deployed, |deployed| {
        if deployed.is_empty() {
            return "nothing was deployed to an environment yet\n".to_owned();
        }
        let headings = ["ENVIRONMENT", "COMMIT", "PIPELINE", "RUN", "SINCE", "BY", "APPROVED BY"];
        let row = |it: &Deployment| {
            vec![
                format!("{}/{}", it.partition, it.environment),
                short(&it.commit).to_owned(),
                it.pipeline.to_string(),
                it.run.to_string(),
                output::moment(it.at_us),
                it.actor.clone(),
                it.approved_by.join(", "),
            ]
        };
        output::table(&headings, deployed.iter().map(row))
    })?;
    Ok(Exit::Success)
}

fn in_order(history: &EnvironmentHistory) -> String {
    let headings = ["ENDED", "STATUS", "COMMIT", "PIPELINE", "RUN", "JOB", "BY", "APPROVED BY"];
    let row = |it: &Deployment| {
        let at = it.device.as_ref().map_or(String::new(), |device| format!(" ({device})"));
        vec![
            output::moment(it.at_us),
            it.status.clone(),
            short(&it.commit).to_owned(),
            it.pipeline.to_string(),
            it.run.to_string(),
            format!("{}{at}", it.attempt),
            it.actor.clone(),
            it.approved_by.join(", "),
        ]
    };
    let there = match history.deployed {
        Some(run) => format!("run {run} deployed what is there\n"),
        None => "no deployment succeeded\n".to_owned(),
    };
    output::table(&headings, history.deployments.iter().map(row)) + &there
}

fn between(diff: &EnvironmentDiff) -> String {
    let side = |it: &Deployment| format!("run {} ({})", it.run, short(&it.commit));
    let mut text = format!("from {} to {}:\n", side(&diff.older), side(&diff.newer));
    let mut commits = |sign: char, commits: &[Commit]| {
        for commit in commits {
            text.push_str(&format!("{sign} {} {}\n", short(&commit.commit), commit.subject));
        }
    };
    commits('+', &diff.added);
    commits('-', &diff.removed);
    if diff.more_commits {
        text.push_str("  and more commits\n");
    }
    match &diff.files {
        None => text.push_str("too many files differ to be listed\n"),
        Some(files) if files.is_empty() => text.push_str("no files differ\n"),
        Some(files) => {
            text.push_str(&format!("files that differ ({}):\n", files.len()));
            files.iter().for_each(|file| text.push_str(&format!("  {}\n", printable(file))));
        }
    }
    text
}

#[allow(clippy::print_stderr, reason = "standard output is the answer")]
fn redeploy(
    client: &Client,
    environment: &Environment,
    wanted: Option<RunId>,
    follow: bool,
    format: Format,
) -> Result<Exit, Failure> {
    let refused = |message: String| Failure { exit: Exit::Refused, message };
    let filter = wanted.map_or(String::new(), |run| format!("?run={run}&limit=200"));
    let path = format!("/api/v1/environments/{environment}{filter}");
    let history: EnvironmentHistory = client.get(&path)?;
    let run = match (wanted, history.previous) {
        (Some(run), _) if history.deployments.iter().any(|it| it.status == "succeeded") => run,
        (Some(run), _) => {
            return Err(refused(format!(
                "run {run} deployed nothing to {environment}: see 'garrison environments history \
                 {environment}'"
            )));
        }
        (None, Some(run)) => run,
        (None, None) => {
            return Err(refused(format!("{environment} has no deployment before the present one")));
        }
    };
    let RunDetail { run, inputs, .. } = client.get(&format!("/api/v1/runs/{run}"))?;
    eprintln!(
        "commit {} as in run {}: pipeline {} of {}, in all its partitions",
        short(&run.commit),
        run.id,
        run.pipeline,
        run.repository
    );
    let request = NewTrigger {
        repository: run.repository,
        pipeline: run.pipeline,
        reference: run.commit,
        inputs,
        limit: Vec::new(),
        key: Some(Uuid::new_v4().to_string()),
    };
    trigger::start(client, &request, follow, format)
}

/// A commit's first digits.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// A path without what a terminal would take for more than text.
fn printable(path: &str) -> String {
    path.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_has_its_partition_before_the_first_slash() {
        let one: Environment = "fra-equ01/switches/leaf01".parse().unwrap();
        assert_eq!((one.partition.as_str(), one.name.as_str()), ("fra-equ01", "switches/leaf01"));
        assert_eq!(one.to_string(), "fra-equ01/switches/leaf01");
        for bad in ["prod", "fra/", "fra/a?b", "fra/a b"] {
            assert!(bad.parse::<Environment>().is_err(), "{bad}");
        }
    }
}
