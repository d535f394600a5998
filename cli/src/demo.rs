//! `garrison demo`: a small deployment of two partitions on this machine, from trigger to verdict.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use coordinator::api::types::{RunDetail, Trigger};
use pipelines::id::RunId;

use crate::client::Client;
use crate::command::{show, trigger};
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
    for partition in PARTITIONS {
        site.add_agent(partition, "mgmt01", 4, OPEN_POLICY)?;
        writeln!(out, "  agent {partition}/mgmt01, joined over mutual TLS")?;
    }
    let policy = site.agent_dir(PARTITIONS[0], "mgmt01").join("policy.toml");
    writeln!(
        out,
        "Jobs run as processes of this host; each agent's policy file allows it: {}\n",
        policy.display()
    )?;
    let client = site.client()?;
    let run = start(&site, &client, &mut out)?;
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
    summary(&site, &mut out, options)?;
    if options.serve {
        serve(&site)?;
    }
    let as_told = detail.run.status == "failed" && failed.is_some();
    Ok(if as_told { Exit::Success } else { Exit::Failed })
}

/// Pushes, and waits for the run that comes of it.
fn start(site: &Site, client: &Client, out: &mut impl Write) -> Result<RunId, Failure> {
    let forge::Pushed { commit, trigger } = site.push(FILES)?;
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
    Ok(lines[lines.len().saturating_sub(4)..].iter().map(|line| (*line).to_owned()).collect())
}

fn summary(site: &Site, out: &mut impl Write, options: &Options) -> io::Result<()> {
    writeln!(
        out,
        "\nThat was the demo: one job was meant to fail, what needs it was skipped, and the other\n\
         partition was deployed all the same."
    )?;
    if !options.serve {
        return writeln!(out, "Look around yourself: garrison demo --serve");
    }
    writeln!(out, "It stays up until Ctrl-C. In another terminal:")?;
    let data = site.data();
    for command in ["runs", "show 1", "logs 1", "retry 1 --follow", "agents list"] {
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

/// What is in the demo's repository.
const FILES: &[(&str, &str)] = &[
    (".garrison/site-update.yaml", include_str!("demo/site-update.yaml")),
    ("templates/switch.conf", include_str!("demo/switch.conf")),
    ("partitions/fra-equ01.yaml", "partition: fra-equ01\ndevices: {}\n"),
    ("partitions/muc-equ01.yaml", "partition: muc-equ01\ndevices: {}\n"),
];
