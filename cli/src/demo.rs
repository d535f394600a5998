//! `garrison demo`: a small deployment of two partitions on this machine, from trigger to verdict.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent::executor::docker::{Address, image};
use clap::Args;
use coordinator::api::types::{RunDetail, Trigger};
use pipelines::id::RunId;

use crate::client::Client;
use crate::command::{open, show, trigger};
use crate::exit::{Exit, Failure};
use crate::output::Format;
use crate::site::{OPEN_POLICY, Site, forge};

/// The demo's partitions.
const PARTITIONS: [&str; 2] = ["fra-equ01", "muc-equ01"];

/// How the demo is shown.
#[derive(Debug, Args)]
pub struct Options {
    /// Keeps coordinator and agents up afterwards, until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

/// Shows a deployment. It ends well if the run ends as the demo says: with one job failed.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let dir = tempfile::Builder::new().prefix("garrison-demo-").tempdir()?;
    let program = std::env::current_exe()?;
    let mut out = io::stdout();
    writeln!(out, "A site in {}:", dir.path().display())?;
    let mut site = Site::new(dir.path(), &program, &PARTITIONS)?;
    writeln!(out, "  an empty git repository")?;
    site.start_coordinator()?;
    writeln!(out, "  a coordinator")?;
    let means = Means::find()?;
    for partition in PARTITIONS {
        site.add_agent(partition, "mgmt01", 4, means.policy())?;
        writeln!(out, "  agent {partition}/mgmt01, joined over mutual TLS")?;
    }
    let policy = site.agent_dir(PARTITIONS[0], "mgmt01").join("policy.toml");
    means.tell(&policy, &mut out)?;
    let client = site.client()?;
    let run = start(&site, &client, &means, &mut out)?;
    trigger::follow(&client, run, Format::Text)?;
    let detail: RunDetail = client.get(&format!("/api/v1/runs/{run}"))?;
    writeln!(out, "\n{}", show::text(&detail))?;
    let failed = detail.jobs.iter().find(|job| job.status == "failed");
    if let Some(job) = failed {
        writeln!(out, "The end of the failed job's log ({}):", job.id)?;
        for line in last_lines(&client, &format!("{}.1", job.id))? {
            writeln!(out, "  | {line}")?;
        }
    }
    if is_as_told(&detail) {
        summary(&site, &client, &mut out, options)?;
    } else {
        writeln!(out, "\nThat is not what was meant to happen: only 'health' was to fail.")?;
    }
    if options.serve {
        serve(&site)?;
    }
    Ok(if is_as_told(&detail) { Exit::Success } else { Exit::Failed })
}

/// Whether one job failed, the one that is meant to.
fn is_as_told(detail: &RunDetail) -> bool {
    let mut others = detail.jobs.iter().filter(|job| job.status != "succeeded");
    let told = [("health", "failed"), ("announce", "skipped")];
    let is = |(name, status)| {
        others.next().is_some_and(|job| {
            job.title.name.as_str() == name
                && job.status == status
                && job.partition.as_str() == PARTITIONS[1]
        })
    };
    told.into_iter().all(is) && others.next().is_none()
}

/// By what means the demo's jobs run.
enum Means {
    /// In containers of this image.
    Containers(String),
    /// As processes, because of this.
    Processes(String),
}

impl Means {
    /// Containers if a Docker engine answers, of an image that is made on the spot.
    fn find() -> Result<Means, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(match runtime.block_on(image::from_host(&Address::from_env())) {
            Ok(image) => Means::Containers(image),
            Err(error) => Means::Processes(error.to_string()),
        })
    }

    fn policy(&self) -> &'static str {
        match self {
            Means::Containers(_) => "# Nothing is set: containers may run, processes may not.\n",
            Means::Processes(_) => OPEN_POLICY,
        }
    }

    fn tell(&self, policy: &Path, out: &mut impl Write) -> io::Result<()> {
        let policy = policy.display();
        match self {
            Means::Containers(image) => writeln!(
                out,
                "Jobs run in containers, since a Docker engine answers. Their image {image} was made\n\
                 of this host's shell. Each agent's policy file allows no more: {policy}\n"
            ),
            Means::Processes(why) => writeln!(
                out,
                "Jobs run as processes of this host ({why}).\n\
                 Each agent's policy file allows it: {policy}\n"
            ),
        }
    }

    /// The pipeline with these means in place of the processes that it is written for.
    fn pipeline(&self) -> String {
        match self {
            Means::Processes(_) => PIPELINE.to_owned(),
            Means::Containers(image) => {
                let container =
                    format!("container: {{ image: \"{image}\", pull: never, network: none }}");
                PIPELINE.replace("process: {}", &container)
            }
        }
    }
}

/// Pushes, and waits for the run that comes of it.
fn start(
    site: &Site,
    client: &Client,
    means: &Means,
    out: &mut impl Write,
) -> Result<RunId, Failure> {
    let pipeline = means.pipeline();
    let files = [&[(".garrison/site-update.yaml", pipeline.as_str())], FILES].concat();
    let forge::Pushed { commit, trigger } = site.push(&files)?;
    writeln!(
        out,
        "A pipeline, two inventories and templates are pushed as commit {}. GitHub would tell the\n\
         coordinator by this webhook, with an HMAC over its body: POST {}/hooks/github/{}\n",
        &commit[..10],
        site.url()?,
        forge::NAME,
    )?;
    let trigger: Trigger = client.get(&format!("/api/v1/triggers/{trigger}"))?;
    let reason = || Failure::internal(trigger.reason.clone().unwrap_or_default());
    trigger.runs.first().copied().ok_or_else(reason)
}

fn last_lines(client: &Client, attempt: &str) -> Result<Vec<String>, Failure> {
    let mut log = String::new();
    let mut stream = client.stream(&format!("/api/v1/attempts/{attempt}/log?follow=true"))?;
    io::Read::read_to_string(&mut stream, &mut log)?;
    let lines: Vec<&str> = log.lines().collect();
    Ok(lines[lines.len().saturating_sub(8)..].iter().map(|line| (*line).to_owned()).collect())
}

fn summary(
    site: &Site,
    client: &Client,
    out: &mut impl Write,
    options: &Options,
) -> Result<(), Failure> {
    writeln!(
        out,
        "\nThat was the demo: one job was meant to fail, what needs it was skipped, and the other\n\
         partition was deployed all the same."
    )?;
    if !options.serve {
        writeln!(out, "Look around yourself: garrison demo --serve")?;
        return Ok(());
    }
    writeln!(out, "It stays up until Ctrl-C. In a browser, once:\n  {}", open::url(client)?)?;
    writeln!(out, "In another terminal:")?;
    let data = site.data();
    for command in ["open", "runs", "show 1", "logs 1", "retry 1 --follow", "agents list"] {
        writeln!(out, "  garrison --data {} {command}", data.display())?;
    }
    Ok(())
}

fn serve(site: &Site) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    let dir: PathBuf = site.dir().to_owned();
    writeln!(io::stdout(), "\nstopping, and removing {}", dir.display())?;
    Ok(())
}

/// The demo's pipeline.
const PIPELINE: &str = include_str!("demo/site-update.yaml");

/// What else is in the demo's repository.
const FILES: &[(&str, &str)] = &[
    ("templates/switch.conf", include_str!("demo/switch.conf")),
    ("partitions/fra-equ01.yaml", "partition: fra-equ01\ndevices: {}\n"),
    ("partitions/muc-equ01.yaml", "partition: muc-equ01\ndevices: {}\n"),
];
