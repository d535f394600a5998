//! The lab on the command line: to see a partition come up, and to explore one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use garrison::exit::{Exit, Failure, conclude};
use garrison::site::wait_within;
use lab::operator::Operator;
use lab::{Lab, PATIENCE};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// A simulated site: partitions of real machines, to see garrison work on them.
#[derive(Debug, Parser)]
#[command(name = "lab")]
struct Arguments {
    /// Where it keeps its files while it is up.
    #[arg(long, default_value = "/tmp/garrison-lab")]
    dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Brings partitions up, runs bootstrap-partition through in each, shows what came of it, and takes
    /// all down.
    Run {
        /// Names of the partitions.
        #[arg(default_values = ["fra-equ01", "fra-equ02"])]
        partitions: Vec<String>,
    },
    /// Brings partitions up, as they come out of their boxes, and leaves them so.
    Up {
        /// Names of the partitions.
        #[arg(default_values = ["fra-equ01", "fra-equ02"])]
        partitions: Vec<String>,
    },
    /// Takes down what `up` brought up.
    Down,
    /// A shell on a machine that `up` brought up, as at its console.
    Console {
        /// The machine, such as fra-equ01/leaf01 or outside/cp01.
        machine: String,
    },
    /// What `up` leaves behind.
    #[command(hide = true)]
    Hold { partitions: Vec<String> },
}

fn main() -> ExitCode {
    let Arguments { dir, verb } = Arguments::parse();
    conclude(match verb {
        Verb::Run { partitions } => run(&partitions),
        Verb::Up { partitions } => up(&dir, &partitions),
        Verb::Down => down(&dir),
        Verb::Console { machine } => console(&dir, &machine),
        Verb::Hold { partitions } => hold(&dir, &partitions),
    })
}

/// The `garrison` that was built beside this.
fn program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?.with_file_name("garrison");
    match program.exists() {
        true => Ok(program),
        false => Err(Failure::usage("build the workspace first: make lab does")),
    }
}

/// The operator ends before his lab does.
fn start(dir: &Path, partitions: &[String]) -> Result<(Lab, Operator), Failure> {
    let names: Vec<&str> = partitions.iter().map(String::as_str).collect();
    let lab = Lab::new(dir, &names)?;
    let operator = Operator::start(&lab, &program()?)?;
    Ok((lab, operator))
}

fn run(partitions: &[String]) -> Result<Exit, Failure> {
    let dir = tempfile::Builder::new().prefix("garrison-lab-").tempdir()?;
    let (lab, operator) = start(dir.path(), partitions)?;
    bootstrap(&operator, &lab)
}

/// Bootstraps every partition, and shows what came of it.
fn bootstrap(operator: &Operator, lab: &Lab) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let mut exit = Exit::Success;
    for partition in &lab.partitions {
        let run = operator.bootstrap(lab, partition)?;
        let detail = operator.finished(run)?;
        writeln!(out, "{}", operator.garrison(&["show", &run.to_string()])?)?;
        if detail["status"] != "succeeded" {
            exit = Exit::Failed;
        }
        for (name, machine) in &partition.machines {
            let sessions = machine.run("bgp-established")?;
            let said = String::from_utf8_lossy(&sessions.stdout);
            write!(out, "{}/{name}: {said}", partition.name)?;
        }
    }
    Ok(exit)
}

fn up(dir: &Path, partitions: &[String]) -> Result<Exit, Failure> {
    if dir.exists() {
        let place = dir.display();
        return Err(Failure::usage(format!("{place} is there already: take it down first")));
    }
    let mut log = dir.as_os_str().to_owned();
    log.push(".log");
    let log = fs::File::create(PathBuf::from(log))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--dir").arg(dir).arg("hold").args(partitions);
    let mut held = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let mut ended = || held.try_wait().is_ok_and(|status| status.is_some());
    // Making the image for Ansible takes minutes, once.
    wait_within(10 * PATIENCE, "the lab to be up", || {
        (dir.join("ready").exists() || ended()).then_some(())
    })?;
    if !dir.join("ready").exists() {
        return Err(Failure::internal(format!("it did not come up; see {}.log", dir.display())));
    }
    let data = fs::read_to_string(dir.join("ready"))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "up: {}\nto look around:\n  export GARRISON_DATA={data}\n  \
         garrison trigger bootstrap-partition --repository infra --limit {1}\n  \
         lab console {1}/fw01\nlab down takes it down",
        dir.display(),
        partitions[0],
    )?;
    Ok(Exit::Success)
}

/// Keeps a lab up until it is told to end.
fn hold(dir: &Path, partitions: &[String]) -> Result<Exit, Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().map_err(Failure::internal)?;
    let (_lab, operator) = start(dir, partitions)?;
    fs::write(dir.join("pid"), std::process::id().to_string())?;
    fs::write(dir.join("ready"), operator.site.data().to_string_lossy().as_bytes())?;
    signals.wait().map_err(Failure::internal)?;
    Ok(Exit::Success)
}

fn down(dir: &Path) -> Result<Exit, Failure> {
    let pid = fs::read_to_string(dir.join("pid"));
    let pid = pid.map_err(|_| Failure::usage(format!("nothing is up in {}", dir.display())))?;
    let pid = pid.trim().parse().map(Pid::from_raw).map_err(Failure::internal)?;
    kill(pid, Signal::SIGTERM).map_err(Failure::internal)?;
    wait_within(PATIENCE, "the lab to be down", || (!dir.exists()).then_some(()))?;
    Ok(Exit::Success)
}

fn console(dir: &Path, machine: &str) -> Result<Exit, Failure> {
    let home = dir.join(machine);
    let pid = lab::machine::first_process(&home)
        .ok_or_else(|| Failure::usage(format!("{machine} is not there, or not on")))?;
    let failed = Command::new("nsenter")
        .args(["--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid"])
        .args(["env", "--ignore-environment", "HOME=/root", "TERM=xterm", lab::machine::PATH])
        .args(["bash", "-l"])
        .exec();
    Err(failed.into())
}
